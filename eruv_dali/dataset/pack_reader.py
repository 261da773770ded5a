"""Read a pack's files; pixels that need no decoding may also be copied from the mapped file (`crop_mapped.py`)."""

import io
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from eruv_dali.dataset.crop_mapped import MappedFile, map_file
from eruv_dali.dataset.damage import reading
from eruv_dali.errors import EruvError
from eruv_dali.video.place import Location

MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # bytes, of this machine
MOST_PARTS = 64  # of one read: the system allows 1,024, and 2 GiB


class CutShort(EruvError):
    """A pack file ends, at byte `end`, before the bytes that were wanted; or it cannot be had, and `end` is 0."""

    def __init__(self, message: str, end: int) -> None:
        super().__init__(message)
        self.end = end

    def __reduce__(self) -> tuple:  # it comes from worker processes, too
        return type(self), (*self.args, self.end)


class _Held(io.FileIO):
    """An open file that closes when nobody holds it any more; that is no mistake to be warned of."""

    def __del__(self) -> None:
        self.close()


class PackReader:
    """Keeps a pack's files open: they stay readable even if `prepare` deletes or replaces them. Any thread may read."""

    def __init__(self, folder: Path) -> None:
        self.folder: Location = folder
        self._files: dict[str, tuple[io.FileIO, int]] = {}  # the file, and its size when it was opened
        self._mapped: dict[str, MappedFile | None] = {}

    def read(self, file: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on.

        Raises:
            CutShort: the file ends before.
            EruvError: it cannot be opened or read.
        """
        with reading(self.folder / file):
            opened, _ = self._opened(file)  # held while it is read
            data = os.pread(opened.fileno(), size, offset)
        if len(data) < size:
            self._cut(file, offset, size)
        return data

    def read_into(self, file: str, parts: Sequence[np.ndarray], offset: int) -> None:
        """Fill contiguous uint8 arrays, one after another, with the bytes from `offset` on; raises as `read` does."""
        size = sum(part.nbytes for part in parts)
        with reading(self.folder / file):
            opened, _ = self._opened(file)
            got = os.preadv(opened.fileno(), [part.data for part in parts], offset)
        if got < size:
            self._cut(file, offset, size)

    def read_frames(self, file: str, frames: Sequence[tuple[int, int]], places: np.ndarray) -> None:
        """Read frames, each an (offset, size), into the beginning of the rows of `places`; raises as `read` does.

        Frames that lie one after another are read at once, whatever their order here: each read lets other threads run,
        and has to wait for its turn to go on.
        """
        order = sorted(range(len(frames)), key=frames.__getitem__)
        while order:
            begin = end = frames[order[0]][0]
            parts: list[np.ndarray] = []
            while order and frames[order[0]][0] == end and len(parts) < MOST_PARTS:
                end += frames[order[0]][1]
                parts.append(places[order[0]][: frames[order.pop(0)][1]])
            self.read_into(file, parts, begin)

    def mapped(self, file: str) -> MappedFile | None:
        """The file, mapped; None where the system does not do that, or if it is to be read.

        No more is mapped than the machine has memory. A mapping spares the copying of whole frames from the page cache;
        of a larger pack most frames come from the disk, and the tables of a mapping take 1/500 of what they map.

        Raises:
            EruvError: the file cannot be opened.
        """
        if file in (known := self._mapped):
            return known[file]
        with reading(self.folder / file):
            opened, size = self._opened(file)
        fits = size + sum(other.size for other in list(known.values()) if other) <= MEMORY
        return known.setdefault(file, map_file(opened, size) if fits else None)

    def size(self, file: str) -> int:
        """Bytes in the file when it was opened."""
        with reading(self.folder / file):
            return self._opened(file)[1]

    def hold(self, files: Iterable[str]) -> None:
        """Open these files now."""
        for file in files:
            with reading(self.folder / file):
                self._opened(file)

    def close(self) -> None:
        """Let go of the files. Each closes when the last thread that reads it has done: its number could otherwise be
        another file's by then."""
        self._files.clear()
        self._mapped = {}

    def _opened(self, file: str) -> tuple[io.FileIO, int]:
        if file not in self._files:
            opened = _Held(str(self.folder / file))
            # Clips are drawn at random: read-ahead would waste the disk's bandwidth.
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            return self._files.setdefault(file, (opened, os.fstat(opened.fileno()).st_size))
        return self._files[file]

    def _cut(self, file: str, offset: int, size: int) -> None:
        end = os.fstat(self._opened(file)[0].fileno()).st_size
        raise CutShort(f"{self.folder / file}: ends at byte {end}, but bytes {offset} to {offset + size} are wanted; "
                       "run prepare on this DATASET again", end)


def first_damaged(packed: PackReader, file: str, frames: np.ndarray) -> int | None:
    """The first of these FRAME records whose bytes are not as written, or None."""
    for number, (_, offset, size, crc, _) in enumerate(frames.tolist()):
        try:
            if zlib.crc32(packed.read(file, offset, size)) != crc:
                return number
        except CutShort:
            return number
    return None
