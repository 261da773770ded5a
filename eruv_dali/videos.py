"""Videos: find the files and open them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from eruv_dali.errors import EruvError

VIDEO_SUFFIXES = frozenset(
    ".3g2 .3gp .asf .avi .divx .f4v .flv .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov .mp4 .mpe .mpeg .mpg .mts .mxf .ogm "
    ".ogv .rm .rmvb .ts .vob .webm .wmv .y4m".split()
)

# Stands for "this frame carries no time stamp" in an int64 array (libav uses the same number).
NO_PTS = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Video:
    """A video file and the name it goes by: its path relative to the folder that was given."""

    name: str
    path: Path


class UnusableVideo(Exception):
    """This file cannot be used as a video; the message is a reason that a person understands."""


class DamagedVideo(Exception):
    """Decoding broke off in the middle of the file; what came before is good."""


def find_videos(paths: Sequence[str | Path]) -> list[Video]:
    """Collect videos from files and folders (searched in depth), sorted by name.

    A file named outright is taken whatever its suffix; in a folder only video suffixes count, and hidden files do not.

    Raises:
        EruvError: a path does not exist or cannot be read, a folder holds no video, or two videos would bear one name.
    """
    found: dict[str, Path] = {}
    for given in map(Path, paths):
        if not given.exists():
            raise EruvError(f"{given}: no such file or folder")
        if not os.access(given, os.R_OK):
            raise EruvError(f"{given}: not readable; check its permissions")
        if given.is_dir():
            files = sorted(
                path for path in given.rglob("*")
                if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
                and not any(part.startswith(".") for part in path.relative_to(given).parts)
            )
            if not files:
                raise EruvError(f"{given}: no videos in this folder (looked for {', '.join(sorted(VIDEO_SUFFIXES))})")
            named = [(path.relative_to(given).as_posix(), path) for path in files]
        else:
            named = [(given.name, given)]
        for name, path in named:
            if found.setdefault(name, path).resolve() != path.resolve():
                raise EruvError(f"{path} and {found[name]} would both be called {name!r}; give their common folder")
    if not found:
        raise EruvError("no videos given; name video files or folders of them")
    return [Video(name, found[name]) for name in sorted(found)]


def open_video(
    path: str | Path, *, threads: int = 1
) -> tuple[av.container.InputContainer, av.video.stream.VideoStream]:
    """Open a video file and its first picture stream for decoding with `threads` threads.

    Raises:
        UnusableVideo: not a file that libav can open, or no video stream in it.
    """
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UnusableVideo(f"cannot be opened as a video ({libav_words(error)})") from None
    # A cover picture in a music file is a video stream of one attached picture, not a video.
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams or streams[0].codec_context is None:
        container.close()
        raise UnusableVideo("no video stream in this file" if not streams else "no decoder for its video stream")
    stream = streams[0]
    stream.thread_type = "NONE" if threads == 1 else "AUTO"
    if threads > 1:
        stream.codec_context.thread_count = threads
    return container, stream


def libav_words(error: Exception) -> str:
    """What libav says of an error, without the path and number that PyAV wraps around it."""
    return getattr(error, "strerror", None) or str(error)
