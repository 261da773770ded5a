"""The contents of a dataset's split files, before checking whether the videos exist."""

from pathlib import Path
from typing import NamedTuple

from eruv_dali.errors import EruvError


class Listed(NamedTuple):
    """A split as its files state it.

    Attributes:
        classes: names; a label is a position in them.
        train, test: (path relative to the folder of videos, label) each.
    """

    classes: tuple[str, ...]
    train: list[tuple[str, int]]
    test: list[tuple[str, int]]


def read_lines(file: Path) -> list[tuple[int, str]]:
    """(line number, text without blanks around it) of every non-empty line, with any kind of line ends.

    Raises:
        EruvError: the file cannot be read.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise EruvError(f"{file}: cannot be read ({error.strerror}); splits names the folder of split files"
                        ) from None
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def find_splits(root: Path, splits: str | Path | None, usual: str, marker: str) -> Path:
    """The folder of split files: `splits`, or the one that unpacks as `usual` in `root` or next to it.

    Raises:
        EruvError: none of them holds a file that matches `marker`.
    """
    places = [Path(splits)] if splits is not None else [root / usual, root.parent / usual, root]
    for place in places:
        if any(place.glob(marker)):
            return place
    raise EruvError(f"{places[0]}: no split files here (looked for {marker}); name their folder with splits")


def find_root(root: Path, usual: str) -> Path:
    """The folder that holds one folder per class: `root`, or the one named `usual` in it.

    Raises:
        EruvError: `root` is not a folder.
    """
    if not root.is_dir():
        raise EruvError(f"{root}: no such folder; root names the folder of videos, one folder per class")
    return root / usual if (root / usual).is_dir() else root
