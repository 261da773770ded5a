"""Seal: how prepare left the big files of a DATASET, so that a loader sees at once whether they are still so.

`seal.json` holds size and time of change of each. Where both are as they were, the file is taken to be whole. Where the
time differs (the DATASET was copied, or somebody wrote to the file), the content is checked against its checksums, and
if it is good the seal is renewed: that is done once, not at every opening.
"""

import contextlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path

from eruv_dali.errors import EruvError
from eruv_dali.files import write_text

SEAL = "seal.json"
SUMMED = ("frames.npy", "segments.npy", "segments.csv")


def seal_dataset(folder: Path) -> None:
    """Note how the big files of a DATASET are now. The pack's checksums stand frame by frame in frames.npy."""
    pack = sorted(path.relative_to(folder).as_posix() for path in (folder / "pack").glob("*.bin"))
    files = {file: {"mark": _mark(folder / file), "crc": _checksum(folder / file)} for file in SUMMED}
    files |= {file: {"mark": _mark(folder / file), "crc": None} for file in pack}
    write_text(folder / SEAL, json.dumps(files, indent=1) + "\n")


class Seal:
    """The seal of a DATASET, opened.

    Raises:
        EruvError: there is none, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.files = json.loads((folder / SEAL).read_text())
        except (OSError, ValueError) as error:
            raise EruvError(f"{folder / SEAL}: cannot be read ({error}); prepare was interrupted, run it again"
                            ) from None

    def untouched(self, file: str) -> bool:
        """The file has the size and time of change that prepare saw."""
        return file in self.files and _mark(self.folder / file) == self.files[file]["mark"]

    def whole(self, file: str, damage: Callable[[], str] | None = None) -> str:
        """"" if a file is what prepare left, otherwise what is wrong with it.

        Unless it is untouched, its content is checked: by its CRC-32, or by `damage`, which says what it finds.
        """
        path = self.folder / file
        if self.untouched(file):
            return ""
        if not path.exists():
            return "is missing"
        known = self.files.get(file)
        if known is None or path.stat().st_size != known["mark"][0]:
            return f"has {path.stat().st_size} bytes, prepare left {known['mark'][0] if known else 'none'}"
        if damage is None:
            found = "" if _checksum(path) == known["crc"] else "its checksum is wrong"
        else:
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
