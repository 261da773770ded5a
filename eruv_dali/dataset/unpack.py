"""Pictures of a pack of any kind, one after another: to be looked at, or to make a pack of another kind."""

import io
import zlib
from collections.abc import Iterator

import av
import numpy as np
from PIL import Image

from eruv_dali.dataset.pack_reader import PackReader
from eruv_dali.errors import EruvError
from eruv_dali.video.closed_groups import GROUP, GroupDecoder
from eruv_dali.video.yuv420 import rgb_rectangle


def unpack(
    packed: PackReader, kind: str, size: tuple[int, int], file: str, frames: np.ndarray, first: int = 0,
    end: int | None = None,
) -> Iterator[np.ndarray]:
    """Frames `first` to `end` of one video, each (height, width, 3) uint8 RGB.

    Args:
        kind: "video", "jpeg" or "raw"; `size`: (height, width) of its pictures; `file`: its pack file.
        frames: (N,) FRAME records of the whole video.

    Raises:
        EruvError: a frame's bytes are missing, not as written, or cannot be decoded.
    """
    end = len(frames) if end is None else end
    begin = first - first % GROUP if kind == "video" else first
    data = _read(packed, file, frames, begin, end)
    if kind == "video":
        pictures = GroupDecoder().decode_packets(data)
        for number in range(begin, end):
            try:
                frame = next(pictures, None)
            except av.error.FFmpegError:
                frame = None
            if frame is None:
                raise EruvError(f"{packed.folder / file}: frame {number} cannot be decoded; run prepare on this "
                                "DATASET again")
            if number >= first:
                picture = np.empty((*size, 3), np.uint8)
                rgb_rectangle(frame, 0, 0, picture)
                yield picture
    elif kind == "jpeg":
        for each in data:
            yield np.array(Image.open(io.BytesIO(each)).convert("RGB"))
    else:
        for each in data:
            yield np.frombuffer(each, np.uint8).reshape(*size, 3)


def _read(packed: PackReader, file: str, frames: np.ndarray, begin: int, end: int) -> Iterator[bytes]:
    for number, (_, offset, size, crc, _) in enumerate(frames[begin:end].tolist(), begin):
        data = packed.read(file, offset, size)
        if zlib.crc32(data) != crc:
            raise EruvError(f"{packed.folder / file}: wrong checksum at frame {number}; run prepare on this DATASET "
                            "again")
        yield data
