"""From curves to shots: the rules that decide where one shot ends and the next begins.

Every rule works on `ShotCurves` alone, so another rule or threshold needs no new decoding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eruv_dali.errors import EruvError
from eruv_dali.shots.curves import EDGE, LAGS, ShotCurves

# The published rules. d_t > 0.0715 is the paper's; UntrimmedNets (CVPR 2017), whose settings the paper uses, also
# requires that d_t stands out from its neighbourhood.
PUBLISHED_THRESHOLD = 0.0715
UNTRIMMEDNETS_WINDOW = 11
UNTRIMMEDNETS_SIGMAS = 1.5

# The robust rule. The constants were chosen on 8 synthetic videos (312 cuts, dissolves and fades; flashes, occluders,
# light switches) and 128 real single-take clips: F1 0.984 (benchmarks/shots.py) and no false transition.
# Chosen on seven of the videos and scored on the eighth, F1 is 0.979 (benchmarks/results/shots_cross_validation.json).
MIN_SHOT = 8  # frames; 12 scores the same
# A cut's difference minus 0.5 of the median of its neighbourhood, so that steady motion gives none. At 0.3 a
# hand-held pan is cut; from 0.8 on true cuts are missed.
CUT_THRESHOLD = 0.06
CUT_MEDIAN = 0.5
# A gradual transition's change between the windows before and after, minus half of its own value 20 frames earlier
# and later (a pan changes there too) and minus 0.9 of the median step (people moving and coding noise make many
# steps without lasting change; a dissolve leads from one picture to another).
GRADUAL_THRESHOLD = 0.015
GRADUAL_MEDIAN = 0.9
GRADUAL_ELSEWHERE = 20
GRADUAL_RUN = 6  # frames in a row above the threshold
GRADUAL_CLEAR = 16  # frames from a cut: nearer than this the windows contain the cut itself
# Where the luminance shows the ends of a fade or dissolve (see `_light_edge`). Of the frames within the 65 gradual
# transitions found in those 8 videos, 71 % were left in shots without this, 15 % with it, at the same F1; one cut in
# 244 is taken for a fade. DROP, CONTRAST or REACH a seventh larger or smaller: F1 within 0.004, frames left 14 to 17 %.
FADE_REACH = 40  # frames to either side
FADE_DROP = 0.7  # the end is where the luminance step falls below this fraction of its earlier value
FADE_CONTRAST_START = 1.4  # ... and stays this many times smaller: an uncertain start costs some frames of the old
FADE_CONTRAST_END = 2.0  # shot, an uncertain end moves the start of the new one
FADE_RATE = 0.5  # grey levels per frame; slower is motion or noise
FADE_STILL = 0.15  # grey levels per frame; less is the black between the halves of a fade
FADE_HOLD = 16  # frames of black at most
FADE_LEAST = 6  # frames; a shorter one is a cut, which the five-frame differences show as six frames long
FADE_JUMP = 2.0  # a cut's own luminance step is larger, relative to its neighbourhood; otherwise it lies in a fade
MEDIAN_REACH = 12  # frames on either side
# If the luminance shows no ends, the five-frame difference does: frames on either side in which its peak, its end
# and the level outside are searched for. Reasoned, not tuned: they only move the ends of intervals.
INTERVAL_PEAK, INTERVAL_REACH, INTERVAL_OUTSIDE = 8, 24, 36


@dataclass(frozen=True)
class Shot:
    """Frames start .. end-1 of one shot.

    score: strength of the transition that starts it, 0 at the start of the video
    transition_start: first frame of that transition, which ends at `start`; equal to `start` for a cut
    """

    start: int
    end: int
    score: float
    transition_start: int

    @property
    def transition(self) -> str:
        """What starts the shot: "cut", "gradual" (a dissolve or a fade), or "" for the start of the video."""
        return "" if self.start == 0 else "cut" if self.transition_start == self.start else "gradual"


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
        threshold: replaces the rule's own for cuts: 0.0715, for robust 0.06; with robust, the one for gradual
            transitions is scaled in proportion, so that one value controls how much is found.
        min_shot: fewest frames of a shot; None is 8 for robust and 1, which is no limit, for the published rules.
            Of transitions too close together the strongest are kept. A piece shorter than this that a transition leaves
            at the start or the end of the video belongs to no shot.

    Returns:
        The shots in order. Frames within a gradual transition belong to none. A video with frames has a shot.

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
    shots, opening = [], Transition(0, 0, 0.0)
    for transition in [*_strongest(_RULES[rule](curves, threshold), min_shot), Transition(len(curves), 0, 0.0)]:
        shots.append(Shot(opening.end, transition.start, opening.score, opening.start))
        opening = transition
    return [shot for shot in shots if shot.end - shot.start >= min_shot] or [Shot(0, len(curves), 0.0, 0)]


def cut_curve(curves: ShotCurves, *, rule: str = "robust") -> tuple[np.ndarray, float]:
    """The curve that `rule` compares with its threshold to find cuts, (N,) float32, and its default threshold."""
    if rule == "robust":
        return (cut_evidence(curves) if len(curves) > 1 else curves.hog), CUT_THRESHOLD
    return curves.hog, PUBLISHED_THRESHOLD


def threshold_rule(curves: ShotCurves, limit: float | None) -> list[Transition]:
    """The paper's rule: a cut wherever the adjacent HOG difference exceeds the threshold."""
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
    """Cuts that survive flashes, passing objects and motion; and between them dissolves and fades."""
    if len(curves) < 2:
        return []
    limit = CUT_THRESHOLD if limit is None else limit
    cut = cut_evidence(curves)
    highest = _around(cut, MIN_SHOT - 1).max(-1)
    cuts = np.flatnonzero((cut > limit) & (cut == highest)).tolist()
    gradual = gradual_evidence(curves)
    strong = gradual > GRADUAL_THRESHOLD * limit / CUT_THRESHOLD
    for t in cuts:
        strong[max(t - GRADUAL_CLEAR, 0) : t + GRADUAL_CLEAR + 1] = False
    runs = np.flatnonzero(np.diff(strong, prepend=False, append=False)).reshape(-1, 2).tolist()
    peaks = [start + int(gradual[start:end].argmax()) for start, end in runs if end - start >= GRADUAL_RUN]
    return [Transition(*fade_interval(curves, t, cuts), float(cut[t])) for t in cuts] + [
        Transition(*gradual_interval(curves, t, cuts), float(gradual[t])) for t in peaks
    ]


