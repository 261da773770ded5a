"""From curves to shots: the rules that decide where one shot ends and the next begins.

Every rule works on `ShotCurves` alone, so another rule or threshold needs no second decoding.
"""

from dataclasses import dataclass

import numpy as np

from eruv_dali.errors import EruvError
from eruv_dali.shots.statistics import EDGE, LAGS, ShotCurves

# The published rules. d_t > 0.0715 is the paper's; UntrimmedNets (CVPR 2017), whose settings it takes, asks besides
# that d_t stands out from its neighbourhood.
PUBLISHED_THRESHOLD = 0.0715
UNTRIMMEDNETS_WINDOW = 11
UNTRIMMEDNETS_SIGMAS = 1.5

# The robust rule. 
MIN_SHOT = 12
CUT_THRESHOLD = 0.065
CUT_MEDIAN_SHARE = 0.3
CUT_MEDIAN_REACH = 12
GRADUAL_THRESHOLD = 0.038
GRADUAL_OWN = 20
GRADUAL_RUN = 6
GRADUAL_AWAY = 16


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


def find_shots(
    curves: ShotCurves, *, rule: str = "robust", threshold: float | None = None, min_shot: int | None = None
) -> list[Shot]:
    """Divide a video into shots.

    Args:
        curves: from `ShotStatistics.finish()`.
        rule: "robust"; "untrimmednets" or "threshold" as published (they find no gradual transitions).
        threshold: of the adjacent HOG difference; None is the rule's own (0.0715, for robust 0.07).
        min_shot: fewest frames of a shot; None is 12 for robust and 1, which is no limit, for the published rules.
            Of transitions too close together the strongest stand. A piece shorter than this that a transition leaves
            at the beginning or the end of the video belongs to no shot.

    Returns:
        The shots in order. Frames within a gradual transition belong to none. A video that has frames has a shot.

    Raises:
        EruvError: unknown rule, or a threshold or minimum out of range.
    """
    if rule not in RULES:
        raise EruvError(f"rule {rule!r} is unknown; use one of {', '.join(RULES)}")
    if threshold is not None and not threshold > 0:
        raise EruvError(f"threshold {threshold} must be greater than 0")
    if min_shot is None:
        min_shot = MIN_SHOT if rule == "robust" else 1
    if min_shot < 1:
        raise EruvError(f"min_shot {min_shot} must be at least 1 frame")
    if len(curves) == 0:
        return []
    transitions = _RULES[rule](curves, threshold)
    shots, start, score = [], 0, 0.0
    for transition in _strongest(transitions, min_shot):
        shots.append(Shot(start, transition.start, score))
        start, score = transition.end, transition.score
    shots.append(Shot(start, len(curves), score))
    return [shot for shot in shots if shot.end - shot.start >= min_shot] or [Shot(0, len(curves), 0.0)]


def threshold_rule(curves: ShotCurves, limit: float | None) -> list[Transition]:
    """The paper's sentence: a cut wherever the adjacent HOG difference exceeds the threshold."""
    limit = PUBLISHED_THRESHOLD if limit is None else limit
    return [Transition(t, t, float(curves.hog[t])) for t in np.flatnonzero(curves.hog > limit).tolist()]


