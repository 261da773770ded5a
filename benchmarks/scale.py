"""What a loader costs with a large DATASET, and whether its memory stays constant.

    python benchmarks/scale.py --data my_raw_dataset --json result.json

Three measurements, each in its own process:

    open      a DATASET of 10,000 videos and 1,000,000 segments: seconds to open it, to build a RelationLoader and to
              its first batch; resident memory above that of a loader of one video (which is DALI's and PyTorch's)
    flat      resident memory over 1,000 batches, after the first 100
    reopen    resident memory, threads and open files over 50 loaders built and closed

The large DATASET is made here: its tables are real, its frames all refer to the same few pictures in a raw pack.
"""

import argparse
import gc
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from eruv_dali import RelationLoader
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.columns import FRAME, SEGMENT, SEGMENT_COLUMNS, VIDEO_COLUMNS
from eruv_dali.dataset.opened import FORMAT
from eruv_dali.dataset.seal import seal_dataset
from eruv_dali.errors import run_program
from eruv_dali.files import write_csv, write_text
from eruv_dali.video.coding import COLUMNS

VIDEOS, SEGMENTS_A_VIDEO, LENGTH, STEP = 10_000, 100, 48, 4
HEIGHT, WIDTH = 128, 171


def make_dataset(folder: Path, videos: int) -> Path:
    """A DATASET of `videos` videos with 100 segments in 20 shots each, of 48 frames that overlap, to spare the disk."""
    (folder / "pack").mkdir(parents=True)
    (folder / "originals").mkdir()
    count = STEP * (SEGMENTS_A_VIDEO - 1) + LENGTH
    pictures = np.random.default_rng(0).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)
    pictures.tofile(folder / "pack" / "frames-00000.bin")
    rows, facts, names = [], {}, [f"{n // 100:03d}/{n:06d}.mp4" for n in range(videos)]
    for n, name in enumerate(names):
        path = folder / "originals" / f"{n}.mp4"
        path.touch()
        status = path.stat()
        rows.append((name, path, count, 25, 640, 360, "h264", 0, status.st_size, status.st_mtime_ns,
                     *[""] * len(COLUMNS), ""))
        facts[name] = dict(path=str(path), frames=count, codec="h264", rotation=0, size=status.st_size,
                           mtime_ns=status.st_mtime_ns, pack="frames-00000.bin", first=n * count)
    write_csv(folder / "videos.csv", VIDEO_COLUMNS, rows)
    write_text(folder / "videos.json", json.dumps(facts))
    segments = np.zeros(videos * SEGMENTS_A_VIDEO, SEGMENT)
    place = np.arange(len(segments))
    segments["segment"], segments["video"] = place, place // SEGMENTS_A_VIDEO
    segments["shot"] = place % SEGMENTS_A_VIDEO // 5
    segments["start"] = place % SEGMENTS_A_VIDEO * STEP
    segments["end"] = segments["start"] + LENGTH
    write_csv(folder / "segments.csv", SEGMENT_COLUMNS,
              ((s, names[v], shot, start, end) for s, v, shot, start, end in segments.tolist()))
    np.save(folder / "segments.npy", segments)
    frames = np.zeros(count, FRAME)
    frames["size"] = pictures[0].size
    frames["offset"] = pictures[0].size * np.arange(count)
    np.save(folder / "frames.npy", np.tile(frames, videos))
    settings = json.dumps({"format": FORMAT, "frame_height": HEIGHT, "frame_width": WIDTH, "pack": "raw",
                           "rule": "robust", "threshold": None, "segment_length": LENGTH, "min_length": LENGTH})
    seal_dataset(folder, settings)
    write_text(folder / "dataset.json", settings)
    return folder


def resident() -> int:
    """This process's own memory, in bytes: without mapped files, which the system may evict at any time."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    return 1024 * (sizes["Pss_Anon"] + sizes["Pss_Shmem"])


def measure_open(folder: str) -> dict:
    started = time.perf_counter()
    dataset = Dataset(folder)
    opened = time.perf_counter()
    loader = RelationLoader(dataset, batch_size=8, device="cpu")
    built = time.perf_counter()
    batches = iter(loader)
    batch = next(batches)
    first = time.perf_counter()
    del batch
    for _ in range(20):
        next(batches)
    return {"videos": len(dataset.videos), "segments": len(dataset.segments), "open_seconds": opened - started,
            "loader_seconds": built - opened, "first_batch_seconds": first - built, "resident_bytes": resident()}


def measure_flat(folder: str) -> dict:
    sizes = []
    with RelationLoader(folder, batch_size=8, device="cpu", pairs_per_epoch=8 * 1100) as loader:
        for number, batch in enumerate(loader):
            del batch
            if number >= 99 and number % 50 == 49:
                gc.collect()
                sizes.append(resident())
    return {"after_100_batches": sizes[0], "after_1100_batches": sizes[-1], "most": max(sizes),
            "growth": sizes[-1] / sizes[0] - 1}


def measure_reopen(folder: str) -> dict:
    def held() -> list[int]:
        gc.collect()
        return [resident(), len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")),
                threading.active_count()]

    figures = []
    for _ in range(55):
        with RelationLoader(folder, batch_size=4, device="cpu") as loader:
            next(iter(loader))
        figures.append(held())
    before, after = figures[4], figures[-1]
    names = ("resident_bytes", "system_threads", "files", "python_threads")
    return {name: [b, a] for name, b, a in zip(names, before, after, strict=True)}


def apart(function: Callable, *arguments: object) -> dict:
    """Call a function in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="DATASET", help="for the second and third measurement")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    Dataset(args.data).check()
    result = {"date": time.strftime("%Y-%m-%d"), "command": " ".join(["python", *sys.argv])}
    with tempfile.TemporaryDirectory() as scratch:
        small, large = make_dataset(Path(scratch) / "small", 2), make_dataset(Path(scratch) / "large", VIDEOS)
        base, result["open"] = apart(measure_open, str(small)), apart(measure_open, str(large))
        result["open"]["resident_above_small"] = result["open"]["resident_bytes"] - base["resident_bytes"]
    result["flat"] = apart(measure_flat, args.data)
    result["reopen"] = apart(measure_reopen, args.data)

    table = Table(show_header=False)
    for name, value in (
        ("DATASET", f"{result['open']['videos']:,} videos, {result['open']['segments']:,} segments"),
        ("opens in", f"{result['open']['open_seconds']:.2f} s"),
        ("loader built in", f"{result['open']['loader_seconds']:.2f} s"),
        ("first batch after", f"{result['open']['first_batch_seconds']:.2f} s more"),
        ("resident above a small DATASET", f"{result['open']['resident_above_small'] / 1e6:.0f} MB"),
        ("1,000 batches after the first 100", f"{100 * result['flat']['growth']:+.1f} % resident memory "
                                              f"({result['flat']['after_100_batches'] / 1e6:.0f} MB)"),
        ("50 loaders after the first 5", ", ".join(
            f"{name.replace('_', ' ')} {b / 1e6:.0f} -> {a / 1e6:.0f} MB" if "bytes" in name else
            f"{name.replace('_', ' ')} {b} -> {a}" for name, (b, a) in result["reopen"].items())),
    ):
        table.add_row(name, value)
    Console().print(table)
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    run_program(main)
