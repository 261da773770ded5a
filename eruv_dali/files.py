"""Writing files so that a reader, or a program killed half-way, never meets half a file."""

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from eruv_dali.errors import EruvError


def write_aside(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Call `write(file)` on a file beside `path`, make it durable, then rename it to `path`.

    Raises:
        EruvError: there is a folder of that name.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    try:
        with open(aside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except IsADirectoryError:
        raise EruvError(f"{path}: is a folder, and a file is to be written here; move it away and run again") from None
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file aside, then rename it."""
    write_aside(path, lambda file: file.write(text.encode()))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table aside, then rename it."""

    class Encoder:  # csv writes text, write_aside opens bytes
        def __init__(self, file: BinaryIO) -> None:
            self.write = lambda text: file.write(text.encode())

    def fill(file: BinaryIO) -> None:
        table = csv.writer(Encoder(file), lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)

    write_aside(path, fill)
