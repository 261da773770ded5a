"""Clips per second of our clip_transform operator against the same graph of DALI's built-in operators.

    python benchmarks/clip_transform.py --device cpu --threads 2

Dimensions: a batch of spans, each 16 x 128 x 171 x 3 uint8 and contiguous, to 16 x 112 x 112 x 3; the frames of a
clip in random order, a random crop. Three cases: no rotation (DALI's graph has no rotate operator in it), and rotation
as a per-sample argument, once 0 for all samples, once any of 0, 90, 180 and 270 degrees. The two sides alternate,
round by round, so that a busy machine slows both; a side's figures are over its rounds. Spans are passed without
a copy: on the GPU they lie in its memory already. So the time is that of the transform and of DALI's overhead, some
0.1 ms a run: on a GPU a batch is larger, so that this does not hide the transform.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from nvidia.dali import fn, pipeline_def
from rich.console import Console
from rich.table import Table

from eruv_dali.errors import run_program
from eruv_dali.loader.clip_transform import DALI_DTYPES, clip_transform, load_operator
from eruv_dali.options import Parser

LENGTH, HEIGHT, WIDTH, CROP = 16, 128, 171, 112
BATCH = {"cpu": 16, "gpu": 256}
CASES = ("no rotation", "rotation 0", "any rotation")


def on_device(array: np.ndarray, device: str):
    """The array in the device's memory; DALI takes its first axis for the batch."""
    if device == "cpu":
        return array
    import cupy

    return cupy.asarray(array)


def make_pipeline(case: str, builtin: bool, args: argparse.Namespace):
    rng = np.random.default_rng(0)
    count = args.batch
    spans = on_device(rng.integers(0, 256, (count, LENGTH, HEIGHT, WIDTH, 3), dtype=np.uint8), args.device)
    index = [rng.permutation(LENGTH).astype(np.int32) for _ in range(count)]
    place = [np.array([rng.integers(HEIGHT - CROP + 1), rng.integers(WIDTH - CROP + 1)], np.int32) for _ in index]
    turns = [np.int32(90 * rng.integers(4) if case == "any rotation" else 0) for _ in range(count)]

    @pipeline_def(batch_size=count, num_threads=args.threads, device_id=0 if args.device == "gpu" else None,
                  exec_dynamic=True)
    def pipeline():
        frames = fn.external_source(lambda: spans, no_copy=True, device=args.device)
        order, crop_pos, rotation = fn.external_source(lambda: (index, place, turns), num_outputs=3)
        if case == "no rotation":
            rotation = 0
        return clip_transform(
            frames, index=order, crop_pos=crop_pos, rotation=rotation, crop=CROP, dtype=args.dtype, layout=args.layout,
            mean=(0.43, 0.394, 0.376), std=(0.228, 0.221, 0.217), device=args.device, sequence=True, builtin=builtin,
        )

    built = pipeline()
    built.build()
    return built


def clips_per_second(pipeline, runs: int, batch: int, device: str) -> float:
    start = time.perf_counter()
    for _ in range(runs):
        pipeline.run()
    if device == "gpu":
        torch.cuda.synchronize()  # the last runs
    return runs * batch / (time.perf_counter() - start)


def measure(case: str, args: argparse.Namespace) -> dict:
    pipelines = {"eruv": make_pipeline(case, False, args), "dali": make_pipeline(case, True, args)}
    rates = {side: [] for side in pipelines}
    for number in range(args.rounds + 1):
        for side, pipeline in pipelines.items():
            rate = clips_per_second(pipeline, args.runs, args.batch, args.device)
            if number:  # the first round warms up
                rates[side].append(rate)
    spread = {side: {"min": min(r), "median": median(r), "max": max(r)} for side, r in rates.items()}
    ratios = [ours / theirs for ours, theirs in zip(rates["eruv"], rates["dali"], strict=True)]
    return {"case": case, **spread, "ratio": {"min": min(ratios), "median": median(ratios), "max": max(ratios)}}


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="of DALI's graph")
    parser.add_argument("--dtype", choices=tuple(DALI_DTYPES), default="float32", help="of the clips")
    parser.add_argument("--layout", choices=("THWC", "TCHW"), default="THWC", help="of the clips")
    parser.add_argument("--batch", type=int,
                        help=f"clips in a batch (default {BATCH['cpu']}, on a GPU {BATCH['gpu']})")
    parser.add_argument("--threads", type=int, default=2, help="DALI threads")
    parser.add_argument("--rounds", type=int, default=7, help="in which both take turns")
    parser.add_argument("--runs", type=int, default=20, help="batches in a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    args.batch = args.batch or BATCH[args.device]
    if not load_operator(args.device):
        raise SystemExit("the operator could not be built here: nothing to compare")

    results = [measure(case, args) for case in CASES]
    what = f"{args.dtype} {args.layout}, {args.device}, {args.threads} threads"
    table = Table(title=f"clips/s, {what}: min / median / max")
    for column in ("case", "eruv", "DALI's own", "ratio"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for row in results:
        figures = [" / ".join(f"{row[side][k]:,.0f}" for k in ("min", "median", "max")) for side in ("eruv", "dali")]
        table.add_row(row["case"], *figures, " / ".join(f"{row['ratio'][k]:.2f}" for k in ("min", "median", "max")))
    Console().print(table)
    if args.json:
        settings = {key: value for key, value in vars(args).items() if key != "json"}
        args.json.write_text(json.dumps({"settings": settings, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    run_program(main)
