"""Indexing videos without decoding or even reading them: is the index right, and how much faster is it?

    python benchmarks/index.py --videos DIR [DIR ...] [--rounds 5] [--json FILE]
    ffmpeg -stream_loop 40 -i VIDEO -c copy DIR/long.mp4        makes a long video

Every video is indexed three ways: by `index_video` as it is (MP4 and MOV files from their headers), by `index_video`
from all packets, and by decoding. An index is right if it has the time stamps and key frames that decoding finds, and
if the bytes it names in the file are the packets' own. Times are processor seconds over all videos of a folder whose
headers could be used, the ways in turn, median of the rounds; and the bytes that were read from the files. `cold` is
clock seconds of one round, the files dropped from the system's cache before. The decoding is timed once.
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np

from eruv_dali.errors import EruvError, run_program
from eruv_dali.options import Parser
from eruv_dali.video import index as indexing
from eruv_dali.video.find import find_videos
from eruv_dali.video.index import FrameIndex, index_by_decoding, index_video
from eruv_dali.video.mp4 import packets_from_header
from eruv_dali.video.open import UnusableVideo, open_video


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--videos", type=Path, required=True, nargs="+", metavar="DIR", help="folders of videos")
    parser.add_argument("--rounds", type=int, default=5, help="the median is reported")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    args = parser.parse_args()
    figures = {folder.name: measure_folder(folder, args.rounds) for folder in args.videos}
    print(json.dumps(figures, indent=1))
    if args.json:
        args.json.write_text(json.dumps({"date": time.strftime("%Y-%m-%d"), "folders": figures}, indent=1) + "\n")


def measure_folder(folder: Path, rounds: int) -> dict:
    """All figures of one folder's videos."""
    paths = [video.path for video in find_videos([folder])]
    usable, by_header, wrong, places_wrong, decoding = [], [], [], [], 0.0
    for path in paths:
        try:
            index, _ = index_video(path)
        except UnusableVideo:
            continue
        usable.append(path)
        began = time.process_time()
        decoded = index_by_decoding(path)
        if uses_header(path):
            by_header.append(path)
            decoding += time.process_time() - began
        if not (np.array_equal(index.pts, decoded.pts) and np.array_equal(index.key, decoded.key)):
            wrong.append(str(path))
        if not places_right(path, index):
            places_wrong.append(str(path))
    if not by_header:
        raise EruvError(f"{folder}: none of its {len(usable)} usable videos has an index in its header")
    ways = {"header": index_video, "packets": from_packets}
    return {
        "files": len(paths), "usable": len(usable), "by_header": len(by_header), "wrong": wrong,
        "places_wrong": places_wrong, "megabytes": sum(path.stat().st_size for path in by_header) / 1e6,
        "processor_seconds": measure(by_header, ways, rounds) | {"decoding": decoding},
        "cold_seconds": {name: cold(by_header, way) for name, way in ways.items()},
        "megabytes_read": {name: read_bytes(by_header, way) / 1e6 for name, way in ways.items()},
    }


def uses_header(path: Path) -> bool:
    container, stream = open_video(path)
    with container:
        return packets_from_header(path, container, stream) is not None


def from_packets(path: Path) -> object:
    """`index_video` if headers told nothing."""
    with mock.patch.object(indexing, "packets_from_header", lambda *arguments: None):
        return index_video(path)


def places_right(path: Path, index: FrameIndex) -> bool:
    """Whether the bytes that the index names are those of the packets with the frames' time stamps."""
    if index.offset is None or index.size is None:
        return True
    container, stream = open_video(path)
    with container:
        packets = {packet.pts: bytes(packet) for packet in container.demux(stream) if packet.size}
    content = path.read_bytes()
    places = zip(index.pts.tolist(), index.offset.tolist(), index.size.tolist(), strict=True)
    return all(content[offset : offset + size] == packets[pts] for pts, offset, size in places if size)


def measure(paths: list[Path], ways: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Median processor seconds of each way over all paths, the ways in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.process_time()
            for path in paths:
                way(path)
            seconds[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def cold(paths: list[Path], way: Callable) -> float:
    for path in paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter()
    for path in paths:
        way(path)
    return time.perf_counter() - began


def read_bytes(paths: list[Path], way: Callable) -> int:
    """Bytes that this process asks the system for."""
    def asked() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])  # rchar

    before = asked()
    for path in paths:
        way(path)
    return asked() - before


if __name__ == "__main__":
    run_program(main)
