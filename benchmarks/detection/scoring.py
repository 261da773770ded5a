"""Detections against truth: F1, frames left and lost, of each video, kind of edit and detector."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from detection.detectors import PEERS, detect, read_curves, shots_by
from eruv_dali.shots import Shot, ShotCurves
from eruv_dali.video.open import UnusableVideo

TOLERANCE = 2
CONSOLE = Console(width=None if sys.stdout.isatty() else 160)


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
                if name not in PEERS:
                    result |= frames_left(events, shots_by(name, curves), len(curves))
        if kind := kind_of(path):
            video["kind"] = kind

    frames = sum(video["frames"] for video in videos.values())
    totals = {}
    for name in names:
        results = [video["detectors"][name] for video in videos.values() if "events" in video]
        keys = ("hits", "false", "cuts_found", "cuts", "gradual_found", "gradual")
        total = totals[name] = {key: sum(result[key] for result in results) for key in keys}
        total["events"] = total["cuts"] + total["gradual"]
        if name not in PEERS:
            total |= {key: sum(result[key] for result in results) for key in ("between", "left", "lost")}
        total["f1"] = f1(total["hits"], total["false"], total["events"])
        total["frames_per_second"] = frames / (seconds[name] + (0 if name in PEERS else decoding))
    show(videos, totals)
    kinds = totals_of_kinds(videos, names)
    if kinds:
        show_kinds(kinds)
    return {"device": args.device, "frames": frames, "totals": totals, "kinds": kinds, "videos": videos}


def kind_of(path: Path) -> str:
    """The kind of edit that a video made by edits.py shows; "" for others."""
    truth = path.with_suffix(".json")
    return json.loads(truth.read_text()).get("kind", "") if truth.exists() else ""


def frames_left(events: Sequence[dict], shots: Sequence[Shot], count: int) -> dict[str, int]:
    """Of `count` frames: those between two shots (`between`), those of them that lie in shots of ours (`left`), and
    those of shots that lie in none of ours (`lost`)."""
    between, ours = np.zeros((2, count), bool)
    for event in events:
        between[event["a"] + 1 : event["b"]] = True
    for shot in shots:
        ours[shot.start : shot.end] = True
    return {"between": int(between.sum()), "left": int((between & ours).sum()), "lost": int((~between & ~ours).sum())}


def totals_of_kinds(videos: dict, names: Sequence[str]) -> dict:
    """Hits, false detections, events, F1, and frames left in shots, of every kind and detector, and of all kinds."""
    kinds: dict[str, dict] = {}
    for video in videos.values():
        for kind in (video["kind"], "all") if "kind" in video else ():
            for name in names:
                result = video["detectors"][name]
                total = kinds.setdefault(kind, {}).setdefault(name, {"events": 0})
                total["events"] += video["events"]
                for key in ("hits", "false", "gradual", "between", "left", "lost"):
                    if key in result:
                        total[key] = total.get(key, 0) + result[key]
                total["f1"] = f1(total["hits"], total["false"], total["events"])
    return kinds


def show_kinds(kinds: dict) -> None:
    table = Table(title="by kind of edit: F1 (found/events, false; frames of gradual transitions left in shots, frames "
                        "of shots lost for each transition)")
    table.add_column("kind")
    for name in kinds["all"]:
        table.add_column(name, justify="right")
    for kind in [kind for kind in kinds if kind != "all"] + ["all"]:
        table.add_row(kind, *(
            f"{total['f1']:.3f} ({total['hits']}/{total['events']}, {total['false']}"
            + (f"; {total['left'] / total['between']:.0%}" if total.get("between") else "")
            + (f"; {total['lost'] / total['events']:.1f})" if "lost" in total else ")")
            for total in kinds[kind].values()))
    CONSOLE.print(table)


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
        table.add_row("frames left", "", *[f"{total['left']}/{total['between']}" if "left" in total else ""
                                           for total in totals.values()])
        table.add_row("frames lost", "", *[str(total.get("lost", "")) for total in totals.values()])
    table.add_row("frames/s", "", *[f"{total['frames_per_second']:.0f}" for total in totals.values()])
    CONSOLE.print(table)
