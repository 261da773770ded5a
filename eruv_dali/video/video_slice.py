"""A slice: a small Matroska file in memory, for DALI's decoder, of the packets that some frames need.

DALI's decoder seeks linearly, so it must never get a whole long file; and on a GPU it decodes H.264 and HEVC faster
where the coded size is the shown size (see `uncropped`). So a slice shows all that is coded, and says which rectangle
of it the video shows, and what has to be done about its colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eruv_dali.video.colour import from_bt601
from eruv_dali.video.matroska import CODECS, LARGEST_TIME, matroska
from eruv_dali.video.uncropped import uncropped_stream

# libav begins a cropped picture where its memory is aligned: it shows up to 63 columns more on the left than it should.
ALIGNED = 64


@dataclass(frozen=True, eq=False)
class VideoSlice:
    """A slice, and how DALI's pictures of it become those of the video.

    Attributes:
        data: the Matroska file.
        positions: (F,) int32, the wanted frames' places in it, in the order shown.
        shown: (4,) int32, the rectangle of the decoded pictures that the video shows: top, left, bottom, right.
        correction: (3, 3) float32, shown RGB = correction · RGB by BT.601 (see `colour`).
    """

    data: bytes
    positions: np.ndarray
    shown: np.ndarray
    correction: np.ndarray


def make_slice(
    codec: str, private: bytes, height: int, width: int, matrix: int, packets: list[bytes], keys: Sequence[bool],
    times: Sequence[int], positions: np.ndarray,
) -> VideoSlice | None:
    """Put packets into a slice.

    Args:
        codec: libav's name of it; `private`: the stream's extradata; `height`, `width`: shown size, pixels.
        matrix: libav's number of the YCbCr matrix that the video is tagged with.
        packets: in coding order; `keys`: whether each is a key frame; `times`: the place of each in the order shown.
        positions: (F,), the places of the wanted frames.

    Returns None if DALI would not show these pictures as they are: too many for a slice, an unknown codec or matrix, or
    parameter sets that do not tell the shown size.
    """
    correction = from_bt601(matrix)
    if codec not in CODECS or correction is None or max(times) > LARGEST_TIME:
        return None
    shown = (0, 0, height, width)
    if codec in ("h264", "hevc"):
        uncropped = uncropped_stream(codec, private, packets)
        if uncropped is None:
            return None
        private, packets, coded = uncropped
        shown = (coded.top, coded.left, coded.bottom, coded.right)
        if (coded.bottom - coded.top, coded.right - coded.left) != (height, width) or coded.left % ALIGNED:
            return None
        height, width = coded.height, coded.width
    data = matroska(codec, private, width, height, packets, keys, times)
    return VideoSlice(data, positions.astype(np.int32), np.array(shown, np.int32), correction)
