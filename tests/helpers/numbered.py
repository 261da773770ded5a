"""Videos whose frames carry their own number, so that a test can read from the pixels which frame it was given.

The number stands as 12 horizontal bands, black (0) or white (1), in the middle of the picture, where every 112x112
crop of the 128x171 frame shows it. The rest is a texture, another one for each shot.
"""

import functools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

BITS = 12
PACKS = ("video", "jpeg", "raw", "none")
CENTRE = (8, 29)  # top, left of the middle 112x112 crop of a 128x171 frame


def numbered_picture(number: int, height: int, width: int, shot: int = 0) -> np.ndarray:
    """(height, width, 3) uint8: the bands of `number` before a texture that depends on `shot`."""
    picture = _texture(height, width, shot).copy()
    for bit in range(BITS):
        top = height // 8 + bit * (height * 3 // 4) // BITS
        bottom = height // 8 + (bit + 1) * (height * 3 // 4) // BITS
        picture[top:bottom, width * 3 // 8 : width * 5 // 8] = 235 if number >> bit & 1 else 20
    return picture


@functools.cache
def _texture(height: int, width: int, shot: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width] / height
    random = np.random.default_rng(shot)
    waves = sum(np.sin(random.uniform(4, 40) * x + random.uniform(4, 40) * y + random.uniform(0, 6)) for _ in range(4))
    return np.clip(128 + waves[..., None] * random.uniform(20, 60, 3), 0, 255).astype(np.uint8)


def read_number(picture: np.ndarray, crop: tuple[int, int] = (0, 0), frame: tuple[int, int] = (128, 171)) -> int:
    """The number in an upright picture whose top left corner is at `crop` of a frame of size `frame`."""
    return read_numbers(np.asarray(picture)[None], crop, frame)[0]


def read_numbers(pictures_THWC: np.ndarray, crop: tuple[int, int], frame: tuple[int, int] = (128, 171)) -> list[int]:
    """The same of each of some pictures; only the middle of the bands is looked at."""
    H, W = pictures_THWC.shape[1:3]
    column = frame[1] // 2 - crop[1]
    rows = np.array([int(frame[0] / 8 + (bit + 0.5) * (frame[0] * 3 / 4) / BITS) - crop[0] for bit in range(BITS)])
    assert rows.min() >= 2 and rows.max() < H - 2 and 4 <= column < W - 4, "the crop does not hold this band"
    middle = np.asarray(pictures_THWC[:, :, column - 4 : column + 5], np.float32).mean((2, 3))
    bits = sum(middle[:, rows + offset] for offset in (-1, 0, 1)) > 3 * 128
    return (bits @ (1 << np.arange(BITS))).tolist()


def upright(clip_CTHW: Any, rotation: int = 0) -> np.ndarray:
    """A clip of values from 0 to 1 as (T, H, W, 3) grey levels, its rotation undone."""
    return np.rot90(clip_CTHW.float().permute(1, 2, 3, 0).numpy() * 255, -(rotation // 90), axes=(1, 2))


def numbers(clip_CTHW: Any, crop: tuple[int, int] = CENTRE, rotation: int = 0) -> list[int]:
    """The number that each frame of a clip carries."""
    return read_numbers(upright(clip_CTHW, rotation), crop)


def infos(loader: Any) -> list:
    """The infos of an epoch."""
    return [info for batch in loader for info in batch.info]


def verified(batch: Any) -> list:
    """The batch's infos, after reading from the pixels that each clip is the one that its info names."""
    for clips, info in zip(batch.clips, batch.info, strict=True):
        pair = hasattr(info, "clips")
        for clip, told in zip(clips, info.clips, strict=True) if pair else [(clips, info)]:
            assert numbers(clip, told.crop, getattr(told, "rotation", 0)) == list(told.frames), told
    return batch.info


def verified_infos(loader: Any) -> list:
    """The infos of an epoch, each read back from the pixels."""
    return [info for batch in loader for info in verified(batch)]


def write_video(
    path: Path, *, frames: int = 120, codec: str = "libx264", size: tuple[int, int] = (240, 320), rate: int = 25,
    options: dict[str, str] | None = None, gop: int = 30, b_frames: int = 0, shots: int = 1,
    pts: list[int] | None = None, pix_fmt: str | None = None, start_pts: int = 0, first: int = 0,
    picture: Callable[[int, int, int, int], np.ndarray] = numbered_picture,
) -> Path:
    """Write a numbered video, counted from `first`; `shots` equal parts differ in texture: there are cuts between.
    `picture` draws a frame from its number, height, width and shot."""
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
            drawn = picture(first + n, height, width, n * shots // frames)
            frame = av.VideoFrame.from_ndarray(drawn, "rgb24")
            frame.pts = start_pts + (n if pts is None else pts[n])
            frame.time_base = Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


# Long groups of pictures, B-frames, open groups, an edit list, first time stamps off zero, uneven frame rate.
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
    "vfr.mkv": dict(codec="libx264", b_frames=2, gop=50, pts=[n + (n * n) // 7 for n in range(120)]),
}


def write_all(folder: Path) -> None:
    """One video of each kind, and two longer ones of three and two shots."""
    for name, kind in KINDS.items():
        write_video(folder / name, **kind)
    write_video(folder / "long" / "a.mp4", frames=500, shots=3, gop=250, b_frames=2, size=(144, 192))
    write_video(folder / "long" / "b.mp4", frames=240, shots=2, gop=250, b_frames=2, size=(144, 192))
