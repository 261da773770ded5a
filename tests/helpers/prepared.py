"""The tables of a DATASET, as other programs read them."""

import csv
from pathlib import Path

TABLES = ("videos.csv", "shots.csv", "segments.csv", "rejected.csv")


def table(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of a table."""
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


def tables(folder: Path) -> dict[str, bytes]:
    """All tables as they lie there."""
    return {name: (folder / name).read_bytes() for name in TABLES}
