"""Rectangles of raw frames, copied from a mapped file: less is copied than by reading, which takes whole frames.

A file that becomes shorter does no harm here: kernels/crop_mapped.cc catches what would otherwise end the process.
"""

import ctypes
import functools
import io

import numpy as np

from eruv_dali import native


class MappedFile:
    """The first `size` bytes of an open file. Any thread may copy from it; it stays mapped while somebody holds it.

    Raises:
        OSError: the system refuses to map it.
    """

    def __init__(self, library: ctypes.CDLL, opened: io.FileIO, size: int) -> None:
        self._library, self._opened, self.size = library, opened, size
        self._address = library.crop_map(opened.fileno(), size)
        if not self._address:
            raise OSError(f"{opened.name}: cannot be mapped")

    def __del__(self) -> None:
        if getattr(self, "_address", None):
            self._library.crop_unmap(self._address, self.size)

    def crop(self, offsets: np.ndarray, frame_size: tuple[int, int], top: int, left: int, place: np.ndarray) -> bool:
        """Copy the pixels from (top, left) on of RGB frames that begin at `offsets` (T,) int64.

        Args:
            frame_size: (height, width); the rectangles lie inside.
            place: (T, rows, columns, 3) uint8, contiguous.

        Returns:
            False: the file does not hold all these frames, or no longer; `place` is then of no use.
        """
        T, rows, columns, _ = place.shape
        height, width = frame_size
        assert 0 <= top <= height - rows and 0 <= left <= width - columns and len(offsets) == T
        assert place.flags.c_contiguous and offsets.dtype == np.int64 and offsets.flags.c_contiguous
        return bool(self._library.crop_copy(
            self._address, self.size, self._opened.fileno(), offsets.ctypes.data, T, height * width * 3,
            (top * width + left) * 3, width * 3, rows, columns * 3, place.ctypes.data))


def map_file(opened: io.FileIO, size: int) -> MappedFile | None:
    """An open file, mapped; None where that cannot be done, and it has to be read."""
    library = _library()
    if library is None or size == 0:
        return None
    try:
        return MappedFile(library, opened, size)
    except OSError:  # limits of the address space or of the number of mappings
        return None


@functools.cache
def _library() -> ctypes.CDLL | None:
    try:
        library = native.load_cpp("crop_mapped")
    except native.NoCompiler as reason:
        native.say_once(f"{reason}; whole frames of a raw pack are read, which is slower (install g++)")
        return None
    address, number = ctypes.c_void_p, ctypes.c_int64
    library.crop_map.argtypes, library.crop_map.restype = [ctypes.c_int, number], address
    library.crop_unmap.argtypes, library.crop_unmap.restype = [address, number], None
    library.crop_copy.argtypes = [address, number, ctypes.c_int, address, *[number] * 6, address]
    library.crop_copy.restype = ctypes.c_int
    return library
