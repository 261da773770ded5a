"""Colour: a video is converted from YCbCr to RGB by its own tag, on both devices. Untagged means BT.601.

swscale, which PyAV converts with, does so from PyAV 17 on. DALI looks at the range alone and always takes BT.601's
matrix; both matrices are linear and grey stays grey, so that one 3x3 matrix makes the right RGB of DALI's. It does not
depend on the range. What DALI clipped is lost: 0 to 0.3 % of the values of nine real films tagged BT.709 come out more
than 2 grey levels off, 4 % of an overexposed one.
"""

import functools

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange

# The weights of red and blue in Y, by libav's (and ITU-T H.273's) numbers of the matrices; other numbers that mean
# BT.601 are "not told" (2) and BT.470 B/G (5).
WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
BT601 = (0.299, 0.114)
MEANS_BT601 = (0, 2, 5, 6)


def colour_of(source: VideoCodecContext | av.VideoFrame) -> tuple[int, bool]:
    """The tag of a stream, once its first frame is decoded, or of a frame: libav's number of the matrix, and whether
    the range is full.
    """
    return int(source.colorspace), int(source.color_range) == ColorRange.JPEG


@functools.cache
def from_bt601(matrix: int) -> np.ndarray | None:
    """(3, 3) float32, by which RGB that was converted with BT.601's matrix becomes RGB by the matrix of this number.

    None: the number of no such matrix (YCgCo, constant luminance); swscale refuses those.
    """
    if matrix in MEANS_BT601:
        return np.eye(3, dtype=np.float32)
    if matrix not in WEIGHTS:
        return None
    return (_to_rgb(*WEIGHTS[matrix]) @ np.linalg.inv(_to_rgb(*BT601))).astype(np.float32)


def _to_rgb(red: float, blue: float) -> np.ndarray:
    """(3, 3): RGB from Y, Cb, Cr (Cb and Cr within ±0.5) for these weights of red and blue (ITU-T H.273, 8.3)."""
    green = 1 - red - blue
    cr, cb = 2 * (1 - red), 2 * (1 - blue)
    return np.array([[1, 0, cr], [1, -cb * blue / green, -cr * red / green], [1, cb, 0]])
