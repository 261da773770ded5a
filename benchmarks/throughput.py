"""Clips per second from video files to a training batch: this loader against the ones people would use instead.

    python benchmarks/throughput.py --videos my_videos/ --json result.json

All contenders deliver the same random clips, 16 frames each, scaled to 128x171, cropped to 112x112, float32, in batches
of 16. Ours read a DATASET of each pack kind, which is prepared first and not counted; the peers decode the original
files in a PyTorch DataLoader with one worker a core, each worker keeping its files open. Contenders take turns, so that
a noisy machine disturbs them alike. Peers that are not installed, or fail on these videos, are left out, and the table
says so.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from eruv_dali.dataset import Dataset
from eruv_dali.device import DEVICES, resolve_device
from eruv_dali.errors import EruvError, run_program
from eruv_dali.loader.engine import ClipEngine, default_threads
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.prepare import prepare
from eruv_dali.relations import ClipRequest

T, CROP, FRAME_SIZE, BATCH = 16, 112, (128, 171), 16

Decode = Callable[[str, np.ndarray], np.ndarray]  # path, frame numbers -> (T, 128, 171, 3) uint8


def pyav_decoder() -> Decode:
    import av
    from av.video.reformatter import VideoReformatter

    scaler = VideoReformatter()

    @lru_cache(8)
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
        # Where the frame rate varies, frame numbers guessed from times may run past the end.
        return np.stack(pictures + pictures[-1:] * (len(frames) - len(pictures)))

    return decode


def opencv_decoder() -> Decode:
    import cv2

    cv2.setNumThreads(1)
    opened = lru_cache(8)(cv2.VideoCapture)

    def decode(path: str, frames: np.ndarray) -> np.ndarray:
        capture = opened(path)
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(frames[0]))
        pictures = [cv2.resize(capture.read()[1], FRAME_SIZE[::-1], interpolation=cv2.INTER_AREA) for _ in frames]
        return np.stack(pictures)[..., ::-1]

    return decode


def decord_decoder() -> Decode:
    import decord

    @lru_cache(8)
    def opened(path: str):
        return decord.VideoReader(path, width=FRAME_SIZE[1], height=FRAME_SIZE[0], num_threads=1)

    return lambda path, frames: opened(path).get_batch(frames.tolist()).asnumpy()


def torchcodec_decoder() -> Decode:
    from torchcodec.decoders import VideoDecoder

    @lru_cache(8)
    def opened(path: str):
        return VideoDecoder(path, num_ffmpeg_threads=1, seek_mode="approximate")

    def decode(path: str, frames: np.ndarray) -> np.ndarray:
        full = opened(path).get_frames_in_range(int(frames[0]), int(frames[-1]) + 1).data
        small = torch.nn.functional.interpolate(full.float(), FRAME_SIZE, mode="bilinear", antialias=True)
        return small.round().byte().permute(0, 2, 3, 1).numpy()

    return decode


PEERS = {"pyav": pyav_decoder, "opencv": opencv_decoder, "decord": decord_decoder, "torchcodec": torchcodec_decoder}


class PeerClips(torch.utils.data.Dataset):
    """What a DataLoader's workers read: one normalised clip a request."""

    def __init__(self, peer: str, paths: list[str], requests: list[ClipRequest]) -> None:
        self.peer, self.paths, self.requests, self.decode = peer, paths, requests, None

    def __len__(self) -> int:
        return len(self.requests)

    def __getitem__(self, number: int) -> torch.Tensor:
        self.decode = self.decode or PEERS[self.peer]()
        request = self.requests[number]
        top, left = request.crop
        pictures = self.decode(self.paths[number], request.frames)[:, top : top + CROP, left : left + CROP]
        return torch.from_numpy(np.ascontiguousarray(pictures)).permute(3, 0, 1, 2).float().div_(255)


def peer_batches(peer: str, dataset: Dataset, requests: list[ClipRequest]) -> Iterator[torch.Tensor]:
    paths = [str(dataset.videos[request.video].path) for request in requests]
    return iter(torch.utils.data.DataLoader(PeerClips(peer, paths, requests), BATCH, num_workers=default_threads()))


def our_batches(engine: ClipEngine, requests: list[ClipRequest]) -> Iterator[torch.Tensor]:
    ahead = 0
    for first in range(0, len(requests), BATCH):
        engine.submit(requests[first : first + BATCH])
        ahead += 1
        if ahead > 2 * engine.depth:
            yield engine.collect()
            ahead -= 1
    for _ in range(ahead):
        yield engine.collect()