def untrimmednets_rule(curves: ShotCurves, limit: float | None) -> list[Transition]:
    """Above the threshold, and above mean + 1.5 sigma of the 11 differences around it (reflect-padded)."""
    if len(curves) < 2:
        return []
    steps = curves.hog[1:].astype(np.float64)  # entry 0 is no step
    around = _around(steps, UNTRIMMEDNETS_WINDOW // 2)
    stands_out = np.zeros(len(curves), bool)
    stands_out[1:] = steps > around.mean(-1) + UNTRIMMEDNETS_SIGMAS * around.std(-1)
    return [cut for cut in threshold_rule(curves, limit) if stands_out[cut.start]]


def robust_rule(curves: ShotCurves, limit: float | None) -> list[Transition]:
    if len(curves) < 2:
        return []
    limit = CUT_THRESHOLD if limit is None else limit
    cut = cut_evidence(curves)
    peaks = _peaks(cut, limit)
    transitions = [Transition(t, t, float(cut[t])) for t in peaks]

    gradual = gradual_evidence(curves)
    strong = gradual > GRADUAL_THRESHOLD
    for t in peaks:
        strong[max(t - GRADUAL_AWAY, 0) : t + GRADUAL_AWAY + 1] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], strong, [False]]))).reshape(-1, 2)
    for start, end in edges.tolist():
        if end - start >= GRADUAL_RUN:
            t = start + int(gradual[start:end].argmax())
            transitions.append(Transition(*gradual_interval(curves, t), float(gradual[t])))
    return transitions


def cut_evidence(curves: ShotCurves) -> np.ndarray:
    lag = dict(zip(LAGS, curves.lags, strict=True))
    change = lag[1]
    N = len(curves)
    for reach in (1,2,3,4):
        change = np.minimum(change, _at(lag[reach + 1], 0, reach+1))
        change = np.minimum(change, _at(lag[reach + 1], reach, reach+1))
    change = np.minimum(change, _at(lag[9], 4, 9))
    median = np.median(_around(lag[1][1:], CUT_MEDIAN_REACH), -1)
    out = np.zeros(N, np.float32)
    out[1:] = change[1:] - CUT_MEDIAN_SHARE * median
    return out

def _at(x, k, lag):
    """x[t+k], infinite where either frame does not exist"""
    y = np.full(len(x), np.inf, np.float32)
    n = len(x)
    y[max(lag-k,0):max(n-k,0)] = x[max(lag,k):n] if lag>=k else x[k:n]
    return y

def gradual_evidence(curves):
    N = len(curves)
    out = np.zeros(N, np.float32)
    if N <= 2*EDGE: return out
    i = np.arange(N)
    known = lambda t: curves.window[np.clip(t, EDGE, N-EDGE-1)]
    out[EDGE:-EDGE] = (curves.window - 0.5*(known(i-GRADUAL_OWN)+known(i+GRADUAL_OWN)))[EDGE:-EDGE]
    return out

def gradual_interval(curves, t):
    lag5 = curves.lags[LAGS.index(5)]
    c = np.zeros_like(lag5); c[:-2] = lag5[2:]
    lo, hi = max(t-36,0), t+37
    calm = np.quantile(c[lo:hi], .2)
    near = c[max(t-8,0):t+9]
    peak = max(t-8,0)+int(near.argmax())
    level = (calm+near.max())/2
    s=e=peak
    while s-1 > t-24 and s-1>0 and c[s-1]>level: s-=1
    while e+1 < min(t+24,len(c)) and c[e+1]>level: e+=1
    return s, e

_RULES = {"robust": robust_rule, "untrimmednets": untrimmednets_rule, "threshold": threshold_rule}
RULES = tuple(_RULES)


def _around(x: np.ndarray, reach: int) -> np.ndarray:
    """(N,) -> (N, 2 reach + 1): every entry with its neighbours, reflected at the ends."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(x, reach, "reflect"), 2 * reach + 1)


def _peaks(x: np.ndarray, limit: float) -> list[int]:
    above = x > limit
    higher = np.zeros(len(x),bool)
    return [t for t in np.flatnonzero(above).tolist() if x[t] == x[max(t-MIN_SHOT+1,0):t+MIN_SHOT].max()]


def _strongest(transitions: list[Transition], min_shot: int) -> list[Transition]:
    """Those that stand when a shot must have min_shot frames, the strongest first; in the order of the video."""
    chosen: list[Transition] = []
    for new in sorted(transitions, key=lambda transition: -transition.score):
        if all(new.start - old.end >= min_shot or old.start - new.end >= min_shot for old in chosen):
            chosen.append(new)
    return sorted(chosen, key=lambda transition: transition.start)
