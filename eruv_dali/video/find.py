"""Find video files, and give them names."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eruv_dali.errors import EruvError

VIDEO_SUFFIXES = frozenset(
    ".3g2 .3gp .asf .avi .divx .f4v .flv .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov .mp4 .mpe .mpeg .mpg .mts .mxf .ogm "
    ".ogv .rm .rmvb .ts .vob .webm .wmv .y4m".split()
)

@dataclass(frozen=True)
class Video:
    """A video file and its name: its path relative to the given folder."""

    name: str
    path: Path


def find_videos(paths: Sequence[str | Path]) -> list[Video]:
    """Collect videos from files and folders (searched recursively), sorted by name.

    A file given directly is taken whatever its suffix; in a folder only video suffixes count, and not hidden files.

    Raises:
        EruvError: a path does not exist or cannot be read, a folder holds no video, or two videos have the same name.
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
        raise EruvError("no videos given; give video files or folders of them")
    return [Video(name, found[name]) for name in sorted(found)]
