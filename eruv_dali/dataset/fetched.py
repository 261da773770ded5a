"""A DATASET in a store: its tables are fetched once, as files, into the cache of remote objects, and opened there.

Its pack stays where it is, see remote_pack.py. Which tables there are is in seal.json, for not every store can list
what it holds. A copy belongs to the sizes and versions of all of them: if one has changed, there is another copy. What
was fetched is checked against the seal, as the files of a DATASET that was copied are; only the two tables that may be
edited may differ. The seal of the copy notes the copy's own times, so that opening it checks nothing twice.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from eruv_dali.dataset.damage import reading
from eruv_dali.dataset.seal import SEAL, mark_of, sealed_files
from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside, write_text
from eruv_dali.video import remote_cache
from eruv_dali.video.find import is_folder
from eruv_dali.video.place import LOOKS, Place, look_again
from eruv_dali.video.remote_store import ObjectStatus, OutOfReach, fetch, status

FIRST = "dataset.json"
TABLE = re.compile(r"[a-z]+(-[0-9a-f]{8})?\.(json|npy|csv)")  # no name that leaves the folder
EDITABLE = ("videos.csv", "segments.csv")
PIECE = 8 << 20  # bytes of one request
SHARE = 2  # the tables may take the cache's bound divided by this: the rest is for blocks of the pack


def holds_dataset(folder: Path | Place) -> bool:
    """Whether a DATASET lies here.

    Raises:
        EruvError: a store cannot be reached, or refuses to say.
    """
    if isinstance(folder, Path):
        return (folder / FIRST).exists()
    if not is_folder(folder):
        return False
    try:
        status(str(folder / FIRST), again=True)
    except OutOfReach as error:
        if error.gone:
            return False
        raise EruvError(f"{error.filename}: {error.strerror}") from None
    return True


def fetch_tables(folder: Place) -> Path:
    """The local folder with this version of the DATASET's tables.

    Raises:
        EruvError: there is no DATASET, it cannot be reached, changes while it is fetched, or is damaged; or there is
            no room for its tables.
    """
    try:
        return _fetch_tables(folder)
    except OutOfReach as error:
        raise EruvError(f"{error.filename}: {error.strerror}") from None


@contextlib.contextmanager
def as_in_store(copy: Path, folder: Path | Place) -> Iterator[None]:
    """Context for reading a copy: errors name the files in the store."""
    try:
        yield
    except EruvError as error:
        error.args = (str(error).replace(str(copy), str(folder)), *error.args[1:])
        raise


def _fetch_tables(folder: Place) -> Path:
    if not holds_dataset(folder):
        raise EruvError(f"{folder}: no DATASET here (no {FIRST}); make one with eruv_dali.prepare, and copy it there")
    known = _look(folder, [SEAL])
    text = fetch(str(folder / SEAL), known[SEAL], 0, known[SEAL].size).decode(errors="replace")
    with reading(folder / SEAL):
        sealed = sealed_files(text)
    known |= _look(folder, (name for name in sealed if TABLE.fullmatch(name)))
    needed, most = sum(each.size for each in known.values()), remote_cache.bound()
    if needed * SHARE > most:
        raise EruvError(f"{folder}: its tables take {needed / 1e9:.3g} GB of the cache's {most / 1e9:.3g}; set "
                        f"ERUV_REMOTE_CACHE_GB to {needed * SHARE / 1e9:.3g} or more, or copy the DATASET")
    # Of a store that tells no versions, no copy can be known to be the same.
    versions = [(name, each.size, each.version or uuid.uuid4().hex) for name, each in sorted(known.items())]
    copy = remote_cache.folder() / hashlib.sha256(repr((str(folder).rstrip("/"), versions)).encode()).hexdigest()[:32]
    try:
        with _alone(copy):  # the processes of one machine fetch once
            if not _is_whole(copy, known):
                for name in known.keys() - {SEAL}:
                    _fetch_table(folder, copy, name, known[name], sealed[name])
                if _look(folder, known) != known:
                    raise EruvError(f"{folder}: has changed while it was read; run again")
                write_text(copy / SEAL, json.dumps(sealed, indent=1) + "\n")
                remote_cache.make_room(most)
            for name in known:  # just used; the time of change is in the seal
                os.utime(copy / name, (time.time(), (copy / name).stat().st_mtime))
    except OutOfReach:
        raise
    except OSError as error:
        raise EruvError(f"{folder}: its tables cannot be kept ({error.filename or copy}: {error.strerror}); set "
                        "ERUV_REMOTE_CACHE to a folder with room") from None
    return copy


def _look(folder: Place, names: Iterable[str]) -> dict[str, ObjectStatus]:
    """Size and version of each of these objects now."""
    names = list(names)
    look_again(folder / name for name in names)
    found = {}
    for name in names:
        try:
            found[name] = status(str(folder / name))
        except OutOfReach as error:
            if error.gone:
                raise EruvError(f"{folder}/{name}: is missing; copy the whole DATASET there again") from None
            raise
    return found


def _is_whole(copy: Path, known: dict[str, ObjectStatus]) -> bool:
    return (copy / SEAL).exists() and all(
        mark_of(copy / name)[0] == each.size for name, each in known.items() if name != SEAL)


def _fetch_table(folder: Place, copy: Path, name: str, known: ObjectStatus, seal: dict[str, Any]) -> None:
    """Fetch a table into the copy, and note its time of change in its part of the seal."""
    url, crc = str(folder / name), 0

    def pieces(file: Any) -> None:
        nonlocal crc
        with ThreadPoolExecutor(LOOKS) as pool:
            for first in range(0, known.size, PIECE * LOOKS):
                begins = range(first, min(first + PIECE * LOOKS, known.size), PIECE)
                for data in pool.map(lambda begin: fetch(url, known, begin, min(begin + PIECE, known.size)), begins):
                    crc = zlib.crc32(data, crc)
                    file.write(data)

    write_aside(copy / name, pieces)
    if crc == seal["crc"]:
        seal["mark"] = seal["mark"] and mark_of(copy / name)
    elif name not in EDITABLE:
        raise EruvError(f"{url}: damaged DATASET (its checksum is wrong); copy it there again, or run prepare on the "
                        "original")


@contextlib.contextmanager
def _alone(copy: Path) -> Iterator[None]:
    copy.mkdir(parents=True, exist_ok=True)
    with open(copy.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        copy.mkdir(parents=True, exist_ok=True)  # another process may have made room meanwhile
        yield
