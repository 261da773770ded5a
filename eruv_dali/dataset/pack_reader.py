"""Read a pack's files. They are read, not mapped: where a file was cut short, a mapping would kill the process."""

import io
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from eruv_dali.dataset.damage import reading
from eruv_dali.errors import EruvError

MOST_PARTS = 64  # of one read: the system allows 1,024, and 2 GiB


class CutShort(EruvError):
    """A pack file ends, at byte `end`, before the bytes that were wanted."""

    def __init__(self, message: str, end: int) -> None:
        super().__init__(message)
        self.end = end


class PackReader:
    """Keeps a pack's files open: they stay readable even if `prepare` deletes or replaces them. Any thread may read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, tuple[io.FileIO, int]] = {}  # the file, and its size when it was opened

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

    def _opened(self, file: str) -> tuple[io.FileIO, int]:
        if file not in self._files:
            opened = io.FileIO(self.folder / file)
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
