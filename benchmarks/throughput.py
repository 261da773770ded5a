"""Clips per second from video files to a training batch: this loader against the common alternatives.

    pip install -e '.[bench]'
    python benchmarks/throughput.py --videos my_videos/ --codecs h264 --json result.json --plot result.png

All contenders deliver the same random clips in the same order, 16 frames each, resized to 128x171, cropped to 112x112,
float32, in batches of 16. Ours read a DATASET of each pack kind, which is prepared first and not counted; the peers
decode the original files in a PyTorch DataLoader with one persistent worker per core, each keeping its files open and
decoding on one thread. All files are read once before, so that none waits for a disk. Ours requests up to 128 clips
ahead, and decodes shared frames once. Contenders take turns, so that a noisy machine affects them equally.
Videos that one of them cannot open, or no longer than a clip, are left out for all; peers that are not installed, or
fail, are left out; the table says so.

    clips/s          the epoch from its first request to its last batch; the first run of each warms up, uncounted
    CPU ms/clip      of all processes
    peak memory      growth of the processes' own memory (not mapped files)

`--profile` measures the parts of ours instead: milliseconds per clip in each stage, on one thread, a stage at a time.
"""

import argparse
import contextlib
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from eruv_dali.dataset import Dataset
from eruv_dali.device import DEVICES, cores, resolve_device
from eruv_dali.errors import EruvError, run_program
from eruv_dali.loader.pipelines import ClipFormat, jpeg_pipeline, raw_pipeline
from eruv_dali.loader.prefetch import ClipEngine
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.prepare import prepare
from eruv_dali.video.reader import FrameReader

T, CROP, FRAME_SIZE, BATCH = 16, 112, (128, 171), 16
OPEN_FILES = 64  # files that a peer keeps open; decord, which indexes a file when it opens it, needs this most

Decode = Callable[[str, np.ndarray], np.ndarray]  # path, frame numbers -> (T, 128, 171, 3) uint8


def pyav_decoder() -> Decode:
    import av
    from av.video.reformatter import VideoReformatter

    scaler = VideoReformatter()

    @lru_cache(OPEN_FILES)
    def opened(path: str):
        container = av.open(path, metadata_errors="ignore")
        return container, container.streams.video[0]

    def decode(path: str, frames: np.ndarray) -> np.ndarray:
        container, stream = opened(path)
        rate = float(stream.average_rate)
        begin = stream.start_time or 0
        container.seek(begin + int(frames[0] / rate / stream.time_base), stream=stream)
        pictures = []
        for frame in container.decode(stream):
            if round(((frame.pts or 0) - begin) * float(stream.time_base) * rate) >= frames[0]:
                pictures.append(scaler.reformat(frame, FRAME_SIZE[1], FRAME_SIZE[0], "rgb24", threads=1).to_ndarray())
                if len(pictures) == len(frames):
                    break
        # If the frame rate varies, frame numbers computed from times may run past the end.
        return np.stack(pictures + pictures[-1:] * (len(frames) - len(pictures)))

    return decode


def opencv_decoder() -> Decode:
    import cv2

    cv2.setNumThreads(1)

    @lru_cache(OPEN_FILES)
    def opened(path: str):
        return cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])

    def decode(path: str, frames: np.ndarray) -> np.ndarray:
        capture = opened(path)
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(frames[0]))
        pictures = [cv2.resize(capture.read()[1], FRAME_SIZE[::-1], interpolation=cv2.INTER_AREA) for _ in frames]
        return np.stack(pictures)[..., ::-1]

    return decode


def decord_decoder() -> Decode:
    import decord

    @lru_cache(OPEN_FILES)
    def opened(path: str):
        return decord.VideoReader(path, width=FRAME_SIZE[1], height=FRAME_SIZE[0], num_threads=1)

    return lambda path, frames: opened(path).get_batch(frames.tolist()).asnumpy()


def torchcodec_decoder() -> Decode:
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    @lru_cache(OPEN_FILES)
    def opened(path: str):
        return VideoDecoder(path, num_ffmpeg_threads=1, seek_mode="approximate", dimension_order="NHWC",
                            transforms=[Resize(size=FRAME_SIZE)])

    return lambda path, frames: opened(path).get_frames_in_range(int(frames[0]), int(frames[-1]) + 1).data.numpy()


