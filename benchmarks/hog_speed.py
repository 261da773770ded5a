"""Frames a second of HOG and the differences that shots are found by, on frames that are on the device already.

    python benchmarks/hog_speed.py --json FILE

96 x 128 frames of noise, as many at a time as a chunk of `prepare` may have; the median of some rounds.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from eruv_dali.device import resolve_device
from eruv_dali.errors import run_program
from eruv_dali.files import write_text
from eruv_dali.options import Parser, add_device
from eruv_dali.prepare.scan import HOG_SIZE
from eruv_dali.shots import ShotStatistics
from eruv_dali.shots.hog import hog


def main() -> None:
    parser = Parser(description=__doc__)
    add_device(parser)
    parser.add_argument("--frames", type=int, help="at a time (default 4096 on a GPU, 64 on a CPU)")
    parser.add_argument("--rounds", type=int, default=9, help="the median is reported")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    device = resolve_device(args.device)
    count = args.frames or (4096 if device == "gpu" else 64)
    frames = np.random.default_rng(0).integers(0, 256, (count, *HOG_SIZE, 3), dtype=np.uint8)
    wait = None
    if device == "gpu":
        import cupy

        frames, wait = cupy.asarray(frames), cupy.cuda.Device().synchronize

    def statistics_of() -> None:
        made = ShotStatistics(device=device)
        made.add(frames)
        made.finish()

    rates = {}
    for name, work in (("hog", lambda: hog(frames, device=device, epsilon=200.0)), ("statistics", statistics_of)):
        seen = []
        for _ in range(args.rounds + 1):
            began = time.perf_counter()
            work()
            if wait:
                wait()
            seen.append(count / (time.perf_counter() - began))
        rates[name] = statistics.median(seen[1:])  # the first compiles
        print(f"{name}: {rates[name]:,.0f} frames/s, {count} at a time, {device}")
    if args.json:
        write_text(Path(args.json), json.dumps({
            "date": time.strftime("%Y-%m-%d"), "command": " ".join(["python", *sys.argv]), "device": device,
            "frames": count, "frames_per_second": rates}, indent=1) + "\n")


if __name__ == "__main__":
    run_program(main)
