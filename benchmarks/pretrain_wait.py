"""How long `pretrain` waits for clips: the whole program, on each DATASET in turn, from the lines that it logs.

    python benchmarks/pretrain_wait.py --data my_jpeg_dataset my_raw_dataset --cached step_c3d.json --json FILE

One epoch of --steps steps of --batch-size pairs. Its first SKIPPED steps, in which it compiles and the loader starts,
are left out. --cached is what train_step.py wrote for the same network and batch: then clips/s are also given as a
share of the network's alone.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from eruv_dali.dataset import Dataset
from eruv_dali.device import resolve_device
from eruv_dali.errors import EruvError, run_program
from eruv_dali.files import write_text
from eruv_dali.options import Parser, add_device

SKIPPED = 20


def after_start(metrics: str, skipped: int = SKIPPED) -> dict:
    """Mean clips/s and data wait over the logged steps after `skipped`: each line stands for the steps since the last.

    Raises:
        EruvError: nothing was logged after those.
    """
    lines = [line for line in map(json.loads, metrics.splitlines()) if "data_wait" in line]
    before, clips, seconds, waited = 0, 0.0, 0.0, 0.0
    for line in lines:
        steps, before = line["step"] - before, line["step"]
        if line["step"] - steps >= skipped:
            took = steps / line["clips_per_second"]  # in units of a batch's clips
            clips, seconds, waited = clips + steps, seconds + took, waited + took * line["data_wait"]
    if not seconds:
        raise EruvError(f"no steps were logged after the first {skipped}; give more --steps")
    return {"clips_per_second": clips / seconds, "data_wait": waited / seconds, "steps": before}


def run(data: str, args: argparse.Namespace, device: str, out: Path) -> dict:
    command = [sys.executable, "-m", "eruv_dali.pretrain", "--data", data, "--device", device, "--out", str(out),
               f"model.backbone={args.backbone}", f"model.width={args.width}", f"data.crop={args.crop}",
               f"data.batch_size={args.batch_size}", f"data.pairs_per_epoch={args.steps * args.batch_size}",
               f"data.val_pairs={args.val_pairs}", "optim.epochs=1", f"log.every_steps={args.every}",
               "log.tensorboard=false"]
    began = time.perf_counter()
    if code := subprocess.run(command).returncode:
        raise EruvError(f"pretrain ended with exit code {code}: {' '.join(command)}")
    return {"pack": Dataset(data).pack, **after_start((out / "metrics.jsonl").read_text(), args.skipped),
            "seconds": time.perf_counter() - began, "command": " ".join(command)}


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--data", required=True, nargs="+", metavar="DATASET", help="written by eruv_dali.prepare")
    add_device(parser)
    parser.add_argument("--backbone", default="c3d", metavar="NAME", help="the network that is trained")
    parser.add_argument("--width", type=int, default=64, help="channels of the first convolution")
    parser.add_argument("--crop", type=int, default=112, help="side of the clips, pixels")
    parser.add_argument("--batch-size", type=int, default=32, help="pairs")
    parser.add_argument("--steps", type=int, default=400, help="of the epoch")
    parser.add_argument("--skipped", type=int, default=SKIPPED, help="steps at the start that are not counted")
    parser.add_argument("--every", type=int, default=20, help="steps to a line of the log")
    parser.add_argument("--val-pairs", type=int, default=70, help="pairs of the validation after the epoch")
    parser.add_argument("--cached", metavar="FILE", help="figures of train_step.py")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file, after each DATASET")
    args = parser.parse_args()
    device, rows = resolve_device(args.device), []
    cached = None
    if args.cached and Path(args.cached).exists():
        ways = {row["way"]: row for row in json.loads(Path(args.cached).read_text())["rows"]}
        cached = ways["cached batch"]["clips_per_second"]
    with tempfile.TemporaryDirectory() as scratch:
        for data in args.data:
            row = run(data, args, device, Path(scratch) / str(len(rows)))
            rows.append({**row, "of_cached": row["clips_per_second"] / cached if cached else None})
            share = f", {row['clips_per_second'] / cached:.1%} of the network alone" if cached else ""
            print(f"{row['pack']}: {row['clips_per_second']:.4g} clips/s, data wait {row['data_wait']:.1%}{share}")
            if args.json:
                write_text(Path(args.json), json.dumps({
                    "date": time.strftime("%Y-%m-%d"), "device": device, "cached": cached, "rows": rows}, indent=1)
                    + "\n")


if __name__ == "__main__":
    run_program(main)
