"""Seal: the state in which prepare left a DATASET's files, so that a loader can tell at once if they have changed.

`seal.json` holds for each file:

    dataset.json, videos.json    a CRC-32. They are read in full, and checked, at every opening.
    frames.npy, segments.npy, videos-*.npy, pack/*, videos.csv, segments.csv    size and modification time (`mark`), and
        a CRC-32 (for the pack, the checksums of its frames are in frames.npy). Earlier versions left no mark of
        segments.npy. If size and time are unchanged, the file is assumed to be intact. If the time differs (the DATASET
        was copied, or the file was written to), the content is checked against its checksums, and if it is intact the
        seal is updated: that is done once, not at every opening.
"""

import contextlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eruv_dali.dataset.damage import reading
from eruv_dali.errors import EruvError
from eruv_dali.files import write_text

SEAL = "seal.json"
SUMMED = ("videos.json",)
MARKED = ("frames.npy", "segments.npy", "videos.csv", "segments.csv")


def seal_dataset(folder: Path, settings: str) -> None:
    """Record the current state of a DATASET's files; `settings` is the content of dataset.json, which comes last."""
    pack = sorted(path.relative_to(folder).as_posix() for path in (folder / "pack").glob("*.bin"))
    files: dict[str, dict[str, Any]] = {"dataset.json": {"mark": None, "crc": zlib.crc32(settings.encode())}}
    files |= {file: {"mark": None, "crc": _checksum(folder / file)} for file in SUMMED}
    marked = (*MARKED, *sorted(path.name for path in folder.glob("videos-*.npy")))
    files |= {file: {"mark": mark_of(folder / file), "crc": _checksum(folder / file)} for file in marked}
    files |= {file: {"mark": mark_of(folder / file), "crc": None} for file in pack}
    write_text(folder / SEAL, json.dumps(files, indent=1) + "\n")


class Seal:
    """The seal of a DATASET, opened.

    Raises:
        EruvError: there is no seal, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with reading(folder / SEAL):
            self.files = sealed_files((folder / SEAL).read_text())

    def content(self, file: str) -> bytes:
        """The content of a file that is read in full.

        Raises:
            EruvError: it cannot be read, or has changed since prepare.
        """
        with reading(self.folder / file):
            content = (self.folder / file).read_bytes()
        if file not in self.files or self.files[file]["crc"] != zlib.crc32(content):
            raise EruvError(f"{self.folder / file}: damaged DATASET (its checksum is wrong); run prepare on it again")
        return content

    def pack_size(self, file: str) -> int:
        """Bytes that prepare left of a file of the pack.

        Raises:
            EruvError: the seal does not know it.
        """
        known = self.files.get(f"pack/{file}")
        if known is None or known["mark"] is None:
            raise EruvError(f"{self.folder / SEAL}: does not know pack/{file}; run prepare on this DATASET again")
        return known["mark"][0]

    def untouched(self, file: str) -> bool:
        """Whether the file has the size and modification time that prepare saw."""
        return file in self.files and mark_of(self.folder / file) == self.files[file]["mark"]

    def whole(self, file: str, damage: Callable[[], str] | None = None) -> str:
        """"" if a file is unchanged since prepare, otherwise what is wrong with it.

        Unless it is `untouched`, its content is checked: by its CRC-32, or by `damage`, which returns what is wrong.

        Raises:
            EruvError: it cannot be read.
        """
        path = self.folder / file
        if self.untouched(file):
            return ""
        with reading(path):
            if not path.exists():
                return "is missing"
            known, size = self.files.get(file), path.stat().st_size
            if known is None or (known["mark"] and size != known["mark"][0]):
                return f"has {size} bytes, but prepare left {known['mark'][0] if known else 'none'}"
            found = "" if damage or _checksum(path) == known["crc"] else "its checksum is wrong"
        if damage:
            found = damage()
        if not found:
            self._mark(file, mark_of(path))
        return found

    def _mark(self, file: str, mark: list[int]) -> None:
        """Note that a file is intact, in seal.json too unless a prepare has remade that file or its entry since."""
        before = dict(self.files[file])
        self.files[file]["mark"] = mark
        # Where that fails, the content is checked at every opening: nobody may write here, or the seal is being remade.
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
            there = sealed_files((self.folder / SEAL).read_text())
            if there[file] == before and there["frames.npy"]["crc"] == self.files["frames.npy"]["crc"]:
                there[file]["mark"] = mark
                write_text(self.folder / SEAL, json.dumps(there, indent=1) + "\n")


def sealed_files(text: str) -> dict[str, dict[str, Any]]:
    """What seal.json says, {file: {"mark": …, "crc": …}}. ValueError, TypeError or LookupError: it cannot be right."""
    files = json.loads(text)
    for file, known in files.items():
        mark = known["mark"]
        if not (mark is None or (len(mark) == 2 and all(type(number) is int for number in mark))):
            raise ValueError(f"mark {mark!r} of {file}")
        if not (known["crc"] is None or type(known["crc"]) is int):
            raise ValueError(f"crc {known['crc']!r} of {file}")
    return files


def _checksum(path: Path) -> int:
    crc = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 24):
            crc = zlib.crc32(block, crc)
    return crc


def mark_of(path: Path) -> list[int]:
    """Size and time of change; -1 if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]
