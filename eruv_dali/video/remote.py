"""Read remote objects: any bytes of one, or one as a file, from whole blocks that are fetched once and kept a while."""

from collections.abc import Iterator, Sequence

from eruv_dali.video.raw_part import RawPart
from eruv_dali.video.remote_cache import BLOCK, get_block, put_block
from eruv_dali.video.remote_store import ObjectStatus, OutOfReach, fetch, status

MOST = 32  # blocks in one request, or as many bytes of smaller ones


def read_remote(url: str, begin: int, size: int) -> bytes:
    """These bytes of an object, fewer if it ends before.

    Raises:
        OutOfReach: they cannot be had, or the object has changed since this process first asked for it.
    """
    return read_remote_ranges(url, status(url), [(begin, size)])[0]


def read_remote_ranges(url: str, known: ObjectStatus, ranges: Sequence[tuple[int, int]], *, block: int | None = None,
                       gap: int = 0, patient: bool = False) -> list[bytes]:
    """The bytes of each (begin, size) of this version of an object, fewer if it ends before.

    Args:
        block: bytes of the blocks that are fetched and kept; by default BLOCK.
        gap: blocks with no more bytes than that between them are fetched by one request, with what is between.
        patient: see `fetch`.

    Raises:
        OutOfReach: they cannot be had, or the object is another one now.
    """
    block = block or BLOCK
    # Blocks of another size are of another place in the cache.
    version = known.version if block == BLOCK or not known.version else f"{known.version} {block}"
    ranges = [(begin, min(begin + size, known.size)) for begin, size in ranges]
    numbers = sorted({number for begin, end in ranges if begin < end
                      for number in range(begin // block, -(-end // block))})
    blocks = {number: get_block(url, version, number, min(block, known.size - number * block)) if version else None
              for number in numbers}
    missing = [number for number in numbers if blocks[number] is None]
    for first, after in _runs(missing, gap // block, MOST * BLOCK // block):
        data = fetch(url, known, first * block, min(after * block, known.size), patient=patient)
        for number in range(first, after):
            blocks[number] = data[(number - first) * block : (number - first + 1) * block]
            if version:  # otherwise a kept block might be of a former version
                put_block(url, version, number, blocks[number] or b"")
    return [_cut(blocks, block, begin, end) for begin, end in ranges]


def _runs(numbers: Sequence[int], gap: int, most: int) -> Iterator[tuple[int, int]]:
    """Ascending numbers as runs (first, after), each with at most `most`, and at most `gap` missing in a row."""
    place = 0
    while place < len(numbers):
        first, last = numbers[place], numbers[place]
        while place < len(numbers) and numbers[place] - last <= gap + 1 and numbers[place] - first < most:
            last = numbers[place]
            place += 1
        yield first, last + 1


def _cut(blocks: dict[int, bytes | None], block: int, begin: int, end: int) -> bytes:
    """Bytes `begin` to `end` of the blocks that hold them."""
    if end <= begin:
        return b""
    first = begin // block
    data = b"".join(blocks[number] or b"" for number in range(first, -(-end // block)))
    return data[begin - first * block : end - first * block]


class RemoteFile(RawPart):
    """Bytes `offset` to `offset + size` of an object as a file.

    Who reads on from where the last read ended gets ever larger pieces, as far as one request takes.

    Attributes:
        trouble: why it can no longer be read, "" if it can. With `quiet`, it then only seems to end: libav would keep
            an exception, and PyAV raise it at some later call, perhaps on another video.
    """

    def __init__(self, url: str, offset: int = 0, size: int | None = None, *, quiet: bool = False) -> None:
        super().__init__(status(url).size - offset if size is None else size)
        self._url, self._offset, self._quiet = url, offset, quiet
        self._ahead = 1
        self._begin, self._data = 0, b""
        self.trouble = ""

    def readinto(self, buffer) -> int:
        wanted = max(0, min(len(buffer), self._size - self._at))
        if not wanted or self.trouble:
            return 0
        if not self._begin <= self._at < self._begin + len(self._data):
            on = self._at == self._begin + len(self._data)
            self._ahead = min(2 * self._ahead, MOST) if on else 1
            place = self._offset + self._at
            whole = place // BLOCK * BLOCK
            try:
                data = read_remote(self._url, whole, self._ahead * BLOCK)[place - whole :]
            except OutOfReach as error:
                self.trouble = error.strerror or ""
                if not self._quiet:
                    raise
                return 0
            self._begin, self._data = self._at, data[: self._size - self._at]
        start = self._at - self._begin
        piece = self._data[start : start + wanted]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
