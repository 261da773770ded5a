"""Numbered videos coded in ways that decide which decoder reads them: fields, hidden pictures, colours, sizes."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from numbered import write_video

FRAMES = 40
X265 = {"preset": "ultrafast", "x265-params": "log-level=none"}
FAST = {"deadline": "realtime", "cpu-used": "8"}

# Arguments of numbered.write_video.
CODED: dict[str, dict[str, Any]] = {
    "360p.mp4": dict(size=(360, 640)),
    "180p.mp4": dict(size=(180, 320)),
    "high422.mp4": dict(pix_fmt="yuv422p"),
    "high444.mp4": dict(pix_fmt="yuv444p"),
    "high10.mp4": dict(pix_fmt="yuv420p10le"),
    "fields.mp4": dict(options={"flags": "+ilme+ildct"}),
    "fields.ts": dict(options={"flags": "+ilme+ildct"}),  # the parameter sets are in the packets
    "frames_as_fields.mp4": dict(options={"x264-params": "fake-interlaced=1"}),
    "full.mp4": dict(options={"color_range": "pc"}),
    "bt709.mp4": dict(options={"color_range": "tv", "colorspace": "bt709"}),
    "main.mp4": dict(codec="libx265", options=X265),
    "main10.mp4": dict(codec="libx265", pix_fmt="yuv420p10le", options=X265),
    "hevc422.mp4": dict(codec="libx265", pix_fmt="yuv422p", options=X265),
    "vp9.webm": dict(codec="libvpx-vp9", options=FAST | {"lag-in-frames": "0"}),
    "hidden.webm": dict(codec="libvpx-vp9", options=FAST | {"lag-in-frames": "25", "auto-alt-ref": "1"}),
    "vp8.webm": dict(codec="libvpx", options=FAST),
    "simple.mp4": dict(codec="mpeg4"),
    "fields4.mp4": dict(codec="mpeg4", options={"flags": "+ilme+ildct"}),
    "mjpeg.avi": dict(codec="mjpeg"),
}


def write_coded(folder: Path, name: str) -> Path:
    """The video of this name in CODED, of FRAMES frames."""
    return write_video(folder / name, **{"frames": FRAMES, "gop": 30, "size": (176, 240), **CODED[name]})


def write_hiding(folder: Path, codec: str) -> Path | None:
    """A video of codec "libvpx" or "libvpx-vp9" with hidden pictures, which these hide in two passes only; so it takes
    the program ffmpeg. None: there is none here.
    """
    if shutil.which("ffmpeg") is None:
        return None
    source = write_video(folder / "source.mkv", frames=FRAMES, gop=30, size=(176, 240), options={"qp": "0"})
    path = folder / f"{codec}.webm"
    for number in (1, 2):
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-i", source, "-c:v", codec, "-pix_fmt", "yuv420p", "-b:v", "400k", "-g",
             "30",
             "-deadline", "good", "-cpu-used", "5", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-threads", "1",
             "-pass", str(number), "-passlogfile", folder / codec, path], check=True)
    return path
