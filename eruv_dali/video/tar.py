"""Which videos a tar file holds, and where in it: shards in the layout of WebDataset, or any other tar.

A tar has no table of contents, so its headers are read one after another, from member to member. That takes long on a
slow disk, and is done once: the list is kept, and holds while the tar has the same size and time of change.
"""

import hashlib
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from eruv_dali.files import write_text
from eruv_dali.video.place import Location, look_again, open_location

VERSION = 2  # of a kept list; one of another version is made again


class Member(NamedTuple):
    """A file in a tar: its name, and where its bytes lie."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Contents:
    """What a tar holds: `members`, files only, and what is wrong with the rest of it, "" if nothing is."""

    members: list[Member]
    trouble: str


class TarLists:
    """Lists of what tars hold, and the folder where they are kept between runs; None: they are not.

    Nothing is written before `save`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._new: dict[Path, str] = {}

    def contents(self, tar: Location) -> Contents:
        """What a tar holds.

        Raises:
            OSError: it cannot be read.
        """
        look_again([tar])
        status = tar.stat()
        head = [VERSION, str(tar.resolve()), status.st_size, status.st_mtime_ns]
        kept = self._path(tar)
        if kept is not None and (known := _kept(kept, head)):
            return known
        found = read_headers(tar)
        if kept is not None:
            self._new[kept] = json.dumps([head, found.members, found.trouble]) + "\n"
        return found

    def save(self) -> None:
        """Keep the lists made since."""
        for path, text in self._new.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        self._new.clear()

    def _path(self, tar: Location) -> Path | None:
        """Not made from the tar's name, of which there may be several in different folders."""
        if self._folder is None:
            return None
        return self._folder / f"{hashlib.sha256(os.fsencode(str(tar.resolve()))).hexdigest()[:32]}.json"


def _kept(path: Path, head: list) -> Contents | None:
    """A kept list of this version, of a tar that has not changed since; None if there is none that can be read."""
    try:
        then, members, trouble = json.loads(path.read_text())
        if then != head or not isinstance(trouble, str):
            return None
        return Contents([Member(str(name), int(offset), int(size)) for name, offset, size in members], trouble)
    except (OSError, ValueError, TypeError):
        return None


def read_headers(tar: Location) -> Contents:
    """What a tar holds, from its headers. What cannot be read in place (links, sparse files) is no member.

    Raises:
        OSError: it cannot be read.
    """
    members: dict[str, Member] = {}  # if a name comes twice, the later one is meant
    trouble, size = "", tar.stat().st_size
    with open_location(tar) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as opened:
                while (info := opened.next()) is not None:
                    if info.offset_data + info.size > size:
                        trouble = f"is cut off in {info.name}"
                        break
                    if info.isreg() and not info.issparse() and (name := clean_name(info.name)):
                        members[name] = Member(name, info.offset_data, info.size)
                else:
                    trouble = _end_trouble(file, opened.offset)
        except tarfile.TarError as error:
            trouble = f"is not a sound tar ({' '.join(str(error).split())})"
    return Contents(list(members.values()), trouble)


def _end_trouble(file, offset: int) -> str:
    """What is wrong with the end of a tar, where a block of zeros should be and nothing else after it."""
    file.seek(offset)
    block = file.read(tarfile.BLOCKSIZE)
    if not block:
        return "has no end mark, so it may be half written"
    if any(block) or len(block) < tarfile.BLOCKSIZE:
        return f"is damaged at byte {offset}"
    while rest := file.read(1 << 20):
        if any(rest):
            return f"goes on after its end mark at byte {offset}: it is damaged, or several tars in one file"
    return ""


def clean_name(name: str) -> str:
    """The name of a member or an object without what would lead out of a folder, were a file written by that name."""
    return "/".join(part for part in PurePosixPath(name).parts if part not in ("/", "//", "..", "."))

