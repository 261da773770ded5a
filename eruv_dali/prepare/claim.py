"""Claim: whether a folder may become a DATASET, told before anything is written to it."""

import re
from pathlib import Path

from eruv_dali.dataset.opened import read_settings, refuse_newer
from eruv_dali.errors import EruvError

SHARDS = "shards"  # folder in a DATASET, there from the first run of a shard until they are merged
REMADE = ("stats", "export", "split", "images")  # folders in a DATASET that each run deletes and makes again
RECORD = re.compile(r"[0-9a-f]{32}\.npz")


def claim(out: Path, *, shards: bool = False) -> dict | None:
    """Make sure that `out` is a DATASET, or may become one, and begin it; arguments and errors as of `may_claim`."""
    known = may_claim(out, shards=shards)
    (out / "records").mkdir(parents=True, exist_ok=True)
    return known


def may_claim(out: Path, *, shards: bool = False) -> dict | None:
    """The settings of the finished DATASET `out`, None if there is none.

    Args:
        shards: the run is one of shards, or merges them. Any other would take away what running shards write.

    Raises:
        EruvError: `out` is a file, holds something else, was begun in shards, or was written by a later version.
    """
    if out.exists() and not out.is_dir():
        raise EruvError(f"{out}: is a file; choose a folder for the DATASET")
    if out.is_dir() and any(out.iterdir()) and not (_is_begun(out) or _is_dataset(out)):
        raise EruvError(f"{out}: holds something other than a DATASET; choose a new or empty folder")
    if (out / SHARDS).exists() and not shards:
        raise EruvError(f"{out}: was begun in shards; end them with --merge, or, if none is running, delete "
                        f"{out / SHARDS} to go on without")
    return refuse_newer(out)


def _is_begun(folder: Path) -> bool:
    """Whether the folder has the records of a DATASET. One that was ended early has none yet, and none of what is made
    from them."""
    records = folder / "records"
    if not records.is_dir():
        return False
    names = [path.name for path in records.iterdir() if not path.name.startswith(".")]  # half-written ones begin so
    return any(map(RECORD.fullmatch, names)) or not names and not any((folder / name).exists() for name in REMADE)


def _is_dataset(folder: Path) -> bool:
    """Whether the folder is a DATASET whose records may have been deleted."""
    try:
        return read_settings(folder) is not None
    except EruvError:
        return False
