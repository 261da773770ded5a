"""Any labelled videos: one folder per class. The split is drawn from a seed, or follows persons or sources.

A group (person, source film, sequence) is entirely on one side of the split: a network that has seen a person in
training must not be tested on them. A regular expression finds its name in each video's path.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eruv_dali.actions.lists import Listed
from eruv_dali.checks import whole_number
from eruv_dali.errors import EruvError
from eruv_dali.video.find import find_videos


def list_folder(
    root: Path, *, groups: str | None, test_groups: Sequence[str] | None, test_fraction: float, seed: int, split: int
) -> Listed:
    """A split of the videos under `root`/<class>/.

    `test_groups` names the groups of the test side. Otherwise it is drawn: `test_fraction` of each class, as nearly as
    whole groups (or, without `groups`, single videos) allow; `seed` and `split` decide the draw.

    Raises:
        EruvError: a negative seed or split, no class folders, a class without videos, a path that `groups` does not
            match, an unknown test group, or no way to leave every class on both sides.
    """
    for name, number in (("seed", seed), ("split", split)):
        whole_number(name, number, least=0)
    videos = list_classes(root)
    classes = tuple(videos)
    everything = [(path, label) for label, name in enumerate(classes) for path in videos[name]]
    if groups is None and test_groups:
        raise EruvError("test_groups need groups, the regular expression that finds a video's group in its path")
    group_of = group_names(root, [path for path, _ in everything], groups) if groups is not None else {}
    if test_groups:
        if unknown := sorted(set(test_groups) - set(group_of.values())):
            raise EruvError(f"test group {unknown[0]!r} is not one of those that {groups!r} finds: "
                            f"{', '.join(sorted(set(group_of.values()))[:20])}")
        tested = {path for path, _ in everything if group_of[path] in test_groups}
    else:
        group_of = group_of or {path: path for path, _ in everything}
        tested = draw_groups(everything, classes, group_of, test_fraction, np.random.default_rng([seed, split]))
    return Listed(classes, [video for video in everything if video[0] not in tested],
                  [video for video in everything if video[0] in tested])


def list_classes(root: Path) -> dict[str, list[str]]:
    """Class → its videos, as paths relative to `root`, both sorted.

    Raises:
        EruvError: no folders here, or a folder without a video.
    """
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise EruvError(f"{root}: no class folders here; 'folder' needs one folder per class, with videos in it")
    found = {name: [f"{name}/{video.name}" for video in find_videos([root / name]) if isinstance(video.path, Path)]
             for name in names}
    for name, videos in found.items():
        if not videos:
            raise EruvError(f"{root / name}: holds videos in tars alone; labelled videos must be files of their own")
    return found


def group_names(root: Path, paths: Sequence[str], groups: str) -> dict[str, str]:
    """Path → what the first group of the regular expression `groups` matches in it.

    Raises:
        EruvError: an invalid expression, one without a group, or a path that it does not match.
    """
    try:
        expression = re.compile(groups)
    except re.error as error:
        raise EruvError(f"groups {groups!r} is not a valid regular expression: {error}") from None
    if expression.groups < 1:
        raise EruvError(f"groups {groups!r} has no (group) to find the person or source, such as '/([a-z]+)_'")
    found = {path: expression.search(path) for path in paths}
    if lost := [path for path, match in found.items() if match is None or match[1] is None]:
        raise EruvError(f"groups {groups!r} matches nothing in {len(lost)} of {len(paths)} paths under {root}, first "
                        f"{lost[0]!r}; it is searched in the path that starts with the class folder")
    return {path: match[1] for path, match in found.items() if match}


def draw_groups(
    videos: list[tuple[str, int]], classes: Sequence[str], group_of: dict[str, str], fraction: float,
    random: np.random.Generator,
) -> set[str]:
    """The videos of the test side: groups in random order, as long as one of their classes still needs test videos."""
    if not 0 < fraction < 1:
        raise EruvError(f"test fraction {fraction} must lie between 0 and 1")
    members: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for path, label in videos:
        members[group_of[path]].append((path, label))
    left = Counter(label for _, label in videos)
    wanted = {label: max(1, round(fraction * count)) for label, count in left.items()}
    tested: set[str] = set()
    names = sorted(members)
    for place in random.permutation(len(names)):
        taken = Counter(label for _, label in members[names[place]])
        if any(wanted[label] > 0 for label in taken) and all(left[label] > count for label, count in taken.items()):
            tested.update(path for path, _ in members[names[place]])
            wanted = {label: count - taken[label] for label, count in wanted.items()}
            left -= taken
    tested_labels = {label for path, label in videos if path in tested}
    for label, name in enumerate(classes):
        if label not in tested_labels:
            raise EruvError(f"class {name!r} cannot be on both sides of a split: all its {left[label]} videos are in "
                            "one group, or there is only one; add videos, or leave the class out")
    return tested
