"""From curves to shots: the rules that decide where one shot ends and the next begins.

Every rule works on `ShotCurves` alone, so another rule or threshold needs no new decoding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eruv_dali.errors import EruvError
from eruv_dali.shots.curves import DARK, EDGE, EDGES, LAGS, SPANS, WINDOW, ShotCurves

# The published rules. d_t > 0.0715 is the paper's; UntrimmedNets (CVPR 2017), whose settings the paper uses, also
# requires that d_t stands out from its neighbourhood.
PUBLISHED_THRESHOLD = 0.0715
UNTRIMMEDNETS_WINDOW = 11
UNTRIMMEDNETS_SIGMAS = 1.5

# The robust rule. The constants were chosen on 8 synthetic videos (312 cuts, dissolves and fades; flashes, occluders,
# light switches), 90 videos of edits drawn out of real clips (benchmarks/edits.py, one half) and 128 real single takes.
# docs/shot-detector.md has the figures, also for constants chosen without the videos they are scored on.
MIN_SHOT = 6  # frames; runs of very short shots have such
# A cut's difference minus 0.4 of the fifth largest step of the 25 around it: steady motion gives no cut, nor does a
# disturbance in a shot that moves, with large steps at both ends and often between. At 0.35 a hand-held pan is cut.
CUT_THRESHOLD = 0.06
PAIRS = ((1, 0), (1, 4), (5, 0), (5, 4), (1, 8), (9, 0))  # frames before and after the step that are compared
CUT_STEPS, CUT_RANK = 0.4, 5
CUT_LOW = 1.7  # the regions that change least need only 1 / 1.7 of it
# A gradual transition's change between the windows before and after, minus half of its own value 20 frames earlier
# and later (a pan changes there too) and minus 0.9 of the median step (people moving and coding noise make many
# steps without lasting change; a dissolve leads from one picture to another).
GRADUAL_THRESHOLD = 0.015
GRADUAL_MEDIAN = 0.9
GRADUAL_LOW = 1.4
GRADUAL_ELSEWHERE = 20
GRADUAL_RUN = 6  # frames in a row above the threshold
GRADUAL_CLEAR = 16  # frames from a cut: nearer than this the windows contain the cut itself
# The same where pictures move. Weights by a logistic regression on 11,000 frames of edited web videos (one half of what
# benchmarks/edits.py draws) and of the 8 videos, level by F1 on both.
MOVING_ELSEWHERE = 0.7
MOVING_COLOUR, MOVING_COLOUR_ELSEWHERE = 0.12, 0.07
MOVING_STEPS = 0.6
MOVING_LEVEL = 0.09
# The larger of the two counts, but at most 0.55 of the share of the brightness by which those 11 of the 32 parts of the
# picture change that change least: bars, a panel or a forearm that fills much of it leave the rest as it is.
GRADUAL_PARTS, LEAST_PARTS = 0.55, 11
# Where a gradual transition begins and ends (see `_begins`): what the product of four must exceed on average. An
# uncertain start costs frames of the old shot; an uncertain end moves the start of the new one, so it asks for more.
START_LIMIT, END_LIMIT = 0.05, 0.13
REACH = 42  # frames to either side of where it was found
GUESS = 16  # frames to either side that are taken for it at first
ROUNDS = 2
# Added to the four before they are compared: HOG difference, grey levels, share of the way, share of the colours. With
# less, the noise of still pictures counts.
STRUCTURE, GREY, PROGRESS, COLOUR = 0.004, 0.4, 0.01, 0.02
LIGHT = 128  # grey levels that count as much as all colours changed
LOCAL = 6  # of the 32 parts of the picture: those that change most beyond what is usual there
BESIDE = 8  # frames whose mean is the picture before the transition
LEAST = 3  # steps; fewer are a cut
CUT_JUMP, CUT_BESIDE = 3.3, 3  # a cut's step is so many times larger than so many steps on either side (`stands_out`)
CUT_NEAR, CUT_SHARE = 12, 0.8  # frames around a slow change where a cut is looked for; of the largest step there
MEDIAN_REACH = 12  # frames on either side


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
        """What starts the shot: "cut", "gradual", or "" for nothing that was found: the start of what was looked at."""
        return "" if self.score == 0 else "cut" if self.transition_start == self.start else "gradual"


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
        min_shot: fewest frames of a shot; None is 6 for robust and 1, which is no limit, for the published rules.
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
    apart = colours_apart(curves)
    return [Transition(*cut_interval(curves, apart, t, cuts), float(cut[t])) for t in cuts] + [
        Transition(*gradual_interval(curves, apart, t, cuts), float(gradual[t])) for t in peaks
    ]


def cut_evidence(curves: ShotCurves) -> np.ndarray:
    """(N,) How much the picture changes, for good, between t-1 and t.

    The smallest of six differences across that step. A flash is gone at t+4, or was not yet there at t-5, and a longer
    disturbance, of up to eight frames, is gone at t+8 or was not yet there at t-9; an object that sweeps past is gone
    if both sides are compared. So is a shot of up to eight frames between two of the same picture.

        t-9   .   .   .   t-5   .   .   .  t-1 | t   .   .   .  t+4   .   .   .  t+8
    """
    activity = np.float32(CUT_STEPS) * _activity(curves, 2 * MEDIAN_REACH + 1 - CUT_RANK)
    return np.minimum(_lasting(curves.lags) - activity, np.float32(CUT_LOW) * (_lasting(curves.low) - activity))


def _lasting(lags: np.ndarray) -> np.ndarray:
    """(3, N) differences at LAGS -> (N,) the smallest of those of the PAIRS of frames around each step."""
    N = lags.shape[1]

    def between(before: int, after: int) -> np.ndarray:
        """Difference of frames t-before and t+after; infinite, so that the minimum ignores it, if one is missing."""
        difference = np.full(N, np.inf, np.float32)
        known = lags[LAGS.index(before + after)][before + after :]
        difference[before : before + len(known)] = known
        return difference

    change = np.minimum.reduce([between(*pair) for pair in PAIRS])
    change[0] = 0
    return change


def gradual_evidence(curves: ShotCurves) -> np.ndarray:
    """(N,) How much the picture changes, slowly and for good, around t; 0 near the ends, where it is unknown.

    The larger of two, limited by the change of those parts of the picture that change least: another shot leaves few as
    they were. The one is for dissolves and fades of pictures that hardly move. Where shots move, or the transition
    itself does (a slide, a wipe, a whip pan), HOG differs between any two windows; so the other also looks at colours,
    which motion within a shot changes little.
    """
    N = len(curves)
    evidence = np.zeros(N, np.float32)
    if N > 2 * EDGE:
        t = np.arange(EDGE, N - EDGE)
        activity = _activity(curves, MEDIAN_REACH)[t]

        def around(curve: np.ndarray, edge: int) -> np.ndarray:
            return 0.5 * (curve[np.maximum(t - GRADUAL_ELSEWHERE, edge)]
                          + curve[np.minimum(t + GRADUAL_ELSEWHERE, N - edge - 1)])

        low = curves.window_low[1]
        still = np.minimum(curves.window[t] - around(curves.window, EDGE) - GRADUAL_MEDIAN * activity,
                           GRADUAL_LOW * (low[t] - around(low, EDGE) - GRADUAL_MEDIAN * activity))
        moving = (curves.window_low[1, t] - MOVING_ELSEWHERE * around(curves.window_low[0], EDGES[0])
                  + MOVING_COLOUR * curves.colour[1, t] - MOVING_COLOUR_ELSEWHERE * around(curves.colour[0], EDGES[0])
                  + MOVING_STEPS * activity - MOVING_LEVEL)
        evidence[t] = np.minimum(np.maximum(still, moving), GRADUAL_PARTS * _least_parts(curves))
    return evidence


def _least_parts(curves: ShotCurves) -> np.ndarray:
    """(N - 2 EDGE,) For t = EDGE, EDGE + 1, ...: by what share of the picture's brightness the parts that change least
    do so from the window before t to the one after it."""
    sums = np.cumsum(np.pad(curves.grey, ((0, 0), (1, 0))), 1, dtype=np.int64)
    means = (sums[:, WINDOW:] - sums[:, :-WINDOW]) / np.float32(WINDOW)
    before, after = means[:, : -SPANS[-1]], means[:, SPANS[-1] :]
    light = (before + after).mean(0) / 2
    change = np.partition(np.abs(after - before), LEAST_PARTS - 1, 0)[:LEAST_PARTS].mean(0)
    return change / (light + DARK)


def colours_apart(curves: ShotCurves) -> np.ndarray:
    """(N,) How different the colours 4 to 12 frames later are from those 4 to 12 frames earlier; 0 near the ends.

    Or the brightness, if that differs more: a fade to black changes it, but not the colours, which leave out the light.
    """
    apart, span, edge = curves.colour[0].copy(), SPANS[0], EDGES[0]
    if len(apart) > 2 * edge:
        level = np.convolve(curves.grey.mean(0), np.full(WINDOW, 1 / WINDOW), "valid")
        apart[edge:-edge] = np.maximum(apart[edge:-edge], np.abs(level[span:] - level[:-span]) / LIGHT)
    return apart


def gradual_interval(curves: ShotCurves, apart: np.ndarray, t: int, cuts: Sequence[int]) -> tuple[int, int]:
    """First frame after the old shot and first frame of the new one, of the gradual transition around t.

    Equal numbers for a cut that stayed below the cut threshold: the windows of the gradual evidence see it too.
    """
    steps, near = curves.lags[0], range(max(t - CUT_NEAR, 1), min(t + CUT_NEAR + 1, len(curves)))
    least = CUT_SHARE * steps[near.start : near.stop].max()
    alike = [s for s in near if steps[s] >= least and stands_out(curves, s, cuts)]
    if alike:
        cut = max(alike, key=lambda s: float(steps[s]))
        return cut, cut
    start, end = transition_interval(curves, apart, t, cuts)
    if end - start < LEAST:
        start = end = start + int(steps[start : end + 1].argmax())
    return start, end


def cut_interval(curves: ShotCurves, apart: np.ndarray, t: int, cuts: Sequence[int]) -> tuple[int, int]:
    """The same for a cut at t that may be the darkest moment of a fade, or the middle of a whip pan or a spin."""
    if stands_out(curves, t, cuts):
        return t, t
    start, end = transition_interval(curves, apart, t, cuts)
    return (start, end) if end - start >= LEAST else (t, t)


def stands_out(curves: ShotCurves, t: int, cuts: Sequence[int]) -> bool:
    """Whether the step to frame t is far larger than those beside it, in structure and in luminance, as a cut's is.

    In the middle of a fade the luminance changes as much before and after; in a whip pan or a slide, the structure. In
    a shot that moves so all the time that means less: what counts is the geometric mean of the steps beside it and of
    how much larger they are than the least, at other times on the same side.
    """
    first, last = _range(len(curves), t, cuts)
    for steps in (curves.lags[0], curves.luminance):
        sides = [side for side in (steps[first:t][::-1], steps[t + 1 : last + 1]) if len(side)]
        beside = np.median(np.concatenate([side[:CUT_BESIDE] for side in sides])) if sides else 0.0
        more = [max(float(np.median(side[:CUT_BESIDE]) - side[CUT_BESIDE:].min()), 0.0)
                for side in sides if len(side) > 2 * CUT_BESIDE]
        if not steps[t] > CUT_JUMP * np.sqrt(beside * (np.mean(more) if more else beside)):
            return False
    return True


def _range(N: int, t: int, cuts: Sequence[int]) -> tuple[int, int]:
    """First and last step to look at, around step t: up to REACH frames away, and not beyond the next cuts."""
    return (max([t - REACH, 1, *(cut + 1 for cut in cuts if cut < t)]),
            min([t + REACH, N - 1, *(cut - 1 for cut in cuts if cut > t)]))


def transition_interval(curves: ShotCurves, apart: np.ndarray, t: int, cuts: Sequence[int]) -> tuple[int, int]:
    """First and last step of the transition around step t; both t if no other step is of it.

    What is usual before and after the transition decides what belongs to it, so it takes a guess and repeats. The end
    is where it begins when the video runs backwards.
    """
    first, last = _range(len(curves), t, cuts)
    begin = max(first - 2, 0)
    part = slice(begin, last + 2)
    structure, colour, grey = curves.low[0, part], apart[part], curves.grey[:, part].T.astype(np.float32)
    t, first, last, N = t - begin, first - begin, last - begin, len(structure)

    def backwards(steps: np.ndarray) -> np.ndarray:  # step t, between frames t-1 and t, becomes step N-t
        return np.append(steps[:1], steps[:0:-1])

    start, end = max(t - GUESS, first), min(t + GUESS, last)
    for _ in range(ROUNDS):
        start = _begins(structure, colour, grey, t, first, start, START_LIMIT)
        end = N - _begins(backwards(structure), backwards(colour), grey[::-1], N - t, N - last, N - end, END_LIMIT)
    return begin + start, begin + end


def _begins(structure: np.ndarray, colour: np.ndarray, grey: np.ndarray, t: int, first: int, guess: int,
            limit: float) -> int:
    """The first step of the transition around step t, at least `first`, if those before step `guess` are not of it.

    A step speaks for the transition or against it, by the product of four:
        how much the structure changes, compared with before;
        how much the brightness does, compared with before, in the parts of the picture where it does most (a wipe's
        edge is narrow, and the end of a slide slow);
        how far the picture gets on the way from the old one to that at t: what moves in a shot comes and goes;
        how far apart the colours are some frames earlier and later, which motion changes little.
    It begins where the steps from there on speak for it most.
    """
    if t <= first:
        return t
    steps, before = np.arange(first, t), max(guess - 1 - first, 3)
    changed = (structure[steps] + STRUCTURE) / (np.median(structure[steps[:before]]) + STRUCTURE)
    parts = np.abs(grey[steps] - grey[steps - 1]) + GREY
    moved = np.sort(np.log(parts / (np.median(parts[:before] - GREY, 0) + GREY)), 1)[:, -LOCAL:].mean(1)
    old = grey[max(guess - 1 - BESIDE, first - 1) : max(guess - 1, first + 1)].mean(0)
    way = grey[t] - old
    since = max(first - 2, 0)
    gone = (grey[since : t + 2] - old) @ way / max(float(way @ way), 1.0)  # 0: the old picture, 1: that at t
    ahead, behind = np.minimum(steps + 1, since + len(gone) - 1), np.maximum(steps - 2, since)
    progress = np.abs(gone[ahead - since] - gone[behind - since]) / 3  # a frame, over three: videos repeat frames
    speaks = np.log(changed * (progress + PROGRESS) * (colour[steps] + COLOUR) / limit) + moved
    total = np.cumsum(speaks[::-1])
    return t - 1 - int(total.argmax()) if total.max() > 0 else t


_RULES = {"robust": robust_rule, "untrimmednets": untrimmednets_rule, "threshold": threshold_rule}
RULES = tuple(_RULES)


def _around(x: np.ndarray, reach: int) -> np.ndarray:
    """(N,) -> (N, 2 reach + 1): every entry with its neighbours, reflected at the ends."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(x, reach, "reflect"), 2 * reach + 1)


def _activity(curves: ShotCurves, rank: int) -> np.ndarray:
    """(N,) Of the differences of successive frames up to MEDIAN_REACH around t, the one of that rank; 0 is the least.

    The middle one, of rank MEDIAN_REACH, is motion, grain and coding noise, but no cut.
    """
    activity = np.zeros(len(curves), np.float32)
    if len(curves) > 1:  # entry 0 is no step
        activity[1:] = np.partition(_around(curves.lags[0][1:], MEDIAN_REACH), rank, -1)[:, rank]
    return activity


def _strongest(transitions: list[Transition], min_shot: int) -> list[Transition]:
    """The transitions to keep if a shot must have min_shot frames, preferring the strongest; in temporal order."""
    chosen: list[Transition] = []
    for new in sorted(transitions, key=lambda transition: -transition.score):
        if all(new.start - old.end >= min_shot or old.start - new.end >= min_shot for old in chosen):
            chosen.append(new)
    return sorted(chosen, key=lambda transition: transition.start)
