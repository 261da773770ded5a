"""How many clips RelationLoader delivers: the whole of it, with its sampler and infos, and nothing that trains.

    python benchmarks/loading.py --data DATASET [DATASET ...] --seconds 15 --rounds 2 --json FILE

Batches of --batch-size pairs (two clips of 16 frames, 112 x 112, bfloat16) are taken as fast as they come. The DATASETs
take turns, round by round, so that other load on the machine meets all of them; each turn runs in the middle of an
epoch, its clock starts after SKIPPED batches. On a GPU, NVML is asked meanwhile how busy the GPU, its decoding engines
(NVDEC) and its JPEG engines (NVJPG) are; where NVML is missing, the figures say so.

"python" is the processor time of the thread that takes the batches, in milliseconds a clip.
"""

import argparse
import importlib.metadata
import json
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from eruv_dali import RelationLoader
from eruv_dali.device import cores, resolve_device
from eruv_dali.errors import run_program
from eruv_dali.files import write_text
from eruv_dali.options import Parser, add_device

SKIPPED = 5  # batches: what was loaded ahead while the others had their turn
EVERY = 0.1  # seconds from one reading of NVML to the next


class Utilisation:
    """Samples NVML on a thread, within `with`. `means`: percent, by engine; `missing`: why there are none."""

    def __init__(self, device: str) -> None:
        self.means: dict[str, float] = {}
        self.missing, self._engines = "", {}
        if device != "gpu":
            self.missing = "no GPU"
            return
        try:
            import pynvml

            pynvml.nvmlInit()
            self._engines = engines(pynvml, pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device()))
        except Exception as error:  # the module, the library, the device or the right may be missing
            self.missing = f"{type(error).__name__}: {error}"

    def __enter__(self) -> "Utilisation":
        self._stop = threading.Event()
        self._seen: dict[str, list[float]] = {name: [] for name in self._engines}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.means = {name: statistics.mean(values) for name, values in self._seen.items() if values}

    def _watch(self) -> None:
        while self._engines and not self._stop.wait(EVERY):
            for name, ask in list(self._engines.items()):
                try:
                    self._seen[name].append(ask())
                except Exception as error:  # older drivers do not tell of NVJPG
                    self.missing = f"{name}: {error}"
                    del self._engines[name]


def engines(pynvml, handle) -> dict[str, Callable[[], float]]:
    """How to ask NVML for each engine's utilisation, percent."""
    return {"gpu": lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "nvdec": lambda: pynvml.nvmlDeviceGetDecoderUtilization(handle)[0],
            "nvjpg": lambda: pynvml.nvmlDeviceGetJpgUtilization(handle)[0]}


class Turns:
    """A loader that is read for some seconds at a time, on and on."""

    def __init__(self, data: str, args: argparse.Namespace, device: str) -> None:
        self.loader = RelationLoader(data, batch_size=args.batch_size, crop=args.crop, device=device, dtype="bfloat16",
                                     pairs_per_epoch=args.batch_size * 1_000_000)
        self.pack, self._device = self.loader.videos.pack, device
        self._batches = iter(self.loader)

    def run(self, seconds: float) -> dict:
        """Clips/s, milliseconds of Python a clip, and the engines' utilisation."""
        for _ in range(SKIPPED):
            next(self._batches)
        used = Utilisation(self._device)
        with used:
            clips, began, worked = 0, time.perf_counter(), time.thread_time()
            while time.perf_counter() - began < seconds:
                pairs, of_pair = next(self._batches).clips.shape[:2]
                clips += pairs * of_pair
            if self._device == "gpu":
                torch.cuda.synchronize()
            took, worked = time.perf_counter() - began, time.thread_time() - worked
        return {"clips_per_second": clips / took, "python": 1000 * worked / clips, "utilisation": used.means,
                "not_seen": used.missing}


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--data", required=True, nargs="+", metavar="DATASET", help="written by eruv_dali.prepare")
    add_device(parser)
    parser.add_argument("--batch-size", type=int, default=64, help="pairs")
    parser.add_argument("--crop", type=int, default=112, help="side of the clips, pixels")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each turn (default %(default)g)")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each DATASET; the median is reported")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file, after each turn")
    args = parser.parse_args()
    device = resolve_device(args.device)
    made = [Turns(data, args, device) for data in args.data]
    rows: dict[str, dict] = {turns.pack: {"pack": turns.pack, "turns": []} for turns in made}
    setting = {"date": time.strftime("%Y-%m-%d"), "command": " ".join(["python", *sys.argv]), "device": device,
               "name": torch.cuda.get_device_name() if device == "gpu" else "CPU", "cores": cores(),
               "python": platform.python_version(), "torch": torch.__version__,
               "av": importlib.metadata.version("av"), "pairs": args.batch_size}
    try:
        for _ in range(args.rounds):
            for turns in made:
                row = rows[turns.pack]
                row["turns"].append(turns.run(args.seconds))
                row["clips_per_second"] = statistics.median(turn["clips_per_second"] for turn in row["turns"])
                row["stats"] = {name: value for name, value in turns.loader.stats().items()
                                if isinstance(value, (int, float))}
                if args.json:
                    write_text(Path(args.json), json.dumps({**setting, "rows": list(rows.values())}, indent=1) + "\n")
    finally:
        for turns in made:
            turns.loader.close()
    table = Table(title=f"RelationLoader, batches of {args.batch_size} pairs, bfloat16, {device}")
    for column in ("pack", "clips/s", "Python, ms a clip", "busy, %"):
        table.add_column(column, justify="left" if column == "pack" else "right")
    for row in rows.values():
        for turn in row["turns"]:
            busy = ", ".join(f"{name} {value:.0f}" for name, value in turn["utilisation"].items()) or turn["not_seen"]
            table.add_row(row["pack"], f"{turn['clips_per_second']:.4g}", f"{turn['python']:.3f}", busy)
    Console(width=120).print(table)


if __name__ == "__main__":
    run_program(main)
