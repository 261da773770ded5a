"""Arrays with a row for each segment: made a piece at a time, and where they are large, in mapped files without a name,
so that the system may write them out instead of holding them in memory."""

import tempfile
from collections.abc import Callable, Iterator

import numpy as np

AT_A_TIME = 1 << 20  # rows
IN_MEMORY = 1 << 26  # bytes, at most


def pieces(rows: int) -> Iterator[slice]:
    """The rows, AT_A_TIME each."""
    for first in range(0, rows, AT_A_TIME):
        yield slice(first, min(first + AT_A_TIME, rows))


def empty(rows: int, dtype: np.dtype | type) -> np.ndarray:
    """(rows,) without content, in memory or in a file of the system's temporary folder (TMPDIR) that has no name.

    Raises:
        OSError: there is no room for the file.
    """
    if rows * np.dtype(dtype).itemsize <= IN_MEMORY:
        return np.empty(rows, dtype)
    with tempfile.TemporaryFile() as file:  # the mapping holds it open
        return np.memmap(file, dtype, "w+", shape=(rows,)).view(np.ndarray)


def kept(array: np.ndarray, keep: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The rows for which `keep`, called with a piece of the array, is true; the array itself if that is all of them."""
    count = _count(array, keep)
    if count == len(array):
        return array
    return _filled(array, keep, empty(count, array.dtype), lambda piece, mask: array[piece][mask])


def places(array: np.ndarray, keep: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | range:
    """The positions of the rows for which `keep`, called with a piece of the array, is true, ascending."""
    count = _count(array, keep)
    if count == len(array):
        return range(count)
    return _filled(array, keep, empty(count, np.uint32), lambda piece, mask: piece.start + np.flatnonzero(mask))


def distinct(array: np.ndarray, column: str, keep: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """The numbers in a column, once and ascending, of the rows for which `keep` is true; none is negative, and the
    largest is not far above how many there are."""
    seen = np.zeros(1 + _most(array[column]), bool)
    for piece in pieces(len(array)):
        rows = array[piece]
        seen[rows[column][keep(rows)] if keep else rows[column]] = True
    return np.flatnonzero(seen)


def ascending(array: np.ndarray, *columns: str) -> bool:
    """Whether the rows are in the order of these columns, the first of which counts most."""
    for piece in pieces(len(array)):
        rows = array[max(0, piece.start - 1) : piece.stop]
        less, same = np.zeros(len(rows) - 1, bool), np.ones(len(rows) - 1, bool)
        for column in columns:
            one, other = rows[column][:-1], rows[column][1:]
            less |= same & (one < other)
            same &= one == other
        if not (less | same).all():
            return False
    return True


def _count(array: np.ndarray, keep: Callable[[np.ndarray], np.ndarray]) -> int:
    return sum(int(np.count_nonzero(keep(array[piece]))) for piece in pieces(len(array)))


def _most(numbers: np.ndarray) -> int:
    return max((int(numbers[piece].max()) for piece in pieces(len(numbers))), default=-1)


def _filled(array: np.ndarray, keep: Callable[[np.ndarray], np.ndarray], result: np.ndarray,
            rows: Callable[[slice, np.ndarray], np.ndarray]) -> np.ndarray:
    """The result, filled with what `rows` gives of each piece and its mask, end to end."""
    end = 0
    for piece in pieces(len(array)):
        part = rows(piece, keep(array[piece]))
        result[end : end + len(part)] = part
        end += len(part)
    return result
