"""Folds: every video is tested exactly once, and what is left out together never is on both sides."""

from collections.abc import Iterator
from zlib import crc32

import numpy as np


def leave_out(groups: np.ndarray, folds: int | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """Each fold's name and test side, (N,) bool; the rest is its training side.

    groups: (N,) names. folds: by default one a group; otherwise groups are dealt out, the largest first, to the fold
    that has the fewest videos.
    """
    names, counts = np.unique(groups, return_counts=True)
    folds = min(folds or len(names), len(names))
    if folds == len(names):
        for name in names:
            yield str(name), groups == name
        return
    dealt: list[list[str]] = [[] for _ in range(folds)]
    sizes = [0] * folds
    for place in np.argsort(-counts, kind="stable"):
        smallest = sizes.index(min(sizes))
        dealt[smallest].append(str(names[place]))
        sizes[smallest] += int(counts[place])
    for number, members in enumerate(dealt):
        yield f"fold{number}", np.isin(groups, members)


def draw_labelled(train: np.ndarray, labels: np.ndarray, share: float, *words: str | int) -> np.ndarray:
    """The videos of a training side whose labels are given: the same share of every class, one at least.

    Args:
        train: (N,) bool; labels: (N,).
        share: from 0 to 1.
        words: what the draw depends on (set, fold, seed): never the start, so that all starts see the same videos.

    Returns:
        (N,) bool.
    """
    random = np.random.default_rng([crc32(str(word).encode()) for word in words])
    drawn = np.zeros(len(labels), bool)
    for label in np.unique(labels[train]):
        members = np.flatnonzero(train & (labels == label))
        drawn[random.permutation(members)[: max(1, round(share * len(members)))]] = True
    return drawn