def cut_evidence(curves: ShotCurves) -> np.ndarray:
    """(N,) How much the picture changes, for good, between t-1 and t.

    The smallest of four differences across that step. A flash is gone at t+4, or was not yet there at t-5; an object
    that sweeps past is gone if both are compared.

        t-5   .   .   .  t-1 | t   .   .   .  t+4
    """
    lags = dict(zip(LAGS, curves.lags, strict=True))

    def between(before: int, after: int) -> np.ndarray:
        """Difference of frames t-before and t+after; infinite, so that the minimum ignores it, if one is missing."""
        difference = np.full(len(curves), np.inf, np.float32)
        known = lags[before + after][before + after :]
        difference[before : before + len(known)] = known
        return difference

    change = np.minimum.reduce([between(1, 0), between(1, 4), between(5, 0), between(5, 4)])
    change[0] = 0
    return change - np.float32(CUT_MEDIAN) * _activity(curves)


def gradual_evidence(curves: ShotCurves) -> np.ndarray:
    """(N,) How much the picture changes, slowly and for good, around t; 0 near the ends, where it is unknown."""
    N = len(curves)
    evidence = np.zeros(N, np.float32)
    if N > 2 * EDGE:
        t = np.arange(EDGE, N - EDGE)
        earlier = curves.window[np.maximum(t - GRADUAL_ELSEWHERE, EDGE)]
        later = curves.window[np.minimum(t + GRADUAL_ELSEWHERE, N - EDGE - 1)]
        evidence[t] = curves.window[t] - 0.5 * (earlier + later) - GRADUAL_MEDIAN * _activity(curves)[t]
    return evidence


