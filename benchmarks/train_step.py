"""How fast the network trains, how much of that remains with the loader, and how much of the device's peak that is.

    python benchmarks/train_step.py --data my_raw_dataset --json result.json
    python benchmarks/train_step.py --data my_raw_dataset --device cpu --width 8 --crop 56 --steps 8

Ways to do the same step (C3D, both clips of 8 pairs, forward, backward, update), one after the other in every round, so
that other load on the machine affects all of them:

    loader + network   batches from RelationLoader, the network as `pretrain` runs it
    cached batch       the same on one batch, repeated: the speed of the network alone
    uncompiled         as `cached batch`, without torch.compile (left out if that is off, as on a CPU)
    reference          float32, contiguous memory, plain SGD, on one batch: a plain training script. TF32 is off
    reference, TF32    the same with TF32 on, for matrices and convolutions (on a GPU)

TF32 is set explicitly, off or on, before every way: PyTorch's defaults differ between matrices and convolutions, and
between versions. It does not matter to the ways before "reference" unless their precision is float32.

The data wait does not contain the start of an epoch: all rounds read one epoch, and in each the clock starts after
SKIPPED batches, so that neither the loader's start nor what it loaded ahead during the other ways is counted.

For each: clips/s, times the reference, the share of the time spent waiting for clips, and FLOP/s (counted by
PyTorch's FlopCounterMode; a multiplication and an addition count as two) next to what the device reaches in a large
matrix product of that precision, measured here. "loader ÷ cached" is the first way's clips/s by the second's.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from eruv_dali import RelationLoader
from eruv_dali.device import resolve_device
from eruv_dali.errors import run_program
from eruv_dali.files import write_text
from eruv_dali.models import BACKBONES, RelationNet, build_backbone
from eruv_dali.options import Parser, add_device
from eruv_dali.train.clock import StepClock
from eruv_dali.train.settings import OptimConfig
from eruv_dali.train.step import TrainStep, choose_precision

PEAK_SIDE = {"cuda": 8192, "cpu": 2048}  # of the square matrices
SKIPPED = 5  # batches of every round before its clock starts
STEPS = {"cuda": 200, "cpu": 20}  # with the loader, per round
ALONE = 10  # times fewer steps on a cached batch: nothing there varies
LOADED, CACHED, REFERENCE, REFERENCE_TF32 = "loader + network", "cached batch", "reference", "reference, TF32"


def set_tf32(on: bool) -> None:
    """Float32 matrices and convolutions by TF32's shorter mantissas, or in full float32."""
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the best of some large matrix products, with TF32 as it is set."""
    side, rounds = PEAK_SIDE[device.type], 10 if device.type == "cuda" else 3
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


def timed(step: Callable, batches: Iterable, device: torch.device) -> tuple[float, float]:
    """Clips/s and the share of the time spent waiting, over `batches` of (clips, relation)."""
    synchronize(device)
    clock, clips, iterator, number = StepClock(device), 0, iter(batches), 0
    started = time.perf_counter()
    while True:
        clock.waiting()
        batch = next(iterator, None)
        clock.working()
        if batch is None:
            break
        step(*batch, number)
        clips += 2 * len(batch[1])
        number += 1
    _, waited = clock.lap()
    synchronize(device)
    seconds = time.perf_counter() - started
    return clips / seconds, waited / seconds


class Loaded:
    """A RelationLoader's next `steps` batches at each iteration, all of one epoch."""

    def __init__(self, loader: RelationLoader, steps: int, device: torch.device) -> None:
        self._batches, self._steps, self._device = iter(loader), steps, device

    def __iter__(self) -> Iterator[tuple]:
        return self.take(self._steps)

    def take(self, count: int) -> Iterator[tuple]:
        """The next `count` batches of (clips, relation)."""
        for _ in range(count):
            batch = next(self._batches)
            yield batch.clips, batch.relation.to(self._device, non_blocking=True)


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--data", required=True, metavar="DATASET", help="written by eruv_dali.prepare")
    add_device(parser)
    parser.add_argument("--backbone", choices=BACKBONES, default="c3d", help="the network that is trained")
    parser.add_argument("--width", type=int, default=64, help="channels of the first convolution")
    parser.add_argument("--crop", type=int, default=112, help="side of the clips, pixels")
    parser.add_argument("--batch-size", type=int, default=8, help="pairs")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16", "float16"), default="auto",
                        help="of the ways but the reference")
    parser.add_argument("--compile", choices=("auto", "on", "off"), default="auto", help="auto: on a GPU")
    parser.add_argument("--steps", type=int,
                        help=f"with the loader, per round (default {STEPS['cuda']}, on a CPU {STEPS['cpu']}); "
                             f"on a cached batch {ALONE} times fewer")
    parser.add_argument("--rounds", type=int, default=3, help="the median is reported")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file, after each round")
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

    steps = args.steps or STEPS[device.type]
    alone = max(2, steps // ALONE)
    batches = (SKIPPED + steps) * args.rounds + 2 * SKIPPED + 1
    compiled = args.compile == "on" or (args.compile == "auto" and device.type == "cuda")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    setting = (f"{args.backbone} width {args.width}, {args.batch_size} pairs of 16x{args.crop}x{args.crop}, "
               f"{str(precision).removeprefix('torch.')}, {'compiled' if compiled else 'not compiled'}; {name}")
    set_tf32(False)
    peaks = {str(dtype): matrix_peak(device, dtype) for dtype in {precision, torch.float32}}
    if device.type == "cuda":
        set_tf32(True)
        peaks["TF32"] = matrix_peak(device, torch.float32)

    with RelationLoader(args.data, batch_size=args.batch_size, crop=args.crop, device=args.device, dtype=precision,
                        pairs_per_epoch=args.batch_size * batches) as loader:
        loaded = Loaded(loader, steps, device)
        ((first, relation),) = loaded.take(1)
        clips = first.clone(memory_format=torch.preserve_format)
        flops_a_clip = flops_of_step(network, clips, relation) / (2 * len(relation))
        cached, plain = (clips, relation), (clips.float().contiguous(), relation)
        step, tf32 = train_step(args.compile), False
        ways: dict[str, tuple] = {LOADED: (step, None, tf32), CACHED: (step, cached, tf32)}
        if compiled:
            ways["uncompiled"] = (train_step("off"), cached, tf32)
        ways[REFERENCE] = (reference_step(network(), device), plain, False)
        if device.type == "cuda":
            ways[REFERENCE_TF32] = (reference_step(network(), device), plain, True)

        for way, batch, tf32 in ways.values():
            set_tf32(tf32)
            timed(way, [batch] * 3 if batch else loaded.take(SKIPPED), device)  # compile, autotune, fill up
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(args.rounds):
            for way_name, (way, batch, tf32) in ways.items():
                set_tf32(tf32)
                if batch is None:
                    timed(way, loaded.take(SKIPPED), device)
                runs[way_name].append(timed(way, [batch] * alone if batch else loaded, device))
            result = {
                "setting": setting, "gflop_a_clip": flops_a_clip / 1e9,
                "rows": figures(runs, str(precision), peaks, flops_a_clip),
                "loader_of_cached": ratio(runs), "matrix_peak": peaks,
                "tf32": "off, except in 'reference, TF32' and the matrix peak 'TF32'",
                "skipped_batches": SKIPPED, "steps": steps, "rounds": len(runs[LOADED]),
                "date": time.strftime("%Y-%m-%d"), "device": name, "python": platform.python_version(),
                "torch": torch.__version__, "cudnn": torch.backends.cudnn.version(), "command": vars(args),
            }
            if args.json:
                write_text(Path(args.json), json.dumps(result, indent=1) + "\n")
    show(console, result)


def flops_of_step(network: Callable[[], RelationNet], clips: torch.Tensor, relation: torch.Tensor) -> int:
    """Of one batch, forwards and backwards: counted from shapes, nothing is computed."""
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), counter:
        logits = network()(torch.empty(clips.shape))
        F.cross_entropy(logits, torch.empty(len(relation), dtype=torch.int64)).backward()
    return counter.get_total_flops()


