"""Writing files so that a reader never sees a partial file, even if the writer is killed."""

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from eruv_dali.errors import EruvError


def write_aside(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Call `write(file)` on a temporary file next to `path`, flush it to disk, then rename it to `path`.

    Raises:
        EruvError: `path` is a folder.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    try:
        with open(aside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except IsADirectoryError:
        raise EruvError(f"{path}: is a folder, but a file must be written here; move it away and run again") from None
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file with `write_aside`."""
    write_aside(path, lambda file: file.write(text.encode()))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV table with `write_aside`."""

    class Encoder:  # csv writes text, write_aside opens bytes
        def __init__(self, file: BinaryIO) -> None:
            self.write = lambda text: file.write(text.encode())

    def fill(file: BinaryIO) -> None:
        table = csv.writer(Encoder(file), lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)

    write_aside(path, fill)