def gradual_interval(curves: ShotCurves, t: int, cuts: Sequence[int] = ()) -> tuple[int, int]:
    """First frame after the old shot and first frame of the new one, of the gradual transition around t.

    If the luminance shows where it begins or ends (`_light_edge`), that is used: in a fade HOG, which is insensitive to
    contrast, changes only in the darkest part. Otherwise: within a transition the five-frame HOG difference is about
    equally large everywhere; outside it is smaller. If that lasts no longer than for a cut (which five such differences
    span), it is a cut that stayed below the cut threshold.
    """
    change = np.append(curves.lags[LAGS.index(5)][2:], [0, 0])  # between t-3 and t+2
    near = slice(max(t - INTERVAL_PEAK, 0), t + INTERVAL_PEAK + 1)
    peak = near.start + int(change[near].argmax())
    outside = np.quantile(change[max(t - INTERVAL_OUTSIDE, 0) : t + INTERVAL_OUTSIDE + 1], 0.2)
    level = (change[peak] + outside) / 2
    start = end = peak
    while start > max(t - INTERVAL_REACH, 1) and change[start - 1] > level:
        start -= 1
    while end < min(t + INTERVAL_REACH, len(curves) - 1) and change[end] > level:
        end += 1
    if end - start <= FADE_LEAST:
        return fade_interval(curves, start + int(curves.lags[0][start : end + 1].argmax()), cuts)
    begun, over = _light_edges(curves, t, cuts)
    end -= 1  # change[t] is about the step between t-1 and t
    return min(start, t) if begun is None else begun, max(end, t) if over is None else over


def fade_interval(curves: ShotCurves, t: int, cuts: Sequence[int] = ()) -> tuple[int, int]:
    """The same for a cut at t that may be the darkest moment of a fade, where one picture replaces the other.

    A true cut is also a jump of the luminance. In a fade the luminance changes as much before it or after it.
    """
    begun, over = (t if edge is None else edge for edge in _light_edges(curves, t, cuts))
    if over - begun <= FADE_LEAST:
        return t, t
    steps = np.concatenate([curves.luminance[begun : t - 1], curves.luminance[t + 2 : over]])
    steps = steps[steps > FADE_STILL]
    if len(steps) < 4 or curves.luminance[t - 1 : t + 2].max() > FADE_JUMP * np.median(steps):
        return t, t
    return begun, over


def _light_edges(curves: ShotCurves, t: int, cuts: Sequence[int]) -> tuple[int | None, int | None]:
    """First frame of the transition around t and first frame after it, as far as the luminance shows them."""
    first = max([t - FADE_REACH, 1, *(cut + 1 for cut in cuts if cut < t)])
    last = min([t + FADE_REACH, len(curves) - 1, *(cut - 1 for cut in cuts if cut > t)])
    begun = _light_edge(curves.luminance[first : t + 1][::-1], FADE_CONTRAST_START)
    over = _light_edge(curves.luminance[t : last + 1], FADE_CONTRAST_END)
    return None if begun is None else t - begun + 1, None if over is None else t + over


def _light_edge(steps: np.ndarray, contrast: float) -> int | None:
    """How many luminance steps from here on belong to a transition, or None if it has no clear end.

    While a picture fades or dissolves, the luminance changes at a steady rate; at the end the rate drops at once. A
    still stretch in between is the black (or white) in the middle.
    """
    since = at = 0
    while at + 1 < len(steps):
        rate = np.median(steps[max(at - 5, since) : at]) if at - since >= 3 else 0.0
        if max(steps[at], steps[at + 1]) < FADE_DROP * rate:
            moving = np.flatnonzero(steps[at : at + FADE_HOLD] > FADE_STILL)
            if len(moving) and moving[0] > 0 and steps[at + moving[0]] > 0.2 * rate:
                since = at = at + int(moving[0])
                continue
            outside = np.median(steps[at : at + 6])
            return at if rate > contrast * outside and rate > FADE_RATE else None
        at += 1
    return None


_RULES = {"robust": robust_rule, "untrimmednets": untrimmednets_rule, "threshold": threshold_rule}
RULES = tuple(_RULES)


def _around(x: np.ndarray, reach: int) -> np.ndarray:
    """(N,) -> (N, 2 reach + 1): every entry with its neighbours, reflected at the ends."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(x, reach, "reflect"), 2 * reach + 1)


def _activity(curves: ShotCurves) -> np.ndarray:
    """(N,) Median difference of successive frames around t: motion, grain and coding noise, but no cut."""
    activity = np.zeros(len(curves), np.float32)
    if len(curves) > 1:
        activity[1:] = np.median(_around(curves.lags[0][1:], MEDIAN_REACH), -1)  # entry 0 is no step
    return activity


def _strongest(transitions: list[Transition], min_shot: int) -> list[Transition]:
    """The transitions to keep if a shot must have min_shot frames, preferring the strongest; in temporal order."""
    chosen: list[Transition] = []
    for new in sorted(transitions, key=lambda transition: -transition.score):
        if all(new.start - old.end >= min_shot or old.start - new.end >= min_shot for old in chosen):
            chosen.append(new)
    return sorted(chosen, key=lambda transition: transition.start)
