"""Train from a store: this package's loader beside litdata and MosaicML streaming, by the same clips.

    pip install litdata mosaicml-streaming          # into an environment of their own, with this package
    python -m benchmarks.streaming my_dataset --peers PYTHON --json benchmarks/results/streaming_cpu.json

my_dataset has a video pack; its videos are taken --copies times. PYTHON is that environment's interpreter. A server on
this machine speaks S3 and waits --latency milliseconds before each answer; the network's speed is that of this machine.
A clip is 16 frames from anywhere in a segment, so a sample of the others is a whole segment, in shards of 64 MB, which
they copy to the local disk and shuffle within; the loader here reads the ranges that a clip needs. All decode with the
same decoder, on two processes or threads. Two epochs, one after another; medians of --rounds.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

from rich.console import Console
from rich.table import Table

from benchmarks.streaming.data import clips, multiply
from eruv_dali.errors import EruvError, run_program
from eruv_dali.options import Parser

NAMES = ("ours", "litdata", "mosaicml")
PORT = 9124


def run_one(name: str, python: str, dataset: Path, scratch: Path, tries: int = 3) -> dict:
    """One run's figures, with `failed`: the last lines of runs before it that ended with an error."""
    local = scratch / "local"
    shutil.rmtree(local, ignore_errors=True)
    local.mkdir()
    environment = {**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}", "AWS_ACCESS_KEY_ID": "x",
                   "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1", "PYTHONHASHSEED": "0"}
    ran = subprocess.run([python, "-m", "benchmarks.streaming.entrants", name, str(dataset), str(local)],
                         env=environment, capture_output=True, text=True, timeout=900)
    for line in ran.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    why = (ran.stderr.strip().splitlines() or ["no word"])[-1]
    if tries > 1:
        again = run_one(name, python, dataset, scratch, tries - 1)
        return {**again, "failed": [why, *again.get("failed", [])]}
    raise EruvError(f"{name} failed: {why}")


def serve(bucket: Path, latency: float) -> subprocess.Popen:
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.streaming.server", str(bucket), "--latency",
                               str(latency), "--port", str(PORT)])
    for _ in range(100):
        try:
            urlopen(f"http://127.0.0.1:{PORT}/-/counts").close()
            return server
        except OSError:
            time.sleep(0.1)
    raise EruvError("the server did not start")


def summary(runs: list[dict]) -> dict:
    """The medians of some runs."""
    def median(key, epoch=None):
        return statistics.median(run[key] if epoch is None else run["epochs"][epoch][key] for run in runs)

    failed = [why for run in runs for why in run.get("failed", [])]
    return {"first_batch_seconds": median("first_batch"), "local_bytes": median("local_bytes"), "failed_runs": failed,
            "epochs": [{"clips": runs[0]["epochs"][n]["clips"], "seconds": median("seconds", n),
                        **{key: median(key, n) for key in ("core_seconds", "requests", "gets", "bytes")}}
                       for n in range(len(runs[0]["epochs"]))]}


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("data", type=Path, metavar="DATASET", help="written by eruv_dali.prepare")
    parser.add_argument("--copies", type=int, default=8, help="of each video, so that there is enough to read")
    parser.add_argument("--latency", type=float, nargs="+", default=[20, 100], help="milliseconds before each answer")
    parser.add_argument("--rounds", type=int, default=3, help="of which medians are taken")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="interpreter with the others "
                        "(default this one)")
    parser.add_argument("--only", nargs="+", default=NAMES, choices=NAMES, help="who takes part")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    result: dict = {"date": time.strftime("%Y-%m-%d"), "command": " ".join(["python -m benchmarks.streaming",
                                                                            *sys.argv[1:]]), "latency_ms": {}}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        bucket = scratch / "store" / "bucket"
        multiply(args.data, bucket / "ours", args.copies)
        for name in NAMES[1:]:
            if name in args.only:
                code = ("import sys; from pathlib import Path; from benchmarks.streaming.data import write_shards; "
                        "write_shards(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])")
                subprocess.run([args.peers, "-c", code, str(bucket / "ours"), str(bucket / name), name], check=True)
        result["clips"] = len(clips(bucket / "ours"))
        result["bytes_in_store"] = {name: sum(path.stat().st_size for path in (bucket / name).rglob("*")
                                              if path.is_file()) for name in args.only}
        for latency in args.latency:
            server = serve(bucket.parent, latency)
            try:
                runs: dict[str, list[dict]] = {name: [] for name in args.only}
                for _ in range(args.rounds):
                    for name in args.only:
                        python = sys.executable if name == "ours" else args.peers
                        runs[name].append(run_one(name, python, bucket / "ours", scratch))
            finally:
                server.send_signal(signal.SIGKILL)
                server.wait()
            if len({(run["sums"], run["segments"]) for each in runs.values() for run in each}) > 1:
                raise EruvError("the clips of the entrants are not the same")
            result["latency_ms"][f"{latency:g}"] = {name: summary(each) for name, each in runs.items()}
            show(latency, result["latency_ms"][f"{latency:g}"])
            if args.json:
                Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


def show(latency: float, figures: dict) -> None:
    table = Table("", "first batch, s", *(f"epoch {n}: {what}" for n in (1, 2) for what in (
        "clips/s", "MB", "requests", "core s")), "local MB", title=f"{latency:g} ms")
    for name, each in figures.items():
        cells = [f"{each['first_batch_seconds']:.1f}"]
        for epoch in each["epochs"]:
            cells += [f"{epoch['clips'] / epoch['seconds']:.0f}", f"{epoch['bytes'] / 1e6:.0f}",
                      f"{epoch['requests']:.0f}", f"{epoch['core_seconds']:.0f}"]
        table.add_row(name, *cells, f"{each['local_bytes'] / 1e6:.0f}")
    Console(width=160).print(table)


if __name__ == "__main__":
    run_program(main)
