"""The packets that some frames of an MP4 or MOV file need, from byte ranges: their places are in the index, so no
container is opened and no demuxer runs. `cut_bytes` makes a slice of them for DALI, as `remux.cut_slice` does.

What a decoder needs beside the packets is in the file's header, which is read once a file.
"""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from eruv_dali.video.index import FrameIndex
from eruv_dali.video.open import UnusableVideo, open_video
from eruv_dali.video.video_slice import VideoSlice, make_slice

REORDERED = 32  # frames further on whose packets may lie before that of a frame: codecs allow 16
GAP = 4096  # bytes between two packets (sound, usually) that are rather read than skipped


@dataclass(frozen=True)
class StreamHeader:
    """What a decoder must know before the first packet.

    Attributes:
        codec: libav's name of it; `private`: the stream's extradata; `width`, `height`: pixels.
        tag: the container's four characters for the codec.
        pixels: libav's name of the pixel format; `colours`: range, matrix, primaries and transfer, by libav's numbers.
        rotation: degrees by which the container says to turn the pictures.
    """

    codec: str
    private: bytes
    width: int
    height: int
    tag: str
    pixels: str
    colours: tuple[int, int, int, int]
    rotation: int


def stream_header(path: str | Path) -> StreamHeader:
    """The header of a file's video stream, from memory if the file is unchanged since it was last asked for.

    Raises:
        UnusableVideo: it cannot be opened, or its first frame cannot be decoded.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise UnusableVideo(f"cannot be opened as a video ({error.strerror})") from None
    return _header(str(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1 << 16)  # about 1 KB each
def _header(path: str, size: int, mtime_ns: int) -> StreamHeader:
    container, stream = open_video(path)
    with container:
        codec = stream.codec_context
        try:
            frame = next(container.decode(stream), None)
        except av.error.FFmpegError:
            frame = None
        if frame is None:
            raise UnusableVideo("its first frame cannot be decoded")
        colours = codec.color_range, codec.colorspace, codec.color_primaries, codec.color_trc
        return StreamHeader(codec.codec.canonical_name, bytes(codec.extradata or b""), codec.width, codec.height,
                            codec.codec_tag, frame.format.name, colours, round(frame.rotation))


def needed_packets(
    path: Path, index: FrameIndex, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[bytes]] | None:
    """The packets that frames `wanted` (ascending) need, from the key frame on.

    Returns the numbers of the packets' frames, ascending; their coding order, as positions among these; and the packets
    in coding order. None if the places of the packets are not known, or one can no longer be read there.
    """
    before = index.keys[: np.searchsorted(index.keys, wanted[0], "right")]
    if index.offset is None or index.size is None or not index.ordered or len(before) == 0:
        return None
    first, last = int(before[-1]), int(wanted[-1])
    # Packets lie in coding order. Those up to the last needed one's place include all that it refers to.
    end = index.offset[first : last + 1].max()
    ahead = last + 1 + np.flatnonzero(index.offset[last + 1 : last + 1 + REORDERED] <= end)
    frames = np.concatenate([np.arange(first, last + 1), ahead])
    if not index.size[frames].all() or index.offset[frames].min() < index.offset[first]:
        return None
    order = np.argsort(index.offset[frames])
    packets = _read(path, index.offset[frames][order], index.size[frames][order])
    return None if packets is None else (frames, order, packets)


def cut_bytes(path: Path, header: StreamHeader, index: FrameIndex, wanted: np.ndarray) -> VideoSlice | None:
    """A slice of the packets that frames `wanted` (ascending) need.

    None if the places of the packets are not known, or one can no longer be read there, or see `make_slice`.
    """
    found = needed_packets(path, index, wanted)
    if found is None:
        return None
    frames, order, packets = found
    return make_slice(header.codec, header.private, header.height, header.width, header.colours[1], packets,
                      index.key[frames][order].tolist(), order.tolist(), np.searchsorted(frames, wanted))


def _read(path: Path, offsets: np.ndarray, sizes: np.ndarray) -> list[bytes] | None:
    """The bytes at these places, ascending, in as few reads as there are gaps."""
    ends = offsets + sizes
    breaks = np.flatnonzero(offsets[1:] - ends[:-1] > GAP) + 1
    packets = []
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        for run in np.split(np.arange(len(offsets)), breaks):
            begin, size = int(offsets[run[0]]), int(ends[run[-1]] - offsets[run[0]])
            data = os.pread(file, size, begin)
            if len(data) < size:
                return None
            packets += [data[offset - begin : end - begin]
                        for offset, end in zip(offsets[run].tolist(), ends[run].tolist(), strict=True)]
    finally:
        os.close(file)
    return packets
