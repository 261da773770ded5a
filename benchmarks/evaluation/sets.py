"""The labelled sets, and their frames: decoded once, small, in one memory-mapped file a frame size."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eruv_dali.actions.folder import group_names, list_classes
from eruv_dali.device import cores
from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside, write_text
from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.open import DamagedVideo, UnusableVideo


@dataclass(frozen=True)
class Kind:
    """A set of labelled videos: a folder of class folders, and the regular expression of what is left out together."""

    folder: str
    groups: str
    units: str | None = None  # what the bootstrap draws, if finer than groups


KINDS = {
    "weizmann": Kind("weizmann", r"/([a-z]+)_"),  # persons
    "ut_interaction": Kind("ut_interaction/set1", r"/\d+_(\d+)_"),  # sequences
    "egogestar": Kind("egogestar", r"/(take\d+)_"),  # takes: one background each
    # Two persons. Leaving out repetitions instead would leave the same person, clothes and place on both sides. With
    # two groups there is nothing to draw from, so the bootstrap draws (class, person), recorded one after another.
    "asu": Kind("asu", r"/([a-z]+)_", r"^(.+/[a-z]+)_"),
    "arid": Kind("arid", r"/(num\d+)_"),
}


@dataclass(frozen=True)
class LabelledVideos:
    """The videos of a set.

    Attributes:
        name: of the set.
        paths: N files.
        classes: names of the labels; labels: (N,) int64.
        groups: (N,) str, what is left out together; units: (N,) str, what the bootstrap draws.
        left_out: classes that only one group has, so that they cannot be tested.
    """

    name: str
    paths: tuple[Path, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    groups: np.ndarray
    units: np.ndarray
    left_out: tuple[str, ...] = ()


def read_set(name: str, root: Path, kind: Kind) -> LabelledVideos:
    """Find a set's videos; classes that only one group has are left out.

    Raises:
        EruvError: no such folder, no class folders, a path whose group is not found, fewer than two classes or groups.
    """
    folder = root / kind.folder
    if not folder.is_dir():
        raise EruvError(f"{folder}: no such folder; --videos names the folder that contains it, --sets the sets")
    found = list_classes(folder)
    group_of = group_names(folder, [path for paths in found.values() for path in paths], kind.groups)
    kept = {label: paths for label, paths in found.items() if len({group_of[path] for path in paths}) > 1}
    if len(kept) < 2:
        raise EruvError(f"{folder}: fewer than two classes have videos of two groups, so none can be left out")
    paths = [path for each in kept.values() for path in each]
    labels = [number for number, each in enumerate(kept.values()) for _ in each]
    groups = [group_of[path] for path in paths]
    units = groups
    if kind.units is not None:
        matches = [re.search(kind.units, path) for path in paths]
        units = [group if match is None else match[1] for group, match in zip(groups, matches, strict=True)]
    return LabelledVideos(name, tuple(folder / path for path in paths), tuple(kept), np.array(labels),
                          np.array(groups), np.array(units), tuple(sorted(set(found) - set(kept))))


@dataclass(frozen=True)
class Frames:
    """All frames of all videos of a frame size.

    Attributes:
        pictures: (frames, height, width, 3) uint8, memory-mapped.
        place: path → (first frame, number of frames).
    """

    pictures: np.ndarray
    place: dict[str, tuple[int, int]]

    def clip(self, path: Path, start: int, length: int) -> np.ndarray:
        """(length, height, width, 3) uint8 from frame `start` of a video; the last frame is repeated at the end."""
        first, count = self.place[str(path)]
        return self.pictures[first + np.minimum(np.arange(start, start + length), count - 1)]


def decode_sets(sets: list[LabelledVideos], size: tuple[int, int], out: Path) -> Frames:
    """The frames of all videos, decoded into `out` unless they are there already.

    Raises:
        EruvError: a video that cannot be decoded.
    """
    listing, pictures = _files(out, size)
    paths = [path for videos in sets for path in videos.paths]
    state = {str(path): [path.stat().st_size, path.stat().st_mtime_ns] for path in paths}
    known = json.loads(listing.read_text()) if listing.exists() and pictures.exists() else {}
    if known.get("files") != state:
        with ThreadPoolExecutor(cores()) as pool:
            decoded = list(pool.map(lambda path: _decode(path, size), paths))
        ends = np.cumsum([0, *map(len, decoded)]).tolist()
        listing.unlink(missing_ok=True)
        write_aside(pictures, lambda file: np.save(file, np.concatenate(decoded)))
        known = {"files": state, "places": {str(path): (first, end - first) for path, first, end in
                                            zip(paths, ends[:-1], ends[1:], strict=True)}}
        write_text(listing, json.dumps(known) + "\n")
    return open_frames(size, out)


def open_frames(size: tuple[int, int], out: Path) -> Frames:
    """What `decode_sets` wrote into `out`."""
    listing, pictures = _files(out, size)
    places = json.loads(listing.read_text())["places"]
    return Frames(np.load(pictures, mmap_mode="r"), {path: (first, count) for path, (first, count) in places.items()})


def _files(out: Path, size: tuple[int, int]) -> tuple[Path, Path]:
    stem = f"frames_{size[0]}x{size[1]}"
    return out / f"{stem}.json", out / f"{stem}.npy"


def _decode(path: Path, size: tuple[int, int]) -> np.ndarray:
    try:
        return np.concatenate([chunk.pictures[0] for chunk in decode_pictures(path, [size])])
    except (UnusableVideo, DamagedVideo) as error:
        raise EruvError(f"{path}: cannot be decoded ({error}); remove it from the set") from None
