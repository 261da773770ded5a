"""The packets that some frames of an MP4 or MOV file need, from byte ranges: their places are in the index, so no
container is opened and no demuxer runs. `cut_bytes` makes a slice of them for DALI, as `remux.cut_slice` does.

What a decoder needs beside the packets is in the file's header, which is read once a file.
"""

import functools
from dataclasses import dataclass

import av
import numpy as np

from eruv_dali.video.index import FrameIndex
from eruv_dali.video.open import UnusableVideo, frames_of, open_video, unusable
from eruv_dali.video.place import Location, locate, read_ranges
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


def stream_header(path: str | Location) -> StreamHeader:
    """The header of a file's video stream, from memory if the file is unchanged since it was last asked for.

    Raises:
        UnusableVideo: it cannot be opened, or its first frame cannot be decoded.
    """
    try:
        status = locate(path).stat()
    except OSError as error:
        raise unusable(error) from None
    return _header(str(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1 << 16)  # about 1 KB each
def _header(path: str, size: int, mtime_ns: int) -> StreamHeader:
    container, stream = open_video(path)
    with container:
        codec = stream.codec_context
        try:
            frame = next(frames_of(container, stream), None)
        except av.error.FFmpegError:
            frame = None
        if frame is None:
            raise UnusableVideo("its first frame cannot be decoded")
        colours = codec.color_range, codec.colorspace, codec.color_primaries, codec.color_trc
        return StreamHeader(codec.codec.canonical_name, bytes(codec.extradata or b""), codec.width, codec.height,
                            _tag(codec), frame.format.name, colours, round(frame.rotation))


def _tag(codec: av.CodecContext) -> str:
    """The container's tag; none where damage has left what is no ASCII, of which PyAV makes no text."""
    try:
        return codec.codec_tag
    except UnicodeDecodeError:
        return "\0" * 4


def needed_packets(
    path: Location, index: FrameIndex, wanted: np.ndarray
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


def cut_bytes(path: Location, header: StreamHeader, index: FrameIndex, wanted: np.ndarray) -> VideoSlice | None:
    """A slice of the packets that frames `wanted` (ascending) need.

    None if the places of the packets are not known, or one can no longer be read there, or see `make_slice`.
    """
    found = needed_packets(path, index, wanted)
    if found is None:
        return None
    frames, order, packets = found
    return make_slice(header.codec, header.private, header.height, header.width, header.colours[1], packets,
                      index.key[frames][order].tolist(), order.tolist(), np.searchsorted(frames, wanted))


def _read(path: Location, offsets: np.ndarray, sizes: np.ndarray) -> list[bytes] | None:
    """The bytes at these places, ascending, in as few reads as there are gaps."""
    ends = offsets + sizes
    breaks = np.flatnonzero(offsets[1:] - ends[:-1] > GAP) + 1
    runs = np.split(np.arange(len(offsets)), breaks)
    ranges = [(int(offsets[run[0]]), int(ends[run[-1]] - offsets[run[0]])) for run in runs]
    packets: list[bytes] = []
    try:
        read = read_ranges(path, ranges)
    except OSError:
        return None
    for run, (begin, size), data in zip(runs, ranges, read, strict=True):
        if len(data) < size:
            return None
        packets += [data[offset - begin : end - begin]
                    for offset, end in zip(offsets[run].tolist(), ends[run].tolist(), strict=True)]
    return packets
