"""How fast the network trains, how much of that remains with the loader, and how much of the device's peak that is.

    python benchmarks/train_step.py --data my_raw_dataset --json result.json
    python benchmarks/train_step.py --data my_raw_dataset --device cpu --width 8 --crop 56 --steps 8

Four ways to do the same step (C3D, both clips of 8 pairs, forward, backward, update), one after the other in every
round, so that other load on the machine affects all of them:

    loader + network   batches from RelationLoader, the network as `pretrain` runs it
    cached batch       the same on one batch, repeated: the speed of the network alone
    uncompiled         as `cached batch`, without torch.compile (left out if that is off, as on a CPU)
    reference          float32, contiguous memory, plain SGD, on one batch: a plain training script

For each: clips/s, times the reference, the share of the time spent waiting for clips, and FLOP/s (counted by
PyTorch's FlopCounterMode; a multiplication and an addition count as two) next to what the device reaches in a large
matrix product of that precision, measured here.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from eruv_dali import RelationLoader
from eruv_dali.device import DEVICES, resolve_device
from eruv_dali.errors import run_program
from eruv_dali.files import write_text
from eruv_dali.models import BACKBONES, RelationNet, build_backbone
from eruv_dali.train.clock import StepClock
from eruv_dali.train.settings import OptimConfig
from eruv_dali.train.step import TrainStep, choose_precision

PEAK_SIDE = {"cuda": 8192, "cpu": 2048}  # of the square matrices


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def matrix_peak(device: torch.device, dtype: torch.dtype, rounds: int = 10) -> float:
    """FLOP/s of the best of some large matrix products."""
    side = PEAK_SIDE[device.type]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = 0.0
    for _ in range(rounds):
        synchronize(device)
        started = time.perf_counter()
        for _ in range(4):
            a @ b
        synchronize(device)
        best = max(best, 4 * 2 * side**3 / (time.perf_counter() - started))
    return best


def reference_step(net: torch.nn.Module, device: torch.device) -> Callable:
    """A step as in a plain training script."""
    net = net.to(device)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)

    def step(clips: torch.Tensor, relation_B: torch.Tensor, number: int) -> None:
        loss = F.cross_entropy(net(clips), relation_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def timed(step: Callable, batches, device: torch.device) -> tuple[float, float]:
    """Clips/s and the share of the time spent waiting, over `batches` of (clips, relation)."""
    synchronize(device)
    clock, clips, iterator = StepClock(device), 0, iter(batches)
    started = time.perf_counter()
    for number in range(len(batches)):
        clock.waiting()
        x, y = next(iterator)
        clock.working()
        step(x, y, number)
        clips += 2 * len(y)
    _, waited = clock.lap()
    synchronize(device)
    seconds = time.perf_counter() - started
    return clips / seconds, waited / seconds


class Loaded:
    """A RelationLoader's next `steps` batches at each iteration."""

    def __init__(self, loader: RelationLoader, device: torch.device) -> None:
        self.loader, self.device = loader, device

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self):
        for batch in self.loader:
            yield batch.clips, batch.relation.to(self.device, non_blocking=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="DATASET", help="written by eruv_dali.prepare")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--backbone", choices=BACKBONES, default="c3d")
    parser.add_argument("--width", type=int, default=64, help="channels of the first convolution (default: 64)")
    parser.add_argument("--crop", type=int, default=112, help="side of the clips, pixels (default: 112)")
    parser.add_argument("--batch-size", type=int, default=8, help="pairs (default: 8)")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    parser.add_argument("--compile", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--steps", type=int, default=20, help="per round (default: 20)")
    parser.add_argument("--rounds", type=int, default=3, help="the median is reported (default: 3)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()

    console = Console()
    device = torch.device("cuda" if resolve_device(args.device) == "gpu" else "cpu")
    precision = choose_precision(args.precision, device)
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)

    def network() -> RelationNet:
        return RelationNet(build_backbone(args.backbone, width=args.width), 7)

    def train_step(compile: str) -> TrainStep:
        return TrainStep(network(), OptimConfig(compile=compile), device=device, precision=precision)

    with RelationLoader(args.data, batch_size=args.batch_size, crop=args.crop, device=args.device, dtype=precision,
                        pairs_per_epoch=args.batch_size * args.steps) as loader:
        first = next(iter(loader))
        clips = first.clips.clone(memory_format=torch.preserve_format)
        relation = first.relation.to(device)
        cached = [(clips, relation)] * args.steps
        plain = [(clips.float().contiguous(), relation)] * args.steps
        step = train_step(args.compile)
        compiled = args.compile == "on" or (args.compile == "auto" and device.type == "cuda")
        ways = {"loader + network": (step, Loaded(loader, device)), "cached batch": (step, cached)}
        if compiled:
            ways["uncompiled"] = (train_step("off"), cached)
        ways["reference"] = (reference_step(network(), device), plain)

        counter = FlopCounterMode(display=False)
        with torch.device("meta"), counter:  # counted from shapes, nothing is computed
            logits = network()(torch.empty(clips.shape))
            F.cross_entropy(logits, torch.empty(len(logits), dtype=torch.int64)).backward()
        flops_a_clip = counter.get_total_flops() / (2 * len(relation))

        for way, batches in ways.values():
            timed(way, batches if isinstance(batches, Loaded) else batches[:3], device)  # compile, autotune, fill up
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(args.rounds):
            for name, (way, batches) in ways.items():
                runs[name].append(timed(way, batches, device))

    peaks = {dtype: matrix_peak(device, dtype) for dtype in {precision, torch.float32}}
    reference = statistics.median(speed for speed, _ in runs["reference"])
    rows = []
    for name, pairs in runs.items():
        speed = statistics.median(speed for speed, _ in pairs)
        dtype = torch.float32 if name == "reference" else precision
        rows.append({
            "way": name, "clips_per_second": speed, "fastest": max(s for s, _ in pairs),
            "slowest": min(s for s, _ in pairs), "times_reference": speed / reference,
            "data_wait": statistics.median(wait for _, wait in pairs), "flops": speed * flops_a_clip,
            "of_matrix_peak": speed * flops_a_clip / peaks[dtype],
        })

    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    setting = (f"{args.backbone} width {args.width}, {args.batch_size} pairs of 16x{args.crop}x{args.crop}, "
               f"{str(precision).removeprefix('torch.')}, {'compiled' if compiled else 'not compiled'}; {name}")
    console.print(f"training step: {setting}", highlight=False)
    table = Table()
    for column in ("", "clips/s", "(min to max)", "x reference", "wait", "GFLOP/s", "of peak"):
        table.add_column(column, justify="right" if column else "left")
    for row in rows:
        wait = f"{row['data_wait']:.1%}" if row["way"].startswith("loader") else ""
        table.add_row(row["way"], f"{row['clips_per_second']:.4g}", f"{row['slowest']:.4g} to {row['fastest']:.4g}",
                      f"{row['times_reference']:.2f}", wait, f"{row['flops'] / 1e9:,.0f}",
                      f"{row['of_matrix_peak']:.0%}")
    console.print(table)
    for dtype, peak in peaks.items():
        console.print(f"matrix peak {str(dtype).removeprefix('torch.')}: {peak / 1e9:,.0f} GFLOP/s; a clip costs "
                      f"{flops_a_clip / 1e9:.1f} GFLOP, forwards and backwards", highlight=False)
    if args.json:
        write_text(Path(args.json), json.dumps({
            "setting": setting, "gflop_a_clip": flops_a_clip / 1e9, "rows": rows,
            "matrix_peak": {str(dtype): peak for dtype, peak in peaks.items()},
            "date": time.strftime("%Y-%m-%d"), "device": name, "python": platform.python_version(),
            "torch": torch.__version__, "command": vars(args),
        }, indent=1) + "\n")


if __name__ == "__main__":
    run_program(main)