PEERS = {"pyav": pyav_decoder, "opencv": opencv_decoder, "decord": decord_decoder, "torchcodec": torchcodec_decoder}


class PeerClips(torch.utils.data.Dataset):
    """The dataset of a DataLoader's workers: one normalised clip per request (path, frames, crop)."""

    def __init__(self, peer: str) -> None:
        self.peer, self.decode = peer, None

    def __getitem__(self, clip: tuple) -> torch.Tensor:
        if self.decode is None:
            torch.set_num_threads(1)
            self.decode = PEERS[self.peer]()
        path, frames, (top, left) = clip
        pictures = self.decode(path, frames)[:, top : top + CROP, left : left + CROP]
        return torch.from_numpy(np.ascontiguousarray(pictures)).permute(3, 0, 1, 2).float().div_(255)


class Peer:
    """A peer in a DataLoader with persistent workers."""

    def __init__(self, name: str, dataset: Dataset) -> None:
        self.dataset, self._batches = dataset, []
        self._loader = torch.utils.data.DataLoader(
            PeerClips(name), batch_sampler=self._batches, num_workers=cores(), persistent_workers=True,
            prefetch_factor=2, multiprocessing_context="spawn")

    def batches(self, requests: list[ClipRequest]) -> Iterator[torch.Tensor]:
        clips = [(str(self.dataset.videos[r.video].path), r.frames, r.crop) for r in requests]
        self._batches[:] = [clips[first : first + BATCH] for first in range(0, len(clips), BATCH)]
        return iter(self._loader)


class Ours:
    """The engine under our loaders."""

    def __init__(self, dataset: Dataset, device: str) -> None:
        self.engine = ClipEngine(dataset, clip_format(device), max_clips=BATCH, threads=cores())

    def batches(self, requests: list[ClipRequest]) -> Iterator[torch.Tensor]:
        for first in range(0, len(requests), BATCH):
            self.engine.submit(requests[first : first + BATCH])
            if self.engine.queued > self.engine.ahead:
                yield self.engine.collect()
        while self.engine.queued:
            yield self.engine.collect()


def clip_format(device: str) -> ClipFormat:
    return ClipFormat(T, CROP, FRAME_SIZE, "float32", (0, 0, 0), (1, 1, 1), "THWC", device)


def random_requests(dataset: Dataset, videos: list[int], count: int, seed: int) -> list[ClipRequest]:
    """Random clips of 16 consecutive frames: every video equally often, every start equally likely."""
    random = np.random.default_rng(seed)
    requests = []
    for video in random.choice(videos, count):
        start = random.integers(dataset.videos[video].frames - T + 1)
        crop = tuple(int(random.integers(size - CROP + 1)) for size in FRAME_SIZE)
        requests.append(ClipRequest(int(video), 0, 0, start + np.arange(T), 0, crop, 1))
    return requests


def usable_videos(dataset: Dataset, codecs: list[str], peers: list[str]) -> tuple[list[int], list[str], list[str]]:
    """Videos that every peer opens, in these codecs; the peers that work; a line for each video or peer left out."""
    videos = [v for v, video in enumerate(dataset.videos)
              if video.frames >= T and (not codecs or video.codec in codecs)]
    out, working = [], []
    for peer in peers:
        try:
            decode = PEERS[peer]()
        except (ImportError, OSError, RuntimeError) as error:
            out.append(f"{peer} ({_last_line(error)})")
            continue
        failed = {}
        for video in videos:
            try:
                decode(str(dataset.videos[video].path), np.arange(T))
            except Exception as error:
                failed[video] = f"{dataset.videos[video].name} ({peer}: {_last_line(error)})"
        if len(failed) > len(videos) / 2:
            out.append(f"{peer} (fails on {len(failed)} of {len(videos)} videos; {next(iter(failed.values()))})")
            continue
        working.append(peer)
        out += failed.values()
        videos = [video for video in videos if video not in failed]
    if not videos:
        raise EruvError(f"no video of {T} frames" + (f" in {', '.join(codecs)}" if codecs else "") + " to measure with")
    return videos, working, out


