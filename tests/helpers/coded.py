"""Numbered videos coded in ways that some decoders cannot read: fields, hidden pictures, 4:2:2, 4:4:4, 10 bits."""

from fractions import Fraction
from pathlib import Path

import av
from numbered import numbered_picture

TWO_PASS = "two_pass.log"
QUIET = {"x265-params": "log-level=none"}
# Name: codec, options of the encoder, and settings: size, pix_fmt, color_range and colorspace by libav's numbers.
CODED: dict[str, tuple[str, dict[str, str], dict]] = {
    "360p.mp4": ("libx264", {}, {"size": (360, 640)}),
    "180p.mp4": ("libx264", {}, {"size": (180, 320)}),
    "baseline.mp4": ("libx264", {"profile": "baseline"}, {}),
    "high422.mp4": ("libx264", {}, {"pix_fmt": "yuv422p"}),
    "high444.mp4": ("libx264", {}, {"pix_fmt": "yuv444p"}),
    "high10.mp4": ("libx264", {}, {"pix_fmt": "yuv420p10le"}),
    "interlaced.mp4": ("libx264", {"flags": "+ilme+ildct", "x264-params": "tff=1"}, {}),
    "interlaced.ts": ("libx264", {"flags": "+ilme+ildct", "x264-params": "tff=1"}, {}),
    "fields.mp4": ("libx264", {"x264-params": "fake-interlaced=1"}, {}),  # frames, where fields are allowed
    "full.mp4": ("libx264", {}, {"color_range": 2}),
    "bt709.mp4": ("libx264", {}, {"color_range": 1, "colorspace": 1}),
    "main10.mp4": ("libx265", QUIET, {"pix_fmt": "yuv420p10le"}),
    "main.mp4": ("libx265", QUIET, {}),
    "hevc422.mp4": ("libx265", QUIET, {"pix_fmt": "yuv422p"}),
    "small_hevc.mp4": ("libx265", QUIET, {"size": (96, 128)}),
    "realtime.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}, {}),
    "altref.webm": ("libvpx-vp9", {"deadline": "good", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"},
                    {}),
    "altref8.webm": ("libvpx", {"deadline": "good", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"}, {}),
    "realtime8.webm": ("libvpx", {"deadline": "realtime", "cpu-used": "8"}, {}),
    "simple.mp4": ("mpeg4", {}, {}),
    "interlaced4.mp4": ("mpeg4", {"flags": "+ilme+ildct"}, {}),
    "mjpeg.avi": ("mjpeg", {}, {"pix_fmt": "yuvj420p"}),
}
FRAMES = 60


def write_coded(folder: Path, name: str) -> Path:
    """The video of this name in CODED, two-pass where the encoder hides pictures only then."""
    codec, options, settings = CODED[name]
    if name.startswith("altref"):
        _encode(folder / "first_pass.mkv", codec, options, settings, flags=_flag("PASS1"))
    return _encode(folder / name, codec, options, settings, flags=_flag("PASS2") if name.startswith("altref") else 0)
