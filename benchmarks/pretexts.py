"""Clips per second of each pretext's batches, beside ERUV's: does a pretext cost the loader more than another?

    python benchmarks/pretexts.py --data my_dataset --json benchmarks/results/pretexts_cpu.json

Each pretext at its default options, all from the same DATASET, in batches of about 32 clips, float32. They take turns,
so that a noisy machine affects them equally. The first round warms up, uncounted. "time" is the time per clip over
ERUV's, from medians. Clips of pretexts of pieces (see PIECES) are smaller, or single frames.
"""

import contextlib
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from eruv_dali.dataset import Dataset
from eruv_dali.device import cores, resolve_device
from eruv_dali.errors import EruvError, run_program
from eruv_dali.options import Parser, add_device
from eruv_dali.pretext import PRETEXTS
from eruv_dali.pretext.loader import PretextLoader

BATCH = 32  # clips, rounded up to whole samples
# Pretexts of pieces of a frame, where they are not 16 frames of 112x112: what configs/ says for frames of 128x171.
PIECES: dict[str, dict[str, Any]] = {
    "puzzle3d": dict(crop=48, options=dict(jitter=16)), "opn": dict(crop=80, clip_length=1),
    "jigsaw": dict(crop=32, clip_length=1, options=dict(jitter=10)),
    "buchler": dict(crop=32, clip_length=1, options=dict(jitter=10))}


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--data", required=True, metavar="DATASET", help="written by eruv_dali.prepare")
    parser.add_argument("--clips", type=int, default=640, help="in a round")
    parser.add_argument("--rounds", type=int, default=5, help="counted; the median is reported")
    add_device(parser)
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    if args.clips < BATCH or args.rounds < 1:
        raise EruvError(f"--clips {args.clips} and --rounds {args.rounds}: at least {BATCH} and 1")
    device = resolve_device(args.device)
    found: dict[str, list[float]] = {name: [] for name in PRETEXTS}
    with contextlib.closing(Dataset(args.data)) as dataset:
        for turn in range(args.rounds + 1):
            for name, rates in found.items():
                rate = clips_per_second(dataset, name, args.clips, device)
                if turn:
                    rates.append(rate)
        pack = dataset.pack
    eruv = statistics.median(found["eruv"])
    rows: list[dict[str, Any]] = [{
        "pretext": name, "form": PIECES.get(name, {}), "clips_per_second": statistics.median(rates),
        "least": min(rates), "most": max(rates), "time": eruv / statistics.median(rates),
    } for name, rates in found.items()]
    table = Table("pretext", "clips/s", "least to most", "time over eruv's", title=f"{pack} pack, {device}")
    for row in rows:
        table.add_row(row["pretext"], f"{row['clips_per_second']:.0f}", f"{row['least']:.0f} to {row['most']:.0f}",
                      f"{row['time']:.2f}")
    Console().print(table)
    if args.json:
        Path(args.json).write_text(json.dumps({
            "date": time.strftime("%Y-%m-%d"), "pack": pack, "device": device, "cores": cores(), "clips": args.clips,
            "rounds": args.rounds, "torch": torch.__version__, "rows": rows}, indent=1) + "\n")


def clips_per_second(dataset: Dataset, name: str, clips: int, device: str) -> float:
    """Of one epoch of about `clips` clips, from the first request to the last batch; the loader is built before."""
    form = PIECES.get(name, {})
    with PretextLoader(dataset, name, batch_size=1, device=device, threads=1, **form) as loader:
        K = loader.pretext.clips_per_sample
    with PretextLoader(dataset, name, batch_size=-(-BATCH // K), samples_per_epoch=-(-clips // K), device=device,
                       **form) as loader:
        started, count = time.perf_counter(), 0
        for batch in loader:
            count += batch.clips.shape[0] * batch.clips.shape[1]
        if device == "gpu":
            torch.cuda.synchronize()
        return count / (time.perf_counter() - started)


if __name__ == "__main__":
    run_program(main)
