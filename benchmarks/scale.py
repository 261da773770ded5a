"""What a loader costs with a large DATASET, and whether its memory stays constant.

    python benchmarks/scale.py --data my_raw_dataset --json result.json
    python benchmarks/scale.py --open-only --videos 1000000 --json result.json

Three measurements, each in its own process:

    open      a DATASET of 10,000 videos and 1,000,000 segments, or of as many as --videos says: seconds to open it, to
              build a RelationLoader and to its first batch, on the clock and of a core; resident memory above that of a
              loader of one video (which is DALI's and PyTorch's). --open-only: only the opening. --loader-only: only
              this measurement.
    flat      resident memory over 1,000 batches, after the first 100
    reopen    resident memory, threads and open files over 50 loaders built and closed

The large DATASET is made here: its tables are real, its frames all refer to the same few pictures in a raw pack.
"""

import gc
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from eruv_dali import RelationLoader
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.columns import FRAME, SEGMENT, SEGMENT_COLUMNS, VIDEO_COLUMNS
from eruv_dali.dataset.opened import FORMAT
from eruv_dali.dataset.seal import seal_dataset
from eruv_dali.dataset.video_table import write_videos
from eruv_dali.errors import EruvError, run_program
from eruv_dali.files import write_csv, write_text
from eruv_dali.options import Parser
from eruv_dali.video.coding import Coding

VIDEOS, SEGMENTS_A_VIDEO, LENGTH, STEP = 10_000, 100, 48, 1
HEIGHT, WIDTH = 128, 171


def make_dataset(folder: Path, videos: int) -> Path:
    """A DATASET of `videos` videos with 100 segments in 20 shots each, of 48 frames that overlap, to spare the disk."""
    (folder / "pack").mkdir(parents=True)
    count = STEP * (SEGMENTS_A_VIDEO - 1) + LENGTH
    pictures = np.random.default_rng(0).integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)
    pictures.tofile(folder / "pack" / "frames-00000.bin")
    names = [f"{n // 1000:05d}/{n:08d}.mp4" for n in range(videos)]
    size, time_ns, coding = 10**6, 10**18, Coding("yuv420p", "High", False, False, 640, 368, "", "")
    write_csv(folder / "videos.csv", VIDEO_COLUMNS, (
        (name, f"/originals/{name}", count, 25, 640, 360, "h264", 0, size, time_ns, *astuple(coding), "")
        for name in names))
    write_videos(folder, {
        name: dict(path=f"/originals/{name}", frames=count, codec="h264", rotation=0, size=size, mtime_ns=time_ns,
                   pack="frames-00000.bin", first=n * count, coding=asdict(coding), content=f"{n:032x}")
        for n, name in enumerate(names)})
    segments = np.zeros(videos * SEGMENTS_A_VIDEO, SEGMENT)
    place = np.arange(len(segments))
    segments["segment"], segments["video"] = place, place // SEGMENTS_A_VIDEO
    segments["shot"] = place % SEGMENTS_A_VIDEO // 5
    segments["start"] = place % SEGMENTS_A_VIDEO * STEP
    segments["end"] = segments["start"] + LENGTH
    with open(folder / "segments.csv", "w") as file:
        print(*SEGMENT_COLUMNS, sep=",", file=file)
        for first in range(0, len(segments), 10**6):
            file.writelines(f"{s},{names[v]},{shot},{start},{end}\n"
                            for s, v, shot, start, end in segments[first : first + 10**6].tolist())
    np.save(folder / "segments.npy", segments)
    frames = np.zeros(count, FRAME)
    frames["size"] = pictures[0].size
    frames["offset"] = pictures[0].size * np.arange(count)
    every = np.lib.format.open_memmap(folder / "frames.npy", "w+", FRAME, (count * videos,))
    every.reshape(videos, count)[:] = frames
    every.flush()
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


