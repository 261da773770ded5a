"""Read a pack's files where they lie in a store, by ranges of bytes, through the cache of blocks on the local disk."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from eruv_dali.dataset.pack_reader import CutShort, PackReader
from eruv_dali.errors import EruvError
from eruv_dali.video.place import Place, look_again
from eruv_dali.video.remote import read_remote_ranges
from eruv_dali.video.remote_store import ObjectStatus, OutOfReach, status

# A clip of a video pack takes 30 KB, and the next clip drawn lies elsewhere: large blocks would multiply what is read.
BLOCK = 1 << 16
GAP = 1 << 18  # bytes that are fetched although they are not needed, in place of another request


class RemotePack(PackReader):
    """As PackReader: a file's version stays the one that it had at first; of another one nothing is read."""

    def __init__(self, folder: Place) -> None:
        self.folder = folder
        self._known: dict[str, ObjectStatus] = {}

    def read(self, file: str, offset: int, size: int) -> bytes:
        return self._read(file, [(offset, size)])[0]

    def read_into(self, file: str, parts: Sequence[np.ndarray], offset: int) -> None:
        data = np.frombuffer(self.read(file, offset, sum(part.nbytes for part in parts)), np.uint8)
        for part in parts:
            part.reshape(-1)[:], data = data[: part.nbytes], data[part.nbytes :]

    def read_frames(self, file: str, frames: Sequence[tuple[int, int]], places: np.ndarray) -> None:
        for place, data in zip(places, self._read(file, frames), strict=True):
            place[: len(data)] = np.frombuffer(data, np.uint8)

    def mapped(self, file: str) -> None:
        """Nothing is; it is to be read."""

    def size(self, file: str) -> int:
        return self._status(file).size

    def hold(self, files: Iterable[str]) -> None:
        """Ask for these files now."""
        files = [file for file in files if file not in self._known]
        look_again(self.folder / file for file in files)
        for file in files:
            self._status(file)

    def check_sizes(self, sizes: Mapping[str, int]) -> None:
        """Make sure that these files are there, with as many bytes each. What they hold is checked frame by frame.

        Raises:
            EruvError: one is not.
        """
        self.hold(sizes)
        for file, size in sizes.items():
            if self.size(file) != size:
                raise EruvError(f"{self.folder / file}: has {self.size(file)} bytes, but prepare left {size}; copy it "
                                "there again")
        for file in [*sizes][:1]:  # the store may refuse to send ranges, but for those that begin at 0
            self.read(file, sizes[file] - 1, 1)

    def close(self) -> None:
        """Nothing is held open."""

    def _status(self, file: str) -> ObjectStatus:
        if file not in self._known:
            try:
                self._known[file] = status(str(self.folder / file))
            except OutOfReach as error:
                raise EruvError(f"{self.folder / file}: {error.strerror}") from None
        return self._known[file]

    def _read(self, file: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        known = self._status(file)
        end = max(offset + size for offset, size in ranges)
        if end > known.size:
            raise CutShort(f"{self.folder / file}: ends at byte {known.size}, but bytes up to {end} are wanted; copy "
                           "it there again", known.size)
        try:
            return read_remote_ranges(str(self.folder / file), known, ranges, block=BLOCK, gap=GAP,
                                      patient=True)
        except OutOfReach as error:
            raise CutShort(f"{self.folder / file}: {error.strerror}", 0) from None
