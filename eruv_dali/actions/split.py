"""Splits: which labelled videos to train on, and which to test on."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eruv_dali.actions import hmdb51, ucf101
from eruv_dali.actions.folder import list_folder
from eruv_dali.actions.lists import Listed, find_root
from eruv_dali.errors import EruvError

log = logging.getLogger(__name__)

DATASETS = ("ucf101", "hmdb51", "folder")
NAMED = 5  # videos listed in a message
TEST_FRACTION = 0.3  # of each class


@dataclass(frozen=True)
class ActionSplit:
    """Labelled videos, split into a training and a test side.

    Attributes:
        classes: names; a label is a position in them.
        train, test: (path of the video, label) each.
        root: the folder that holds the class folders.
        missing: videos that the split lists but that do not exist (left out, with `skip_missing`).
        all_tested: every class must have test videos; a named test group may lack some.
    """

    classes: tuple[str, ...]
    train: list[tuple[Path, int]]
    test: list[tuple[Path, int]]
    root: Path
    missing: tuple[str, ...] = ()
    all_tested: bool = True


def read_split(
    dataset: str, root: str | Path, *, splits: str | Path | None = None, split: int = 1, groups: str | None = None,
    test_groups: Sequence[str] | None = None, test_fraction: float = TEST_FRACTION, seed: int = 0,
    skip_missing: bool = False,
) -> ActionSplit:
    """Read one split of a labelled dataset and make sure that its videos exist.

    Args:
        dataset: "ucf101", "hmdb51" or "folder" (one folder per class).
        root: the folder that holds the class folders, or the one above it as the archives unpack.
        splits: folder of the official split files; by default searched for in `root` and next to it. Not for "folder".
        split: number of the official split, from 1; for "folder" each number is a different draw.
        groups: for "folder", a regular expression; its first group, searched in "CLASS/path", names the person or
            source, which stays on one side of the split.
        test_groups: for "folder", names of the groups that are the test side, instead of a draw.
        test_fraction: for "folder", the share of each class that is drawn for the test side.
        seed: of the draw.
        skip_missing: leave out videos that do not exist, with a warning, instead of raising an error.

    Raises:
        EruvError: an unknown dataset, missing or invalid split files, missing videos, a class without training or test
            videos. (Only named `test_groups` may lack a class: that is a warning.)
    """
    if dataset not in DATASETS:
        raise EruvError(f"dataset {dataset!r} is not one of {', '.join(DATASETS)}")
    if dataset != "folder" and (groups or test_groups):
        raise EruvError(f"groups are for dataset folder; {dataset} has official splits")
    folder, listed = list_split(dataset, Path(root), splits=splits, split=split, groups=groups,
                                test_groups=test_groups, test_fraction=test_fraction, seed=seed)
    named = [path for side in (listed.train, listed.test) for path, _ in side]
    missing = tuple(path for path in named if not (folder / path).is_file())
    if missing:
        said = (f"{len(missing)} of {len(named)} videos of split {split} are missing under {folder}: "
                f"{', '.join(missing[:NAMED])}{', …' if len(missing) > NAMED else ''}")
        if not skip_missing:
            hint = ("; unpack the .rar of each class" if any(folder.glob("*.rar")) else "")
            raise EruvError(f"{said}; restore them, or leave them out with skip_missing=True (--skip-missing){hint}")
        log.warning("%s; they are left out", said)
    absent = set(missing)
    train, test = ([(folder / path, label) for path, label in side if path not in absent]
                   for side in (listed.train, listed.test))
    result = ActionSplit(listed.classes, train, test, folder, missing, all_tested=not test_groups)
    check_sides(result, f"split {split} of {folder}" if not test_groups else f"test group {', '.join(test_groups)}")
    return result


def list_split(
    dataset: str, root: Path, *, splits: str | Path | None = None, split: int = 1, groups: str | None = None,
    test_groups: Sequence[str] | None = None, test_fraction: float = TEST_FRACTION, seed: int = 0,
) -> tuple[Path, Listed]:
    """The folder of class folders, and what a split lists, whether the videos exist or not. See `read_split`."""
    if dataset == "folder":
        if splits is not None:
            raise EruvError("splits is for ucf101 and hmdb51; dataset folder draws its split, or uses groups")
        folder = find_root(root, "")
        return folder, list_folder(folder, groups=groups, test_groups=test_groups, test_fraction=test_fraction,
                                   seed=seed, split=split)
    kind, list_official = {"ucf101": (ucf101, ucf101.list_ucf101), "hmdb51": (hmdb51, hmdb51.list_hmdb51)}[dataset]
    if split not in kind.SPLITS:
        raise EruvError(f"split {split} is not one of {dataset}'s {', '.join(map(str, kind.SPLITS))}")
    return find_root(root, kind.FOLDER), list_official(root, splits, split)


def check_sides(split: ActionSplit, name: str) -> None:
    """Make sure that every class has training and test videos.

    Raises:
        EruvError: a class without training videos; one without test videos, unless the split allows it (then a
            warning).
    """
    for side, videos in (("training", split.train), ("test", split.test)):
        present = {label for _, label in videos}
        empty = [repr(name) for label, name in enumerate(split.classes) if label not in present]
        if not empty:
            continue
        said = (f"{name}: {len(empty)} of {len(split.classes)} classes have no {side} video: {', '.join(empty[:NAMED])}"
                f"{', …' if len(empty) > NAMED else ''}")
        if side == "training" or split.all_tested or len(empty) == len(split.classes):
            raise EruvError(f"{said}; complete the dataset, or remove these classes from it")
        log.warning("%s; they get no figure here", said)