def figures(runs: dict, precision: str, peaks: dict[str, float], flops_a_clip: float) -> list[dict]:
    """A row for each way, of its rounds of (clips/s, share of waiting)."""
    reference = statistics.median(speed for speed, _ in runs[REFERENCE])
    rows = []
    for name, pairs in runs.items():
        speed = statistics.median(speed for speed, _ in pairs)
        peak = peaks[{REFERENCE: "torch.float32", REFERENCE_TF32: "TF32"}.get(name, precision)]
        rows.append({
            "way": name, "clips_per_second": speed, "fastest": max(s for s, _ in pairs),
            "slowest": min(s for s, _ in pairs), "times_reference": speed / reference,
            "data_wait": statistics.median(wait for _, wait in pairs), "flops": speed * flops_a_clip,
            "of_matrix_peak": speed * flops_a_clip / peak,
        })
    return rows


def ratio(runs: dict) -> float:
    """Clips/s with the loader by clips/s of the network alone: the median over rounds."""
    pairs = zip(runs[LOADED], runs[CACHED], strict=True)
    return statistics.median(loaded / cached for (loaded, _), (cached, _) in pairs)


def show(console: Console, result: dict) -> None:
    console.print(f"training step: {result['setting']}; TF32 {result['tf32']}", highlight=False)
    table = Table()
    for column in ("", "clips/s", "(min to max)", "x reference", "wait", "GFLOP/s", "of peak"):
        table.add_column(column, justify="right" if column else "left")
    for row in result["rows"]:
        wait = f"{row['data_wait']:.1%}" if row["way"] == LOADED else ""
        table.add_row(row["way"], f"{row['clips_per_second']:.4g}", f"{row['slowest']:.4g} to {row['fastest']:.4g}",
                      f"{row['times_reference']:.2f}", wait, f"{row['flops'] / 1e9:,.0f}",
                      f"{row['of_matrix_peak']:.0%}")
    console.print(table)
    console.print(f"loader ÷ cached: {result['loader_of_cached']:.3f}; a clip costs {result['gflop_a_clip']:.1f} "
                  "GFLOP, forwards and backwards", highlight=False)
    for name, peak in result["matrix_peak"].items():
        console.print(f"matrix peak {name.removeprefix('torch.')}: {peak / 1e9:,.0f} GFLOP/s", highlight=False)


if __name__ == "__main__":
    run_program(main)
