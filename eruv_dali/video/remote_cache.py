"""Blocks of remote objects on the local disk, for all processes together, up to a bound: the longest unused go first.

    ERUV_REMOTE_CACHE      the folder; by default remote/ beside the compiled kernels (see native.cache_dir)
    ERUV_REMOTE_CACHE_GB   the bound, 4 by default; 0: none are kept

A process looks at the total after each 16th of the bound that it wrote itself, so that it can be exceeded by so much.
"""

import contextlib
import hashlib
import os
import time
import zlib
from pathlib import Path

from eruv_dali.errors import EruvError
from eruv_dali.native import cache_dir, say_once

BLOCK = 1 << 18  # bytes
DEFAULT_GB = 4.0
KEPT = 0.9  # of the bound, after blocks were dropped
FRESH = 60.0  # seconds for which a block counts as just used

_written = {"since": 0, "looked": False}


def folder() -> Path:
    """Where the blocks are."""
    given = os.environ.get("ERUV_REMOTE_CACHE")
    return Path(given) if given else cache_dir() / "remote"


def bound() -> int:
    """Bytes that the blocks may take.

    Raises:
        EruvError: what the environment says is no number.
    """
    given = os.environ.get("ERUV_REMOTE_CACHE_GB", "")
    try:
        value = float(given or DEFAULT_GB)
        if not 0 <= value < 1e9:
            raise ValueError
    except ValueError:
        raise EruvError(f"ERUV_REMOTE_CACHE_GB is {given!r}; it must be a number of gigabytes, 0 or more") from None
    return int(value * 1e9)


def get_block(url: str, version: str, number: int, size: int) -> bytes | None:
    """A block, if it is kept; one that was damaged is not."""
    path = _path(url, version, number)
    try:
        data = path.read_bytes()
        if time.time() - path.stat().st_mtime > FRESH:
            os.utime(path)
    except OSError:
        return None
    content, checksum = data[:-4], data[-4:]
    return content if len(content) == size and zlib.crc32(content).to_bytes(4, "little") == checksum else None


def put_block(url: str, version: str, number: int, data: bytes) -> None:
    """Keep a block, if there is room on the disk."""
    most = bound()
    if not most:
        return
    path = _path(url, version, number)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(data + zlib.crc32(data).to_bytes(4, "little"))
        os.replace(aside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        say_once(f"{path.parent.parent}: remote objects are read without a cache ({error.strerror})")
        return
    _written["since"] += len(data)
    if not _written["looked"] or _written["since"] > most // 16:
        _written.update(since=0, looked=True)
        make_room(most)


def make_room(most: int) -> None:
    """Delete the longest unused files of the cache if all together are more than `most` bytes."""
    blocks = []
    for parent, _, names in os.walk(folder()):
        for name in names:
            with contextlib.suppress(OSError):  # another process deleted it
                status = os.stat(os.path.join(parent, name))
                used = max(status.st_mtime, status.st_atime)
                blocks.append((used, status.st_size, os.path.join(parent, name)))
    total = sum(size for _, size, _ in blocks)
    if total <= most:
        return
    for _, size, path in sorted(blocks):
        if total <= KEPT * most:
            break
        with contextlib.suppress(OSError):
            os.unlink(path)
            total -= size
    for parent, _, _ in os.walk(folder(), topdown=False):
        if parent != str(folder()):
            with contextlib.suppress(OSError):  # not empty
                os.rmdir(parent)


def _path(url: str, version: str, number: int) -> Path:
    key = hashlib.sha256(f"{version}\n{url}".encode(errors="surrogateescape")).hexdigest()[:32]
    return folder() / key / f"{number:x}"
