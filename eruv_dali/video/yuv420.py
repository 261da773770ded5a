"""A rectangle of a decoded YCbCr 4:2:0 picture as RGB: kernels/yuv420.cc, or swscale where there is no compiler."""

import ctypes
import functools

import av
import numpy as np
from av.video.reformatter import Colorspace

from eruv_dali import native
from eruv_dali.video.frames import SCALING


def rgb_rectangle(frame: av.VideoFrame, top: int, left: int, out: np.ndarray) -> None:
    """Write the pixels from (top, left) on of a limited-range BT.601 yuv420p picture into `out` (H, W, 3) uint8 RGB.

    The picture has an even width and height. `out` is contiguous and lies inside the picture.
    """
    rows, columns, _ = out.shape
    assert frame.format.name == "yuv420p" and out.flags.c_contiguous
    assert 0 <= top <= frame.height - rows and 0 <= left <= frame.width - columns
    library = _library()
    if library is None:
        whole = frame.reformat(format="rgb24", src_colorspace=Colorspace.ITU601, interpolation=SCALING, threads=1)
        out[:] = whole.to_ndarray()[top : top + rows, left : left + columns]
        return
    y, u, v = frame.planes
    library(y.buffer_ptr, u.buffer_ptr, v.buffer_ptr, y.line_size, u.line_size, frame.height, frame.width, top, left,
            rows, columns, out.ctypes.data)


@functools.cache
def _library():
    source = native.kernels_dir() / "yuv420.cc"
    try:
        command = [native.find_compiler("g++"), "-O3", "-march=native", "-std=c++20", "-shared", "-fPIC", str(source)]
        path = native.build_library("yuv420", [[*command, "-o", "{out}"]], [source])
    except native.NoCompiler as reason:
        native.say_once(f"{reason}; pictures of a video pack are converted by swscale, which is slower (install g++)")
        return None
    function = ctypes.CDLL(str(path)).yuv420_rectangle
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2 + [ctypes.c_int] * 6 + [ctypes.c_void_p]
    function.restype = None
    return function
