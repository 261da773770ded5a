"""Video table: the rows of videos.json, each read from its text when it is first asked for.

Reading the rows of a million videos takes most of a minute and some gigabytes. `videos-CRC.npy`, beside videos.json,
has one PLACE per row: what must be known of every video when a DATASET is opened, and where the row's text lies. CRC is
the CRC-32 of the videos.json that it belongs to, so that it is never used with another one; without it, as in a DATASET
of an earlier version, all rows are read.
"""

import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np

from eruv_dali.dataset.columns import VideoRow
from eruv_dali.dataset.damage import reading
from eruv_dali.dataset.pack import PACK_FILE
from eruv_dali.files import write_aside
from eruv_dali.video.coding import checked_coding
from eruv_dali.video.place import Location, locate

# `"name": {facts}` is the text from byte `begin` to `end`; `frames` and `first` are as in the facts.
PLACE = np.dtype([("begin", "<i8"), ("end", "<i8"), ("first", "<i8"), ("frames", "<i4")])

KEPT = 1 << 16  # rows: each takes about 1 KB
# Found nowhere else: in a name or a path, a quotation mark comes after a backslash, and behind one that ends them there
# is no colon and text.
PACK_NAMED = re.compile(rb'(?<!\\)"pack": "([^"]*)"')
FIRST_VALUE = json.JSONDecoder().raw_decode


def places_file(crc: int) -> str:
    """The name of the file of PLACEs that belongs to a videos.json of this CRC-32."""
    return f"videos-{crc:08x}.npy"


def write_videos(folder: Path, facts: Mapping[str, dict[str, Any]]) -> None:
    """Write videos.json, {name: facts}, and its places; those of an earlier videos.json are deleted."""
    rows = [f"{json.dumps(name)}: {json.dumps(fact)}" for name, fact in facts.items()]  # ASCII
    places = np.zeros(len(rows), PLACE)
    lengths = np.array([len(row) for row in rows], np.int64)
    places["end"] = 1 + np.cumsum(lengths + 2) - 2  # behind "{", and ", " after each
    places["begin"] = places["end"] - lengths
    for column in ("first", "frames"):
        places[column] = [fact[column] for fact in facts.values()]
    content = ("{" + ", ".join(rows) + "}\n").encode()
    write_aside(folder / "videos.json", lambda file: file.write(content))
    own = folder / places_file(zlib.crc32(content))
    write_aside(own, lambda file: np.save(file, places))
    for other in folder.glob(places_file(0).replace("0" * 8, "????????")):
        if other != own:
            other.unlink()


class VideoTable(Sequence[VideoRow]):
    """The rows of a videos.json by number, from its text and its places.

    Attributes:
        frames, first: (V,) of all rows.
    """

    def __init__(self, file: Location, content: bytes, places: np.ndarray, pack: str) -> None:
        self._file, self._content, self._places, self._pack = file, content, places, pack
        self.frames, self.first = places["frames"].astype(np.int64), places["first"].copy()
        self._row = lru_cache(maxsize=KEPT)(self._read)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, number: int) -> VideoRow: ...

    @overload
    def __getitem__(self, number: slice) -> list[VideoRow]: ...

    def __getitem__(self, number: int | slice) -> VideoRow | list[VideoRow]:
        """A row.

        Raises:
            EruvError: its text holds something else.
        """
        if isinstance(number, slice):
            return [self[place] for place in range(*number.indices(len(self)))]
        return self._row(range(len(self))[number])

    def _read(self, number: int) -> VideoRow:
        begin, end, first, frames = self._places[number].item()
        with reading(self._file):
            ((name, facts),) = json.loads(b"{" + self._content[begin:end] + b"}").items()
            row = row_of(name, facts, self._pack)
            if (row.first, row.frames) != (first, frames):
                raise ValueError(f"first {row.first}, frames {row.frames} of video {name!r}")
        return row

    def name(self, number: int) -> str:
        """The name of a video, without reading the rest of its row."""
        begin, end = self._places[number].item()[:2]
        with reading(self._file):
            name, _ = FIRST_VALUE(self._content[begin:end].decode())
            if not isinstance(name, str):
                raise ValueError(f"{name!r} in place of a video's name")
            return name

    def pack_files(self) -> list[str]:
        """The files of the pack that the rows name, sorted."""
        names = sorted({found[1].decode() for found in PACK_NAMED.finditer(self._content)})
        with reading(self._file):
            for name in names:
                if not PACK_FILE.fullmatch(name):
                    raise ValueError(f"pack {name!r}")
        return names


def names_of(videos: Sequence[VideoRow], numbers: Iterable[int]) -> list[str]:
    """The names of the videos at these positions."""
    if isinstance(videos, VideoTable):
        return [videos.name(number) for number in numbers]
    return [videos[number].name for number in numbers]


def pack_files_of(videos: Sequence[VideoRow]) -> list[str]:
    """The files of the pack that hold these videos, sorted."""
    return videos.pack_files() if isinstance(videos, VideoTable) else sorted({video.pack_file for video in videos})


def frames_and_first(videos: Sequence[VideoRow]) -> tuple[np.ndarray, np.ndarray]:
    """(V,) int64 each: the videos' numbers of frames, and the positions of their first frames in frames.npy."""
    if isinstance(videos, VideoTable):
        return videos.frames, videos.first
    return _column(video.frames for video in videos), _column(video.first for video in videos)


def _column(numbers: Iterable[int]) -> np.ndarray:
    return np.array([*numbers], np.int64)


def row_of(name: str, facts: dict[str, Any], pack: str) -> VideoRow:
    """The row of one video, from what videos.json says of it. ValueError, KeyError or TypeError: it cannot be right."""
    row = VideoRow(name, locate(facts.pop("path")), pack_file=facts.pop("pack"),
                   coding=checked_coding(facts.pop("coding", None)), **facts)
    for column, sound in (
        ("path", "\0" not in str(row.path)),
        ("frames", type(row.frames) is int and row.frames > 0),
        ("codec", isinstance(row.codec, str)),
        ("rotation", type(row.rotation) is int and row.rotation in (0, 90, 180, 270)),
        ("size", type(row.size) is int),
        ("mtime_ns", type(row.mtime_ns) is int),
        ("content", isinstance(row.content, str)),
        ("first", type(row.first) is int and row.first >= 0),
        ("pack_file", row.pack_file == "" if pack == "none" else PACK_FILE.fullmatch(row.pack_file)),
    ):
        if not sound:
            raise ValueError(f"{column} {getattr(row, column)!r} of video {row.name!r}")
    return row