def read_through(datasets: list[Dataset], videos: list[int]) -> None:
    """Read videos and packs into the page cache."""
    paths = [datasets[0].videos[video].path for video in videos]
    for path in paths + [path for dataset in datasets for path in (dataset.folder / "pack").glob("*.bin")]:
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:120]


def processes() -> list[int]:
    """This process and its children."""
    found = [os.getpid()]
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            found += map(int, (task / "children").read_text().split())
    return found


def own_memory() -> int:
    """Bytes of our processes' own memory: anonymous and shared memory, not mapped files."""
    total = 0
    for process in processes():
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue  # it has just ended
        sizes = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
        total += 1024 * (sizes["Pss_Anon"] + sizes["Pss_Shmem"])
    return total


class PeakMemory:
    """Samples four times a second, within the context, how much the processes' memory has grown since its start."""

    def __enter__(self) -> "PeakMemory":
        gc.collect()
        self.bytes, self._before, self._done = 0, own_memory(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.25):
            self.bytes = max(self.bytes, own_memory() - self._before)

    def __exit__(self, *_: object) -> None:
        self.bytes = max(self.bytes, own_memory() - self._before)
        self._done.set()
        self._thread.join()


def cpu_seconds() -> float:
    """Spent so far by this process and its living children."""
    ticks = 0
    for process in processes():
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(batches: Iterator[torch.Tensor], count: int, device: str) -> tuple[float, float]:
    """Clips per second and CPU seconds per clip."""
    before, started, seen = cpu_seconds(), time.perf_counter(), 0
    for clips in batches:
        seen += len(clips)
        del clips
    if device == "gpu":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    if seen != count:
        raise RuntimeError(f"{seen} clips came, but {count} were requested")
    return count / seconds, (cpu_seconds() - before) / count


def race(datasets: list[Dataset], videos: list[int], peers: list[str], args: argparse.Namespace, device: str,
         console: Console) -> tuple[list[dict], list[str]]:
    """Let the contenders take turns; returns a row for each, and a line for each that failed."""
    makers: dict[str, tuple[Callable, int]] = {}
    for dataset in datasets:
        name = {"none": "ours, direct"}.get(dataset.pack, f"ours, {dataset.pack} pack")
        count = args.clips * (1 if dataset.pack == "none" else 16)
        makers[name] = (lambda dataset=dataset: Ours(dataset, device), count)
    for peer in peers:
        makers[peer] = (lambda peer=peer: Peer(peer, datasets[0]), args.clips)
    contenders, figures, peaks, failed = {}, {name: [] for name in makers}, {}, []
    for repeat in range(args.repeats + 1):
        for name, (make, count) in list(makers.items()):
            requests = random_requests(datasets[0], videos, count, seed=repeat)
            try:
                if repeat == 0:
                    with PeakMemory() as peak:
                        contenders[name] = make()
                        measure(contenders[name].batches(requests), count, device)
                    peaks[name] = peak.bytes
                else:
                    figures[name].append(measure(contenders[name].batches(requests), count, device))
            except Exception as error:
                if name not in PEERS:
                    raise
                failed.append(f"{name} ({_last_line(error)})")
                for table in (makers, figures, contenders, peaks):
                    table.pop(name, None)
                continue
            console.print(f"[dim]run {repeat} of {args.repeats}: {name}"
                          + (f" {figures[name][-1][0]:.0f} clips/s" if repeat else " (warming up)"), highlight=False)
    best = max((statistics.median(rate for rate, _ in runs) for name, runs in figures.items() if name in PEERS),
               default=None)
    rows = []
    for name, runs in figures.items():
        rates = sorted(rate for rate, _ in runs)
        median = statistics.median(rates)
        rows.append({"loader": name, "min": rates[0], "median": median, "max": rates[-1],
                     "ratio": median / best if best else None,
                     "cpu_seconds_per_clip": statistics.median(cpu for _, cpu in runs),
                     "peak_memory_bytes": peaks[name]})
    return rows, failed


