"""How many shot transitions are found, and how fast: F1 against frame-exact truth over a folder of videos.

    python benchmarks/shots.py --videos DIR [--detectors robust untrimmednets threshold threshold=0.09] [--device gpu]
                               [--json FILE]

DIR holds videos with their truth beside them: x.mp4 and x.json with `events`, each with `a`, the last frame wholly of
the old shot, and `b`, the first frame wholly of the new one (b = a + 1 for a cut). A detection is the first frame d of
a new shot. It counts where a + 1 - 2 <= d <= b + 2; each event is matched once, all other detections are false.
Videos without truth are listed with the number of shots found, for people to look at.

The time is that of decoding (scaled to 128 x 96 by the decoder's own library), HOG and differences; rules take no time
worth counting. To add a detector, add a function from a video's path to first frames to PEERS.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from rich.console import Console
from rich.progress import track
from rich.table import Table

from eruv_dali.errors import EruvError, run_program
from eruv_dali.shots import RULES, ShotCurves, ShotStatistics, find_shots

VIDEOS = {".mp4", ".avi", ".webm", ".mkv", ".mov", ".m4v", ".mpg"}
TOLERANCE = 2
CHUNK = 64

# Other people's detectors: name -> function(path) that returns the first frames of the shots after the first one.
PEERS: dict[str, Callable[[Path], list[int]]] = {}


def score(events: Sequence[dict], detections: Sequence[int]) -> tuple[int, int]:
    """(events found, false detections). An event takes the earliest detection that fits and is still free."""
    free = sorted(detections)
    hits = 0
    for event in sorted(events, key=lambda event: event["b"]):
        first, last = event["a"] + 1 - TOLERANCE, event["b"] + TOLERANCE
        match = next((d for d in free if first <= d <= last), None)
        if match is not None:
            free.remove(match)
            hits += 1
    return hits, len(free)


def f1(hits: int, false: int, events: int) -> float:
    return 2 * hits / (hits + false + events) if events else float(false == 0)


def read_frames(path: Path) -> Iterator[np.ndarray]:
    """The video's frames, scaled to 128 x 96: arrays (T, 96, 128, 3) uint8 RGB."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        reformatter = VideoReformatter()  # one for all frames: frame.reformat sets up the scaler anew each time
        chunk = []
        for frame in container.decode(stream):
            chunk.append(reformatter.reformat(frame, 128, 96, "rgb24").to_ndarray())
            if len(chunk) == CHUNK:
                yield np.stack(chunk)
                chunk = []
        if chunk:
            yield np.stack(chunk)


def read_curves(path: Path, *, device: str) -> ShotCurves:
    statistics = ShotStatistics(device=device)
    for frames_THWC in read_frames(path):
        statistics.add(frames_THWC)
    return statistics.finish()


def detect(name: str, path: Path, curves: ShotCurves) -> list[int]:
    """First frames of the shots after the first one, by detector `name`: a rule, rule=threshold, or one of PEERS."""
    if name in PEERS:
        return PEERS[name](path)
    rule, _, threshold = name.partition("=")
    shots = find_shots(curves, rule=rule, threshold=float(threshold) if threshold else None)
    return [shot.start for shot in shots if shot.start > 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, required=True, help="folder of videos, each with x.json beside x.mp4")
    parser.add_argument("--detectors", nargs="+", default=[*RULES, "threshold=0.09"], help="default: all, and one more")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    args = parser.parse_args()
    paths = sorted(path for path in args.videos.rglob("*") if path.suffix.lower() in VIDEOS)
    if not paths:
        raise EruvError(f"no videos in {args.videos}; --videos takes a folder that holds some")
    for name in args.detectors:
        check_detector(name)

    videos, decoding, seconds = {}, 0.0, dict.fromkeys(args.detectors, 0.0)
    for path in track(paths, "videos", console=Console(stderr=True), disable=not sys.stderr.isatty()):
        began = time.perf_counter()
        try:
            curves = read_curves(path, device=args.device)
        except av.FFmpegError as error:
            print(f"skipped {path}: {error}", file=sys.stderr)
            continue
        decoding += time.perf_counter() - began
        truth = path.with_suffix(".json")
        events = json.loads(truth.read_text())["events"] if truth.exists() else None
        video = videos[str(path.relative_to(args.videos))] = {"frames": len(curves), "detectors": {}}
        if events is not None:
            video["events"] = len(events)
        for name in args.detectors:
            began = time.perf_counter()
            found = detect(name, path, curves)
            seconds[name] += time.perf_counter() - began
            result = video["detectors"][name] = {"detections": found}
            if events is not None:
                hits, false = score(events, found)
                cuts = [event for event in events if event["b"] == event["a"] + 1]
                gradual = [event for event in events if event["b"] > event["a"] + 1]
                result |= {"hits": hits, "false": false, "f1": f1(hits, false, len(events))}
                result |= {"cuts_found": score(cuts, found)[0], "cuts": len(cuts)}
                result |= {"gradual_found": score(gradual, found)[0], "gradual": len(gradual)}

    frames = sum(video["frames"] for video in videos.values())
    totals = {}
    for name in args.detectors:
        results = [video["detectors"][name] for video in videos.values() if "events" in video]
        keys = ("hits", "false", "cuts_found", "cuts", "gradual_found", "gradual")
        total = totals[name] = {key: sum(result[key] for result in results) for key in keys}
        total["events"] = total["cuts"] + total["gradual"]
        total["f1"] = f1(total["hits"], total["false"], total["events"])
        total["frames_per_second"] = frames / (seconds[name] + (0 if name in PEERS else decoding))
    show(videos, totals)
    if args.json:
        figures = {"device": args.device, "frames": frames, "totals": totals, "videos": videos}
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def check_detector(name: str) -> None:
    rule, _, threshold = name.partition("=")
    if name not in PEERS and rule not in RULES:
        raise EruvError(f"detector {name!r} is unknown; use {', '.join([*RULES, *PEERS])}, or a rule=threshold")
    try:
        float(threshold or 0)
    except ValueError:
        raise EruvError(f"threshold {threshold!r} of detector {name!r} is no number") from None


def show(videos: dict, totals: dict) -> None:
    """F1 of each video (or, without truth, the number of detections) and the totals, as a table."""
    table = Table(title="shot transitions found: F1 at ±2 frames, or (detections) where there is no truth")
    table.add_column("video")
    table.add_column("frames", justify="right")
    for name in totals:
        table.add_column(name, justify="right")
    for path, video in videos.items():
        cells = video["detectors"].values()
        row = [f"{cell['f1']:.3f}" if "f1" in cell else f"({len(cell['detections'])})" for cell in cells]
        table.add_row(path, str(video["frames"]), *row)
    if any(total["events"] for total in totals.values()):
        table.add_section()
        frames = str(sum(video["frames"] for video in videos.values()))
        table.add_row("all", frames, *[f"{total['f1']:.3f}" for total in totals.values()], style="bold")
        found = [(f"{kind} found", f"{kind}_found", kind) for kind in ("cuts", "gradual")]
        for label, part, whole in found:
            table.add_row(label, "", *[f"{total[part]}/{total[whole]}" for total in totals.values()])
        table.add_row("false", "", *[str(total["false"]) for total in totals.values()])
    table.add_row("frames/s", "", *[f"{total['frames_per_second']:.0f}" for total in totals.values()])
    Console().print(table)


if __name__ == "__main__":
    run_program(main)