def peak() -> int:
    """The most memory that this process held so far, in bytes, with mapped files. (ru_maxrss is that of the process
    that started this one, where that had more.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


class OwnPeak:
    """Looks at `resident` 20 times a second: `most` is the highest value seen."""

    def __init__(self) -> None:
        self.most = resident()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self.most = max(self.most, resident())
            time.sleep(0.05)


def measure_open(folder: str, only: bool = False) -> dict:
    own = OwnPeak()
    before, started, worked = resident(), time.perf_counter(), time.process_time()
    dataset = Dataset(folder)
    opened = time.perf_counter()
    result = {"videos": len(dataset.videos), "segments": len(dataset.segments), "open_seconds": opened - started,
              "open_cpu_seconds": time.process_time() - worked, "open_bytes": resident() - before,
              "open_peak_bytes": peak()}
    if only:
        return result
    worked = time.process_time()
    loader = RelationLoader(dataset, batch_size=8, device="cpu")
    built, worked_for_it = time.perf_counter(), time.process_time() - worked
    worked = time.process_time()
    batches = iter(loader)
    batch = next(batches)
    first, worked_for_first = time.perf_counter(), time.process_time() - worked
    del batch
    for _ in range(20):
        next(batches)
    return {**result, "loader_seconds": built - opened, "loader_cpu_seconds": worked_for_it,
            "first_batch_seconds": first - built, "first_batch_cpu_seconds": worked_for_first,
            "resident_bytes": resident(), "own_peak_bytes": own.most, "peak_bytes": peak()}


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


def show_opening(figures: dict) -> None:
    Console().print(f"{figures['videos']:,} videos, {figures['segments']:,} segments: opens in "
                    f"{figures['open_seconds']:.1f} s ({figures['open_cpu_seconds']:.1f} s of a core), with "
                    f"{figures['open_bytes'] / 1e9:.2f} GB resident, at most {figures['open_peak_bytes'] / 1e9:.2f} GB "
                    "with mapped files", highlight=False)


def show_loader(figures: dict) -> None:
    Console().print(f"loader built in {figures['loader_seconds']:.1f} s ({figures['loader_cpu_seconds']:.1f} s of a "
                    f"core), first batch after {figures['first_batch_seconds']:.1f} s more "
                    f"({figures['first_batch_cpu_seconds']:.1f}); resident {figures['resident_bytes'] / 1e9:.2f} GB, "
                    f"{figures['resident_above_small'] / 1e9:.2f} GB above a small DATASET's, at most "
                    f"{figures['own_peak_bytes'] / 1e9:.2f} GB; with mapped files at most "
                    f"{figures['peak_bytes'] / 1e9:.2f} GB", highlight=False)


def save(file: str | None, result: dict) -> None:
    if file:
        Path(file).write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--data", metavar="DATASET", help="written by eruv_dali.prepare, for the second and "
                        "third measurement")
    parser.add_argument("--videos", type=int, default=VIDEOS, help="videos of the first measurement")
    parser.add_argument("--open-only", action="store_true", help="measure nothing but how a DATASET opens")
    parser.add_argument("--loader-only", action="store_true", help="measure nothing but the first: no --data needed")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    if not (args.open_only or args.loader_only):
        if not args.data:
            raise EruvError("give a DATASET with --data, or --open-only, or --loader-only")
        Dataset(args.data).check()
    result = {"date": time.strftime("%Y-%m-%d"), "command": " ".join(["python", *sys.argv])}
    with tempfile.TemporaryDirectory() as scratch:
        large = make_dataset(Path(scratch) / "large", args.videos)
        if args.open_only:
            result["open"] = apart(measure_open, str(large), True)
            show_opening(result["open"])
            save(args.json, result)
            return
        small = make_dataset(Path(scratch) / "small", 2)
        base, result["open"] = apart(measure_open, str(small)), apart(measure_open, str(large))
        result["open"]["resident_above_small"] = result["open"]["resident_bytes"] - base["resident_bytes"]
    if args.loader_only:
        show_opening(result["open"])
        show_loader(result["open"])
        save(args.json, result)
        return
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
    save(args.json, result)


if __name__ == "__main__":
    run_program(main)
