"""What NVDEC itself decodes of the packets that our loaders hand to DALI: the limit for clips from video.

    python benchmarks/raw_nvdec.py --data DATASET [DATASET ...] --decoders 7 14 28 --json FILE
    python benchmarks/raw_nvdec.py --data DATASET --device cpu      no NVDEC: cuts the packets and says what is missing

Draws clips as RelationLoader does, cuts for each the slice that DALI would get, and gives the slice's packets to NVDEC
directly (raw_nvdec.cc): decoders that live on from clip to clip, one on each thread, each wanted picture mapped and
unmapped, nothing else. Slices are measured by kind, that is codec and size, because a decoder serves one kind. The
limit for the whole is the clips of all kinds divided by the time that they take one kind after the other.

A picture is one decoded picture, wanted or not. So ours in the same unit is clips/s x pictures a clip: the mean number
of packets from the key frame to the last that is needed.
"""

import argparse
import ctypes
import io
import itertools
import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from eruv_dali import RelationLoader, native
from eruv_dali.dataset import Dataset
from eruv_dali.device import resolve_device
from eruv_dali.errors import EruvError, run_program
from eruv_dali.files import write_text
from eruv_dali.loader.clip_reader import ClipReader
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.loader.read_originals import OriginalsReader
from eruv_dali.loader.read_video_pack import VideoPackReader
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.options import Parser, add_device

CODECS = {"mpeg4": 2, "h264": 4, "hevc": 8, "vp8": 9, "vp9": 10}  # NVDEC's numbers
FILTERS = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}  # NVDEC takes start codes
READERS = {"none": OriginalsReader, "video": VideoPackReader}


@dataclass(frozen=True)
class Stream:
    """One clip's packets: the codec, the size in pixels, the packets as NVDEC takes them, in coding order, and the
    positions of the wanted pictures in the order shown."""

    codec: str
    width: int
    height: int
    packets: list[bytes]
    wanted: np.ndarray


def packets_of(data: bytes, wanted: np.ndarray) -> Stream:
    """The packets in a slice."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context.codec.canonical_name
        packets = [packet for packet in container.demux(stream) if packet.size]
        if codec in FILTERS:
            changed = BitStreamFilterContext(FILTERS[codec], stream)
            packets = [made for packet in packets for made in changed.filter(packet)]
        found = [bytes(packet) for packet in packets]
        extra = bytes(stream.codec_context.extradata or b"")
        if codec == "mpeg4" and extra:
            found[0] = extra + found[0]  # the header that names the size
        return Stream(codec, stream.width, stream.height, found, wanted)


def clip_requests(dataset: Dataset, count: int) -> list[ClipRequest]:
    """The first clips of an epoch of RelationLoader."""
    with RelationLoader(dataset, device="cpu", pairs_per_epoch=count) as loader:
        samples = (loader.pretext.sample(0, number) for number in range(count))
        return list(itertools.islice((clip for sample in samples for clip in sample.clips), count))


def streams_of(dataset: Dataset, count: int, device: str) -> tuple[list[Stream], int]:
    """The packets of `count` clips, and how many clips DALI gets no slice of."""
    clip = ClipFormat(16, 112, (dataset.frame_height, dataset.frame_width), "bfloat16", (0.0,) * 3, (1.0,) * 3, "THWC",
                      "gpu", 0)
    reader: ClipReader = READERS[dataset.pack](dataset, clip)
    streams: list[Stream] = []
    without = 0
    try:
        for request in clip_requests(dataset, count):
            # Without a GPU no reader slices; the packets are the same.
            cut = reader.slice(request) if device == "cpu" or reader.slices(request.video) else None
            if cut is None or (stream := packets_of(cut.data.tobytes(), cut.positions)).codec not in CODECS:
                without += 1
            else:
                streams.append(stream)
    finally:
        reader.close()
    return streams, without


def library() -> ctypes.CDLL:
    """raw_nvdec.cc, compiled."""
    source = Path(__file__).with_suffix(".cc")
    command = [native.find_compiler("g++"), "-O2", "-std=c++17", "-shared", "-fPIC", str(source), "-o", "{out}", "-ldl",
               "-pthread"]
    return ctypes.CDLL(str(native.build_library("raw_nvdec", [command], [source])))


def missing(loaded: ctypes.CDLL) -> str:
    """Which of the driver's libraries cannot be used, and why; empty if all can."""
    text = ctypes.create_string_buffer(500)
    return text.value.decode() if loaded.nvdec_missing(text, len(text)) else ""


