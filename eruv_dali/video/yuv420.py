"""YCbCr 4:2:0 pictures to RGB and back, BT.601, limited range: kernels/yuv420.cc, or swscale without a compiler."""

import ctypes
import functools

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from eruv_dali import native
from eruv_dali.video.frames import SCALING


def rgb_rectangle(frame: av.VideoFrame, top: int, left: int, out: np.ndarray) -> None:
    """Write the pixels from (top, left) on of a yuv420p picture into `out` (H, W, 3) uint8 RGB.

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
    library.yuv420_rectangle(y.buffer_ptr, u.buffer_ptr, v.buffer_ptr, y.line_size, u.line_size, frame.height,
                             frame.width, top, left, rows, columns, out.ctypes.data)


def yuv420_frame(picture: np.ndarray, height: int, width: int) -> av.VideoFrame:
    """A yuv420p frame of (height, width), both even, of an RGB picture of at most that size, (H, W, 3) uint8.

    The picture's last row and column are repeated to fill the frame.
    """
    rows, columns, _ = picture.shape
    assert rows <= height and columns <= width and height % 2 == width % 2 == 0
    picture, library = np.ascontiguousarray(picture), _library()
    if library is None:
        padded = np.pad(picture, ((0, height - rows), (0, width - columns), (0, 0)), mode="edge")
        return av.VideoFrame.from_ndarray(padded, "rgb24").reformat(
            format="yuv420p", interpolation=SCALING, dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG,
            threads=1)
    frame = av.VideoFrame(width, height, "yuv420p")
    y, u, v = frame.planes
    library.yuv420_from_rgb(picture.ctypes.data, rows, columns, y.buffer_ptr, u.buffer_ptr, v.buffer_ptr, y.line_size,
                            u.line_size, height, width)
    return frame


@functools.cache
def _library() -> ctypes.CDLL | None:
    try:
        library = native.load_cpp("yuv420")
    except native.NoCompiler as reason:
        native.say_once(f"{reason}; pictures of a video pack are converted by swscale, which is slower (install g++)")
        return None
    address = ctypes.c_void_p
    strides = [ctypes.c_int64] * 2
    library.yuv420_rectangle.argtypes = [address] * 3 + strides + [ctypes.c_int] * 6 + [address]
    library.yuv420_from_rgb.argtypes = [address] + [ctypes.c_int] * 2 + [address] * 3 + strides + [ctypes.c_int] * 2
    library.yuv420_rectangle.restype = library.yuv420_from_rgb.restype = None
    return library
