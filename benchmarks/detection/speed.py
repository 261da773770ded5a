"""Whole runs of detectors, timed: frames per second, and how much of decoding alone that is."""

import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from detection.detectors import DECODE, PEERS, PROGRAMS, detect, read_curves
from detection.scoring import CONSOLE


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