def rate(loaded: ctypes.CDLL, streams: list[Stream], decoders: int, seconds: float) -> dict:
    """Decode streams of one kind for some seconds.

    Raises:
        EruvError: NVDEC refused them.
    """
    packets = [packet for stream in streams for packet in stream.packets]
    ends = np.concatenate([[0], np.cumsum([len(packet) for packet in packets])]).astype(np.int64)
    first = np.concatenate([[0], np.cumsum([len(stream.packets) for stream in streams])]).astype(np.int64)
    wanted = np.zeros(len(packets), np.uint8)
    for begin, stream in zip(first, streams, strict=False):
        wanted[begin + stream.wanted] = 1
    out, text = np.zeros(6), ctypes.create_string_buffer(500)
    failed = loaded.nvdec_rate(
        0, decoders, ctypes.c_double(seconds), CODECS[streams[0].codec], len(streams), b"".join(packets),
        *(ctypes.c_void_p(array.ctypes.data) for array in (ends, first, wanted, out)), text, len(text))
    if failed:
        raise EruvError(f"{streams[0].codec} {streams[0].width}x{streams[0].height}: {text.value.decode()}")
    took, clips, pictures, mapped, odd, created = out.tolist()
    return {"clips_per_second": clips / took, "pictures_per_second": pictures / took, "mapped": int(mapped),
            "clips_with_other_counts": int(odd), "decoders_created": int(created)}


def measure(dataset: Dataset, args: argparse.Namespace, loaded: ctypes.CDLL | None, device: str) -> dict:
    """Rates of each kind of slice, and of all."""
    streams, without = streams_of(dataset, args.clips, device)
    kinds: dict[tuple, list[Stream]] = defaultdict(list)
    for stream in streams:
        kinds[stream.codec, stream.width, stream.height].append(stream)
    row = {"pack": dataset.pack, "clips": len(streams), "clips_without_slice": without,
           "pictures_a_clip": float(np.mean([len(stream.packets) for stream in streams])) if streams else None,
           "kinds": [{"kind": f"{codec} {width}x{height}", "clips": len(members),
                      "pictures_a_clip": float(np.mean([len(stream.packets) for stream in members]))}
                     for (codec, width, height), members in kinds.items()]}
    if not loaded:
        return row
    for decoders in args.decoders:
        spent = decoded = 0.0
        for kind, members in zip(row["kinds"], kinds.values(), strict=True):
            try:
                found = kind[f"at {decoders}"] = rate(loaded, members, decoders, args.seconds / len(kinds))
            except EruvError as error:
                kind["refused"] = str(error)
                continue
            if found["clips_per_second"]:
                spent += len(members) / found["clips_per_second"]
                decoded += len(members)
        if spent:
            row[f"at {decoders}"] = decoded / spent
    best = [row[f"at {decoders}"] for decoders in args.decoders if f"at {decoders}" in row]
    row["clips_per_second"] = max(best) if best else None
    return row


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--data", required=True, nargs="+", metavar="DATASET", help="of pack none or video")
    add_device(parser)
    parser.add_argument("--clips", type=int, default=256, help="drawn from each DATASET")
    parser.add_argument("--decoders", type=int, nargs="+", default=[7, 14, 28], help="how many at a time, in turn")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each number of decoders (default %(default)g)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file, after each DATASET")
    args = parser.parse_args()
    device = resolve_device(args.device)
    datasets = [Dataset(folder) for folder in args.data]
    for dataset in datasets:
        if dataset.pack not in READERS:
            raise EruvError(f"{dataset.folder}: pack {dataset.pack} has no slices; name one of pack none or video")
    loaded = library()
    absent = missing(loaded)
    if absent:
        print(f"NVDEC is not measured: {absent}")
    result: dict = {"date": time.strftime("%Y-%m-%d"), "command": " ".join(["python", *sys.argv]), "device": device,
                    "missing": absent, "rows": []}
    for dataset in datasets:
        row = measure(dataset, args, None if absent else loaded, device)
        result["rows"].append(row)
        print(f"pack {row['pack']}: {row['clips']} clips, {row['clips_without_slice']} without a slice")
        for kind in row["kinds"]:
            print(f"  {json.dumps(kind)}")
        if args.json:
            write_text(Path(args.json), json.dumps(result, indent=1) + "\n")
    if absent and device == "gpu":
        raise EruvError(f"NVDEC cannot be used: {absent}")


if __name__ == "__main__":
    run_program(main)
