"""The position in a read-only file that is a part of something else."""

import io
import os


class RawPart(io.RawIOBase):
    """A file of `size` bytes at position `_at`; what is read from there, `readinto` of a subclass knows."""

    def __init__(self, size: int) -> None:
        self._size, self._at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, to: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, to + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at
