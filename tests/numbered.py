"""Videos whose frames carry their own number, so that a test can read from the pixels which frame it was given.

The number stands as 12 horizontal bands, black (0) or white (1), across the whole width of the middle three quarters
of the picture: whatever 112x112 crop of the 128x171 frame is taken, every band is in it.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 12


def numbered_picture(number: int, height: int, width: int, shade: int = 0) -> np.ndarray:
    """(height, width, 3) uint8: the bands of `number` between a margin whose texture depends on `shade`."""
    y, x = np.mgrid[0:height, 0:width]
    checks = ((x // (8 + 4 * shade) + y // (8 + 4 * shade)) % 2).astype(np.uint8)
    picture = np.stack([60 + 90 * checks, 60 + 40 * checks * (shade % 3), 200 - 30 * (shade % 5) + 0 * checks], 2)
    picture = picture.astype(np.uint8)
    for bit in range(BITS):
        top = height // 8 + bit * (height * 3 // 4) // BITS
        bottom = height // 8 + (bit + 1) * (height * 3 // 4) // BITS
        picture[top:bottom] = 235 if number >> bit & 1 else 20
    return picture


def read_number(picture: np.ndarray, top: int = 0, frame_height: int = 128) -> int:
    """The number in a picture that is a crop, `top` rows down, of a frame of `frame_height` rows; any value range."""
    height = picture.shape[0]
    grey = np.asarray(picture, np.float32).mean(2)
    number = 0
    for bit in range(BITS):
        middle = frame_height / 8 + (bit + 0.5) * (frame_height * 3 / 4) / BITS - top
        assert 0 <= middle < height, "the crop does not hold this band"
        band = grey[int(middle) - 1 : int(middle) + 2].mean()
        number |= int(band > 0.5 * (grey.max() + grey.min())) << bit
    return number


def write_video(
    path: Path, *, frames: int = 120, codec: str = "libx264", size: tuple[int, int] = (240, 320), rate: int = 25,
    options: dict[str, str] | None = None, gop: int = 30, b_frames: int = 0, shots: int = 1, first_number: int = 0,
    pts: list[int] | None = None, pix_fmt: str | None = None, start_pts: int = 0,
) -> Path:  # fmt: skip
    """Write a numbered video; `shots` equal parts differ in texture, so that there are cuts between them."""
    height, width = size
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = width, height
        stream.pix_fmt = pix_fmt or {"mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.time_base = Fraction(1, rate)
        if codec in ("libx264", "mpeg4", "libvpx-vp9", "libvpx", "mjpeg"):
            stream.bit_rate = 4_000_000
        stream.options = options or {}
        for n in range(frames):
            picture = numbered_picture(first_number + n, height, width, n * shots // frames)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = start_pts + (n if pts is None else pts[n])
            frame.time_base = Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


KINDS = {
    "h264_b.mp4": dict(codec="libx264", b_frames=3, gop=250),
    "h264_open_gop.mkv": dict(codec="libx264", b_frames=3, gop=20, options={"x264-params": "open-gop=1:keyint=20"}),
    "h264_edit_list.mp4": dict(codec="libx264", b_frames=2, gop=40, start_pts=7),
    "hevc.mp4": dict(codec="libx265", b_frames=3, gop=40, options={"x265-params": "log-level=none"}),
    "vp8.webm": dict(codec="libvpx", gop=40, options={"deadline": "realtime", "cpu-used": "8"}),
    "vp9.webm": dict(codec="libvpx-vp9", gop=40, options={"deadline": "realtime", "cpu-used": "8"}),
    "mpeg4.mp4": dict(codec="mpeg4", b_frames=2, gop=12),
    "mpeg4_b.avi": dict(codec="mpeg4", b_frames=2, gop=12),
    "mjpeg.avi": dict(codec="mjpeg"),
    "mpeg2.ts": dict(codec="mpeg2video", b_frames=2, gop=15),
    "vfr.mkv": dict(codec="libx264", b_frames=2, gop=50, pts=None),
}


def variable_pts(frames: int) -> list[int]:
    """Time stamps with uneven gaps, for a video of variable frame rate."""
    return list(np.cumsum([1 + (n * 7) % 5 for n in range(frames)]))
