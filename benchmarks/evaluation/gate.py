"""The gate: a set is used only if its labels cannot be read from group, static frame or length.

Where one of them tells the label, a network that recognises persons, places or cameras looks as if it knew actions.
"""

from dataclasses import dataclass

import numpy as np

from evaluation.folds import leave_out
from evaluation.sets import Frames, LabelledVideos

REFUSED = 0.4  # of what chance leaves open: (share - chance) / (1 - chance) beyond which a set is refused
NEAR = 2.0  # standard errors above chance up to which a figure counts as near chance; in between, a set is marked
NEIGHBOURS = 5  # that vote on the label by length


@dataclass(frozen=True)
class Told:
    """What tells how much of a set's labels: shares of videos.

    Attributes:
        videos: how many. chance: share of the most frequent class.
        group: by the class that is most frequent in the rest of the video's group.
        frame: by the nearest first frame of another group.
        length: by a vote of the videos of other groups whose length is nearest.
    """

    videos: int
    chance: float
    group: float
    frame: float
    length: float

    @property
    def failed(self) -> tuple[str, ...]:
        """What tells so much of the label that the set is refused."""
        return self._above(self.chance + REFUSED * (1 - self.chance))

    @property
    def marked(self) -> tuple[str, ...]:
        """What tells more of the label than chance does."""
        return self._above(self.chance + NEAR * (self.chance * (1 - self.chance) / self.videos) ** 0.5)

    def _above(self, limit: float) -> tuple[str, ...]:
        return tuple(name for name in ("group", "frame", "length") if getattr(self, name) > limit)


def examine(videos: LabelledVideos, frames: Frames) -> Told:
    """How much of a set's labels group, first frame and length tell."""
    first = np.stack([frames.clip(path, 0, 1)[0] for path in videos.paths]).reshape(len(videos.paths), -1)
    length = np.array([frames.place[str(path)][1] for path in videos.paths])
    return told(videos.labels, videos.groups, first.astype(np.float32), length)


def told(labels: np.ndarray, groups: np.ndarray, first_ND: np.ndarray, length: np.ndarray) -> Told:
    """`examine` on plain arrays: labels, groups, length (N,); first frames (N, D)."""
    number, classes = len(labels), int(labels.max()) + 1
    chance = float(np.bincount(labels).max() / number)
    hit = {name: np.zeros(number, bool) for name in ("group", "frame", "length")}
    for _, test in leave_out(groups):
        train = np.flatnonzero(~test)
        for row in np.flatnonzero(test):
            rest = np.bincount(labels[test], minlength=classes)
            rest[labels[row]] -= 1
            # Where classes are equally frequent there, the group does not tell which it is.
            hit["group"][row] = rest.sum() > 0 and rest[labels[row]] == rest.max() and (rest == rest.max()).sum() == 1
            distance = np.square(first_ND[train] - first_ND[row]).sum(1)
            hit["frame"][row] = labels[train[distance.argmin()]] == labels[row]
            near = train[np.argsort(np.abs(length[train] - length[row]), kind="stable")[:NEIGHBOURS]]
            hit["length"][row] = np.bincount(labels[near], minlength=classes).argmax() == labels[row]
    return Told(number, chance, *(float(hit[name].mean()) for name in ("group", "frame", "length")))
