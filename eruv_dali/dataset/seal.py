"""Seal: how prepare left the files of a DATASET, so that a loader sees at once whether they are still so.

`seal.json` holds what is needed to tell, file by file:

    dataset.json, videos.json, segments.npy    a CRC-32. They are read whole at every opening, and checked each time.
    frames.npy, pack/*, videos.csv, segments.csv    size and time of change (`mark`), and a CRC-32 (of the pack, the
        checksums stand frame by frame in frames.npy). Where size and time are as they were, the file is taken to be
        whole. Where the time differs (the DATASET was copied, or somebody wrote to the file), the content is checked
        against its checksums, and if it is good the seal is renewed: that is done once, not at every opening.
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
SUMMED = ("videos.json", "segments.npy")
MARKED = ("frames.npy", "videos.csv", "segments.csv")


def seal_dataset(folder: Path, settings: str) -> None:
    """Note how the files of a DATASET are now; `settings` is what dataset.json, which comes last of all, will hold."""
    pack = sorted(path.relative_to(folder).as_posix() for path in (folder / "pack").glob("*.bin"))
    files: dict[str, dict[str, Any]] = {"dataset.json": {"mark": None, "crc": zlib.crc32(settings.encode())}}
    files |= {file: {"mark": None, "crc": _checksum(folder / file)} for file in SUMMED}
    files |= {file: {"mark": _mark(folder / file), "crc": _checksum(folder / file)} for file in MARKED}
    files |= {file: {"mark": _mark(folder / file), "crc": None} for file in pack}
    write_text(folder / SEAL, json.dumps(files, indent=1) + "\n")


class Seal:
    """The seal of a DATASET, opened.

    Raises:
        EruvError: there is none, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with reading(folder / SEAL):
            self.files = json.loads((folder / SEAL).read_text())
            for file, known in self.files.items():
                mark = known["mark"]
                if not (mark is None or (len(mark) == 2 and all(type(number) is int for number in mark))):
                    raise ValueError(f"mark {mark!r} of {file}")
                if not (known["crc"] is None or type(known["crc"]) is int):
                    raise ValueError(f"crc {known['crc']!r} of {file}")

    def content(self, file: str) -> bytes:
        """The content of a file that is read whole.

        Raises:
            EruvError: it cannot be read, or is not what prepare left.
        """
        with reading(self.folder / file):
            content = (self.folder / file).read_bytes()
        if file not in self.files or self.files[file]["crc"] != zlib.crc32(content):
            raise EruvError(f"{self.folder / file}: damaged DATASET (its checksum is wrong); run prepare on it again")
        return content

    def untouched(self, file: str) -> bool:
        """The file has the size and time of change that prepare saw."""
        return file in self.files and _mark(self.folder / file) == self.files[file]["mark"]

    def whole(self, file: str, damage: Callable[[], str] | None = None) -> str:
        """"" if a file is what prepare left, otherwise what is wrong with it.

        Unless it is untouched, its content is checked: by its CRC-32, or by `damage`, which says what it finds.

        Raises:
            EruvError: it cannot be read.
        """
        path = self.folder / file
        if self.untouched(file):
            return ""
        with reading(path):
            if not path.exists():
                return "is missing"
            known, size = self.files.get(file, {"mark": None}), path.stat().st_size
            if known["mark"] is None or size != known["mark"][0]:
                return f"has {size} bytes, prepare left {known['mark'][0] if known['mark'] else 'none'}"
            found = "" if damage or _checksum(path) == known["crc"] else "its checksum is wrong"
        if damage:
            found = damage()
        if not found:
            known["mark"] = _mark(path)
            with contextlib.suppress(OSError):  # who may only read this DATASET checks it each time
                write_text(self.folder / SEAL, json.dumps(self.files, indent=1) + "\n")
        return found


def _checksum(path: Path) -> int:
    crc = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 24):
            crc = zlib.crc32(block, crc)
    return crc


def _mark(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]