def random_requests(dataset: Dataset, count: int, seed: int) -> list[ClipRequest]:
    random = np.random.default_rng(seed)
    long_enough = [v for v, video in enumerate(dataset.videos) if video.frames >= T]
    requests = []
    for video in random.choice(long_enough, count):
        start = random.integers(dataset.videos[video].frames - T + 1)
        crop = tuple(int(random.integers(size - CROP + 1)) for size in FRAME_SIZE)
        requests.append(ClipRequest(int(video), 0, 0, start + np.arange(T), 0, crop, 1))
    return requests


def cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def measure(batches: Iterator[torch.Tensor], count: int, device: str) -> tuple[float, float]:
    """Clips per second and CPU seconds a clip."""
    before, started, seen = cpu_seconds(), time.perf_counter(), 0
    for clips in batches:
        seen += len(clips)
        del clips
    if device == "gpu":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    if seen != count:
        raise RuntimeError(f"{seen} clips came, {count} were asked for")
    return count / seconds, (cpu_seconds() - before) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--videos", metavar="DIR", help="prepared here, with each kind of pack")
    source.add_argument("--data", metavar="DATASET", help="one prepared DATASET, with the pack it has")
    parser.add_argument("--device", default="auto", choices=DEVICES)
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--clips", type=int, default=64, help="a run of a contender that decodes video (packs: 16x)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    device = resolve_device(args.device)
    console = Console()

    with tempfile.TemporaryDirectory() as scratch:
        if args.data:
            datasets = [Dataset(args.data)]
        else:
            datasets = [prepare([args.videos], Path(scratch) / pack, device=device, pack=pack, frame_size=FRAME_SIZE)
                        for pack in ("jpeg", "raw", "none")]
        if (datasets[0].frame_height, datasets[0].frame_width) != FRAME_SIZE:
            raise EruvError(f"{args.data}: frames of another size than {FRAME_SIZE[0]}x{FRAME_SIZE[1]}; prepare it so")
        clip = ClipFormat(T, CROP, FRAME_SIZE, "float32", (0, 0, 0), (1, 1, 1), "THWC", device)
        contenders = {}
        for dataset in datasets:
            name = {"none": "ours, direct"}.get(dataset.pack, f"ours, {dataset.pack} pack")
            engine = ClipEngine(dataset, clip, max_clips=BATCH, threads=default_threads())
            count = args.clips * (1 if dataset.pack == "none" else 16)
            contenders[name] = (lambda requests, engine=engine: our_batches(engine, requests), count)
        missing = []
        for peer in args.peers:
            try:
                PEERS[peer]()
            except ImportError as error:
                missing.append(f"{peer} ({error})")
                continue
            contenders[peer] = (lambda requests, peer=peer: peer_batches(peer, datasets[0], requests), args.clips)

        figures: dict[str, list] = {name: [] for name in contenders}
        for repeat in range(args.repeats + 1):  # the first warms up and is not counted
            for name, (batches, count) in list(contenders.items()):
                try:
                    figure = measure(batches(random_requests(datasets[0], count, seed=repeat)), count, device)
                except Exception as error:
                    if name not in PEERS:
                        raise
                    missing.append(f"{name} (failed: {str(error).strip().splitlines()[-1]})")
                    del contenders[name], figures[name]
                    continue
                if repeat:
                    figures[name].append(figure)
    report(console, args, device, figures, missing)


def report(console: Console, args: argparse.Namespace, device: str, figures: dict[str, list], missing: list) -> None:
    best_peer = max((statistics.median(rate for rate, _ in runs) for name, runs in figures.items() if name in PEERS),
                    default=None)
    table = Table(title=f"Clips per second ({device}, {default_threads()} cores, {args.repeats} repeats)")
    for column in ("loader", "min", "median", "max", "x best peer", "CPU ms/clip"):
        table.add_column(column, justify="left" if column == "loader" else "right")
    rows = []
    for name, runs in figures.items():
        rates = sorted(rate for rate, _ in runs)
        median = statistics.median(rates)
        row = {"loader": name, "min": rates[0], "median": median, "max": rates[-1],
               "ratio": median / best_peer if best_peer else None,
               "cpu_seconds_per_clip": statistics.median(cpu for _, cpu in runs)}
        rows.append(row)
        ratio = f"{row['ratio']:.1f}" if best_peer else "–"
        table.add_row(name, f"{rates[0]:.0f}", f"{median:.0f}", f"{rates[-1]:.0f}", ratio,
                      f"{1000 * row['cpu_seconds_per_clip']:.1f}")
    console.print(table)
    for line in missing:
        console.print(f"left out: {line}", highlight=False, markup=False)
    if args.json:
        setting = {"date": time.strftime("%Y-%m-%d"), "device": device, "cores": default_threads(),
                   "python": platform.python_version(), "torch": torch.__version__, "clips": args.clips,
                   "repeats": args.repeats, "source": args.videos or args.data, "left_out": missing}
        Path(args.json).write_text(json.dumps({**setting, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    run_program(main)