def profile(datasets: list[Dataset], videos: list[int], count: int, device: str) -> list[dict]:
    """Milliseconds per clip in each stage, on one thread."""
    clip = clip_format(device)
    settings = dict(num_threads=1, device_id=torch.cuda.current_device() if device == "gpu" else None,
                    exec_dynamic=True, prefetch_queue_depth=1)
    requests = random_requests(datasets[0], videos, count, seed=0)
    crops = np.array([request.crop for request in requests], np.int32)
    reader, pictures = FrameReader(), []
    for request in requests:
        pictures.append(reader.read(datasets[0].videos[request.video].path, datasets[0].index(request.video),
                                    request.frames, *FRAME_SIZE))
    reader.close()
    whole = np.tile(np.arange(T, dtype=np.int32), (count, 1))
    raw = raw_pipeline(clip, batch_size=BATCH, **settings)
    transform, hand_over = run_pipeline(raw, pictures, crops, device, index=whole)
    rows = []
    for dataset in datasets:
        row = {"source": dataset.pack if dataset.pack != "none" else "direct", "read": 0.0, "demux": 0.0, "decode": 0.0,
               "transform": transform, "hand_over": hand_over}
        if dataset.pack == "none":
            row |= {stage: 1000 * seconds / count for stage, seconds in reader.seconds.items()}
        else:
            started, data = time.perf_counter(), []
            for request in requests:
                records = dataset.frames_of(request.video)[request.frames]
                for _, offset, size, _, _ in records.tolist():
                    data.append(dataset.packed.bytes_at(dataset.videos[request.video].pack_file, offset, size))
                    data[-1][::4096].sum()  # touch each page, so that it is read from the disk
            row["read"] = 1000 * (time.perf_counter() - started) / count
        if dataset.pack == "jpeg":
            jpeg = jpeg_pipeline(clip, batch_size=BATCH * T, **settings)
            both, _ = run_pipeline(jpeg, data, np.repeat(crops, T, axis=0), device)
            row["decode"] = max(0.0, both - transform)
        rows.append(row)
    return rows


def run_pipeline(pipeline, data: list, crops: np.ndarray, device: str, **more: np.ndarray) -> tuple[float, float]:
    """Milliseconds per clip inside DALI, and from its output to a PyTorch tensor."""
    step = BATCH if data[0].ndim == 4 else BATCH * T  # a sample is a clip's frames, or one JPEG
    inside, after, clips = 0.0, 0.0, 0
    for first in range(0, len(data) - step + 1, step):
        part = slice(first, first + step)
        started = time.perf_counter()
        pipeline.feed_input("data", data[part])
        pipeline.feed_input("crop_pos", crops[part])
        pipeline.feed_input("rotation", np.zeros(step, np.int32))
        for name, value in more.items():
            pipeline.feed_input(name, value[part])
        pipeline.schedule_run()
        (out,) = pipeline.outputs()
        if device == "gpu":
            torch.cuda.synchronize()
        done = time.perf_counter()
        tensor = torch.from_dlpack(out.as_tensor())
        after += time.perf_counter() - done
        if first:  # the first run allocates the buffers
            inside, clips = inside + done - started, clips + BATCH
        del tensor
    return 1000 * inside / clips, 1000 * after / (clips + BATCH)


def show_race(console: Console, title: str, rows: list[dict]) -> None:
    table = Table(title=title)
    for column in ("loader", "min", "median", "max", "x best peer", "CPU ms/clip", "peak memory"):
        table.add_column(column, justify="left" if column == "loader" else "right")
    for row in rows:
        ratio = "–" if row["ratio"] is None else f"{row['ratio']:.3g}"
        table.add_row(row["loader"], *(f"{row[name]:.0f}" for name in ("min", "median", "max")), ratio,
                      f"{1000 * row['cpu_seconds_per_clip']:.1f}", f"{row['peak_memory_bytes'] / 1e6:.0f} MB")
    console.print(table)


def show_profile(console: Console, rows: list[dict]) -> None:
    table = Table(title="Milliseconds per clip, one thread, a stage at a time")
    for column in ("source", "read", "demux", "decode", "transform", "hand-over", "sum"):
        table.add_column(column, justify="left" if column == "source" else "right")
    for row in rows:
        stages = [value for name, value in row.items() if name != "source"]
        table.add_row(row["source"], *(f"{value:.2f}" for value in [*stages, sum(stages)]))
    console.print(table)


