"""Whether two files hold the same video, told by their size and a hash of samples of their content."""

import filecmp
import functools
import hashlib
from pathlib import Path

from eruv_dali.video.place import Location, Place, locate, open_location

WHOLE = 4 << 20  # bytes; files up to this size are read in full
SAMPLES, SAMPLE = 64, 64 << 10  # of larger files: how many pieces, evenly spread, and their bytes


def content_of(path: str | Location) -> str:
    """32 hexadecimal digits, the same for files of the same content; "" if the file cannot be read.

    Of a file of more than 4 MiB, 64 pieces of 64 KiB are read, the first and the last bytes among them, which takes
    milliseconds: another recording or encoding differs in all of them, but an edit of a few bytes may go unseen. Of an
    object in a store nothing is read: the version that the store gives it counts, "" if it gives none.
    """
    try:
        status = locate(path).stat()
        return _content(str(path), status.st_size, status.st_mtime_ns)
    except OSError:
        return ""


@functools.lru_cache(maxsize=1 << 16)
def _content(path: str, size: int, mtime_ns: int) -> str:
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    location = locate(path)
    if isinstance(location, Place) and not isinstance(location.file, Path):
        digest.update(f" of {mtime_ns} from {location.offset}".encode())
        return digest.hexdigest() if mtime_ns else ""
    with open_location(location) as file:
        if size <= WHOLE:
            digest.update(file.read())
        else:
            for number in range(SAMPLES):
                file.seek(number * (size - SAMPLE) // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    return digest.hexdigest()


def same_content(one: str, other: str) -> bool:
    """Whether two files, given as text, hold the same, as far as `content_of` tells; of files of their own each byte is
    compared. Raises OSError: one of those cannot be read.
    """
    first, second = locate(one), locate(other)
    if isinstance(first, Path) and isinstance(second, Path):
        return filecmp.cmp(first, second, shallow=False)
    content = content_of(first)
    return bool(content) and content == content_of(second)
