"""Where a video's bytes are. In most cases a local file of its own, and then its Path says it all. A Place is for the
others: a member of a tar file, which is read there, without unpacking; an object in a store, by its URL; or both.

A Place answers what code asks of a Path (`stat`, `exists`, `resolve`, `str`), so that a video's location can be passed
on without knowing which of the two it is. Only the functions here open and read; offsets count from the video's first
byte, wherever that is.

As text, in tables and messages, an object is its URL, and a member is tar://OFFSET+SIZE/MEMBER::FILE, as fsspec chains
URLs, and the position with it, so that the text alone suffices to read it.
"""

import contextlib
import errno
import hashlib
import io
import math
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias, cast

from eruv_dali.video.raw_part import RawPart
from eruv_dali.video.remote import RemoteFile, read_remote
from eruv_dali.video.remote_store import OutOfReach, looked, status

MEMBER = re.compile(r"tar://(\d+)\+(\d+)/([^:]*)::(.+)", re.DOTALL)
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+", re.DOTALL)


LOOKS = 32  # requests at a time


class Status(NamedTuple):
    """As of os.stat_result: bytes, and a number that is another one once the content has been changed."""

    st_size: int
    st_mtime_ns: int


@dataclass(frozen=True)
class Place:
    """Bytes `offset` to `offset + size` of `file`, a tar, where its `member` lies; or all of an object (size None).

    Attributes:
        file: a Path, or a URL.
    """

    file: Path | str
    member: str = ""
    offset: int = 0
    size: int | None = None

    def __str__(self) -> str:
        if self.size is None:
            return str(self.file)
        member = self.member.replace("%", "%25").replace(":", "%3A")
        return f"tar://{self.offset}+{self.size}/{member}::{self.file}"

    def __truediv__(self, name: str) -> "Place":
        """What lies in a store below a URL."""
        return Place(f"{str(self).rstrip('/')}/{name}")

    def stat(self) -> Status:
        """An object is asked for once in a process; see `look_again`. Raises OSError: there are no such bytes."""
        if isinstance(self.file, Path):
            local = self.file.stat()
            held, changed = local.st_size, local.st_mtime_ns
        else:
            held, version = status(self.file)
            changed = int.from_bytes(hashlib.sha256(version.encode()).digest()[:7], "little") if version else 0
        if self.size is None:
            return Status(held, changed)
        if self.offset + self.size > held:
            raise OSError(errno.ENODATA, f"{self.file} ends before {self.member}", str(self))
        return Status(self.size, changed)

    def exists(self) -> bool:
        try:
            self.stat()
        except OSError:
            return False
        return True

    def absolute(self) -> "Place":
        file = self.file.absolute() if isinstance(self.file, Path) else self.file
        return Place(file, self.member, self.offset, self.size)

    def resolve(self) -> "Place":
        file = self.file.resolve() if isinstance(self.file, Path) else self.file
        return Place(file, self.member, self.offset, self.size)


Location: TypeAlias = Path | Place


def locate(text: str | Location) -> Location:
    """The location that a text means: a Path, or what `str` makes of a Place."""
    if not isinstance(text, str):
        return text if isinstance(text, Place) else Path(text)
    # No Path has two slashes in a row, so none is taken for a Place.
    if found := MEMBER.fullmatch(text):
        offset, size, member, file = found.groups()
        return Place(file if URL.fullmatch(file) else Path(file), member.replace("%3A", ":").replace("%25", "%"),
                     int(offset), int(size))
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    return Place(text) if URL.fullmatch(text) else Path(text)


def look_again(locations: Iterable[Location], *, since: float = math.inf) -> None:
    """Ask for objects anew, several at a time, so that `stat` and all that reads them take them as they are now. What
    cannot be reached is found out by those.

    Args:
        since: those that were asked for after this time (of time.monotonic) are not.
    """
    named = dict.fromkeys(place.file for place in locations if isinstance(place, Place) and isinstance(place.file, str))
    urls = [url for url in named if looked(url) < since]
    if urls:
        with ThreadPoolExecutor(LOOKS) as pool:
            list(pool.map(_look, urls))


def _look(url: str) -> None:
    with contextlib.suppress(OutOfReach):
        status(url, again=True)


def is_file(location: Location) -> bool:
    """Whether there are such bytes."""
    return location.is_file() if isinstance(location, Path) else location.exists()


def is_local(location: Location) -> bool:
    """Whether the bytes are on this machine's file systems."""
    return isinstance(location, Path) or isinstance(location.file, Path)


def out_of_reach(location: Location) -> str:
    """Why it cannot be told whether there still is such an object; "" if it can, and of what is on this machine."""
    try:
        location.stat()
    except OutOfReach as error:
        return "" if error.gone else error.strerror or "unreachable"
    except OSError:
        pass
    return ""


def uri(location: Location) -> str:
    """For other programs: of a file its address, of a Place its text."""
    return location.as_uri() if isinstance(location, Path) else str(location)


def unplaced(text: str) -> str:
    """A location's text without the position in the tar: the same for a member whose tar was written anew."""
    found = MEMBER.fullmatch(text)
    return f"tar://{found[3]}::{found[4]}" if found else text


def libav_input(location: Location) -> str | RemoteFile:
    """What libav opens. Its "subfile" reads a part of a file without Python's lock, which a file object in Python would
    take for every 32 KiB."""
    if isinstance(location, Path):
        # "file:", for libav would connect to an address if the path begins as one does (http:/host/video.mp4).
        return f"file:{location}"
    if isinstance(location.file, str):
        return RemoteFile(location.file, location.offset, location.size, quiet=True)
    return f"subfile,,start,{location.offset},end,{location.offset + (location.size or 0)},,:file:{location.file}"


def open_location(location: Location) -> BinaryIO:
    """Open for reading, with seek. Raises OSError."""
    if isinstance(location, Path):
        return open(location, "rb")
    if isinstance(location.file, str):
        part: io.RawIOBase = RemoteFile(location.file, location.offset, location.size)
    else:
        part = _Part(location.file, location.offset, location.size or 0)
    return cast(BinaryIO, io.BufferedReader(part))


def read_ranges(location: Location, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """The bytes of each (begin, size); fewer where the video ends before. Raises OSError."""
    base, end = (0, None) if isinstance(location, Path) else (location.offset, location.size)
    if end is not None:
        ranges = [(begin, max(0, min(size, end - begin))) for begin, size in ranges]
    file = location if isinstance(location, Path) else location.file
    if isinstance(file, str):
        return [read_remote(file, base + begin, size) for begin, size in ranges]
    opened = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return [os.pread(opened, size, base + begin) for begin, size in ranges]
    finally:
        os.close(opened)


class _Part(RawPart):
    """A part of a file, as a file."""

    def __init__(self, file: Path, offset: int, size: int) -> None:
        self._file: BinaryIO = open(file, "rb")  # noqa: SIM115  (closed with this)
        super().__init__(size)
        self._offset = offset

    def readinto(self, buffer) -> int:
        self._file.seek(self._offset + self._at)
        data = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
