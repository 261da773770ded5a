"""The held-out part of a training list, on which the best epoch is chosen."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eruv_dali.actions.folder import draw_groups, group_names
from eruv_dali.errors import EruvError

UCF101_GROUPS = r"_g(\d+)_"  # clips of one group are pieces of one film


def hold_out(
    train: Sequence[tuple[Path, int]], root: Path, classes: Sequence[str], *, fraction: float, groups: str | None,
    seed: int,
) -> np.ndarray:
    """(V,) bool: which training videos are held out, about `fraction` of each class, whole groups where there are any.

    `groups` is an expression as in `read_split`; where it is None, UCF101's groups are known by their names.

    Raises:
        EruvError: `fraction` is not in [0, 1), or some class has too few videos or groups for two parts.
    """
    if not 0 <= fraction < 1:
        raise EruvError(f"--val-fraction {fraction} must lie between 0 and 1")
    if fraction == 0:
        return np.zeros(len(train), bool)
    paths = [path.relative_to(root).as_posix() for path, _ in train]
    if groups is None and all(re.search(UCF101_GROUPS, path) for path in paths):
        groups = UCF101_GROUPS
    group_of = group_names(root, paths, groups) if groups else {path: path for path in paths}
    videos = [(path, label) for path, (_, label) in zip(paths, train, strict=True)]
    try:
        held = draw_groups(videos, classes, group_of, fraction, np.random.default_rng([seed, 0xE7A1]))
    except EruvError as error:
        raise EruvError(f"no part of the training videos can be held out: {error}; or use --val-fraction 0: "
                        "the last epoch is then taken") from None
    return np.array([path in held for path in paths])
