"""From curves to shots: the rules that decide where one shot ends and the next begins.

Every rule works on `ShotCurves` alone, so another rule or threshold needs no second decoding.
"""

from dataclasses import dataclass

import numpy as np

from eruv_dali.errors import EruvError
from eruv_dali.shots.statistics import ShotCurves

# The published threshold, with which UntrimmedNets (CVPR 2017) cut THUMOS14 and ActivityNet, in VLFeat's HOG scale.
PUBLISHED_THRESHOLD = 0.0715
# UntrimmedNets asks besides that the difference stands out from its neighbourhood.
UNTRIMMEDNETS_WINDOW = 11
UNTRIMMEDNETS_SIGMAS = 1.5


@dataclass(frozen=True)
class Shot:
    """Frames start .. end-1 of one shot, and the strength of the transition that opens it (0 for the first)."""

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Transition:
    """The frames start .. end-1 belong to neither shot; a cut before frame t has start = end = t."""

    start: int
    end: int
    score: float


def threshold(curves: ShotCurves, limit: float | None) -> list[Transition]:
    """The paper's sentence: a cut wherever the adjacent HOG difference exceeds a threshold (default 0.0715)."""
    limit = PUBLISHED_THRESHOLD if limit is None else limit
    return [Transition(t, t, float(curves.hog[t])) for t in np.flatnonzero(curves.hog > limit).tolist()]


def untrimmednets(curves: ShotCurves, limit: float | None) -> list[Transition]:
    """UntrimmedNets: above the threshold, and above mean + 1.5 sigma of the 11 differences around (reflect-padded)."""
    half = UNTRIMMEDNETS_WINDOW // 2
    if len(curves) < 2:
        return []
    steps = curves.hog[1:].astype(np.float64)  # entry 0 is no step
    around = np.lib.stride_tricks.sliding_window_view(np.pad(steps, half, "reflect"), UNTRIMMEDNETS_WINDOW)
    stands_out = np.zeros(len(curves), bool)
    stands_out[1:] = steps > around.mean(-1) + UNTRIMMEDNETS_SIGMAS * around.std(-1)
    return [cut for cut in threshold(curves, limit) if stands_out[cut.start]]


RULES = {"untrimmednets": untrimmednets, "threshold": threshold}


def find_shots(
    curves: ShotCurves, *, rule: str = "untrimmednets", threshold: float | None = None, min_shot: int | None = None
) -> list[Shot]:
    if rule not in RULES:
        raise EruvError(f"rule {rule!r} is unknown; use one of {', '.join(RULES)}")
    if len(curves) == 0:
        return []
    shots, start, score = [], 0, 0.0
    for transition in RULES[rule](curves, threshold):
        shots.append(Shot(start, transition.start, score))
        start, score = transition.end, transition.score
    return [*shots, Shot(start, len(curves), score)]
