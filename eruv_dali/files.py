"""Writing files so that a reader never sees a partial file, even if the writer is killed; and locking them."""

import contextlib
import csv
import errno
import fcntl
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

from eruv_dali.errors import EruvError

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # what file systems without locks answer


def write_aside(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Call `write(file)` on a temporary file next to `path`, flush it to disk, then rename it to `path`.

    Raises:
        EruvError: `path` is a folder.
        OSError: it cannot be written; the error names `path`.
    """
    # Not the name itself, which may be as long as a file's name can be. Processes of several machines may share a
    # folder, and a number.
    place = zlib.crc32(os.fsencode(f"{os.uname().nodename}/{path.name}"))
    aside = path.with_name(f".{place:08x}.{os.getpid()}.aside")
    try:
        with open(aside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except IsADirectoryError:
        raise EruvError(f"{path}: is a folder, but a file must be written here; move it away and run again") from None
    except OSError as error:
        if error.filename in (None, str(aside), aside):  # of a full disk, the system names no file
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with contextlib.suppress(OSError):  # in a folder that cannot be written there is none
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file with `write_aside`."""
    write_aside(path, lambda file: file.write(text.encode()))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV table with `write_aside`: UTF-8 text, names as `printable` shows them."""

    class Encoder:  # csv writes text, a row at a time; write_aside opens bytes
        def __init__(self, file: BinaryIO) -> None:
            self.write = lambda row: file.write(printable(row).removesuffix("\r\n").encode() + b"\n")

    def fill(file: BinaryIO) -> None:
        # Python 3.11 quotes a carriage return in a cell only if lines end in one.
        table = csv.writer(Encoder(file), lineterminator="\r\n")
        table.writerow(header)
        table.writerows(rows)

    write_aside(path, fill)


def printable(name: str) -> str:
    r"""A file's name or path as text that can be encoded: bytes of it that are not UTF-8 as \xff."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def lock(opened: int | IO, *, shared: bool = False, needed: bool = True) -> bool:
    """Lock an open file or folder until it is closed, however this process ends. False: another holds it.

    Args:
        shared: with others that share it; needed: false takes a file system without locks for one where nobody holds
            it.
    """
    try:
        fcntl.flock(opened, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if needed or error.errno not in NO_LOCKS:
            raise
    return True