def plot(rows: list[dict], title: str, path: str) -> None:
    """Bars of the medians on a logarithmic scale, with lines from minimum to maximum."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = sorted(rows, key=lambda row: row["median"])
    figure, axes = pyplot.subplots(figsize=(8, 0.5 * len(rows) + 1.4), layout="constrained")
    medians = np.array([row["median"] for row in rows])
    spread = np.array([[row["median"] - row["min"], row["max"] - row["median"]] for row in rows]).T
    colours = ["#76b900" if row["loader"].startswith("ours") else "#888888" for row in rows]
    axes.barh([row["loader"] for row in rows], medians, xerr=spread, color=colours, ecolor="#333333", capsize=3)
    axes.set_xscale("log")
    axes.set_xlim(right=spread[1].max() + medians.max() * 2.5)
    for place, row in enumerate(rows):
        ratio = "" if row["ratio"] is None else f"  ({row['ratio']:.3g}x)"
        axes.text(row["max"] * 1.1, place, f"{row['median']:.0f}{ratio}", va="center")
    axes.set_xlabel("clips per second: median, minimum to maximum (in brackets: times the best peer)")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--videos", metavar="DIR", help="folder of videos, prepared here with each kind of pack")
    source.add_argument("--data", metavar="DATASET", nargs="+", help="prepared DATASETs of the same videos")
    parser.add_argument("--device", default="auto", choices=DEVICES)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--codecs", nargs="*", default=[], metavar="CODEC", help="only videos in these, such as h264")
    parser.add_argument("--clips", type=int, default=128, help="per run of a contender that decodes video (packs: 16x)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="measure where our time goes, instead of the race")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="PNG", help="bar chart of the race (needs matplotlib)")
    args = parser.parse_args()
    for name in ("clips", "repeats"):
        if getattr(args, name) < 1:
            raise EruvError(f"--{name} {getattr(args, name)} must be at least 1")
    if args.profile and (args.plot or args.clips < 2 * BATCH):
        raise EruvError(f"--profile draws no chart and needs --clips {2 * BATCH} or more")
    device = resolve_device(args.device)
    console = Console()

    with tempfile.TemporaryDirectory() as scratch:
        if args.data:
            datasets = [Dataset(folder) for folder in args.data]
        else:
            datasets = [prepare([args.videos], Path(scratch) / pack, device=device, pack=pack, frame_size=FRAME_SIZE)
                        for pack in ("jpeg", "raw", "none")]
        for dataset in datasets:
            if (dataset.frame_height, dataset.frame_width) != FRAME_SIZE:
                raise EruvError(f"{dataset.folder}: frames of another size than {FRAME_SIZE[0]}x{FRAME_SIZE[1]}")
            if [video.path for video in dataset.videos] != [video.path for video in datasets[0].videos]:
                raise EruvError(f"{dataset.folder}: holds other videos than {datasets[0].folder}")
            dataset.check()
        videos, peers, left_out = usable_videos(datasets[0], args.codecs, [] if args.profile else args.peers)
        read_through(datasets, videos)
        what = f"{len(videos)} videos{' in ' * bool(args.codecs) + ', '.join(args.codecs)}, {cores()} cores"
        if args.profile:
            rows = profile(datasets, videos, args.clips, device)
            show_profile(console, rows)
        else:
            rows, failed = race(datasets, videos, peers, args, device, console)
            left_out += failed
            show_race(console, f"Clips per second, {what}, {device}, {args.repeats} runs", rows)
    for line in left_out:
        console.print(f"left out: {line}", highlight=False, markup=False)
    if args.json:
        setting = {"date": time.strftime("%Y-%m-%d"), "command": " ".join(["python", *sys.argv]), "device": device,
                   "cores": cores(), "python": platform.python_version(), "torch": torch.__version__,
                   "videos": len(videos), "clips": args.clips, "repeats": args.repeats, "left_out": left_out}
        result = {**setting, "profile" if args.profile else "rows": rows}
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
    if args.plot:
        plot(rows, f"16 frames to 112x112 float32; {what}, {device}, {time.strftime('%Y-%m-%d')}", args.plot)


if __name__ == "__main__":
    run_program(main)
