"""From curves to shots: the rules that decide where one shot ends and the next begins.

Every rule works on `ShotCurves` alone, so another rule or threshold needs no new decoding.
"""

from dataclasses import dataclass

import numpy as np

from eruv_dali.errors import EruvError
from eruv_dali.shots.curves import ShotCurves
from eruv_dali.shots.network import transition_logits

# The published rules. d_t > 0.0715 is the paper's; UntrimmedNets (CVPR 2017), whose settings the paper uses, also
# requires that d_t stands out from its neighbourhood.
PUBLISHED_THRESHOLD = 0.0715
UNTRIMMEDNETS_WINDOW = 11
UNTRIMMEDNETS_SIGMAS = 1.5

# The robust rule. A network says how likely a cut or a gradual transition is; these say what is made of that. They were
# chosen on drawn edits, of the half of the clips that the network had not been taught on (docs/shot-detector.md).
MIN_SHOT = 6  # frames; runs of very short shots have such
CUT_THRESHOLD = 0.06  # evidence where the odds are ENOUGH
ENOUGH = 1.2  # logarithm of the odds (3.3): where the network learns, a cut counts twice, so it sees too many
EASED, MOST = 1 / 8, 20.0  # the evidence grows with this power of the odds; largest logarithm of the odds
# A gradual transition lasts from the first frame whose logarithm of the odds is above the one to the last one that is
# above the other. An uncertain end moves the start of the new shot, so it asks for more.
BEGINS, ENDS = -0.85, 1.1
GAP = 4  # frames; what is less apart is one gradual transition
LEAST = 3  # frames of a gradual transition


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
        threshold: replaces the rule's own: 0.0715 for the published ones, 0.06 for robust (see `transition_evidence`).
            With robust it is for both kinds; a lower one finds more cuts, and gradual transitions as before.
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
        return transition_evidence(curves)[0], CUT_THRESHOLD
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
    """Cuts and gradual transitions as a network sees them that was taught on drawn edits (see `network`)."""
    if len(curves) < 2:
        return []
    limit = CUT_THRESHOLD if limit is None else limit
    cut, gradual = transition_evidence(curves)
    found, within = [], np.zeros(len(curves), bool)
    for start, end in _joined(_runs(gradual > _evidence(BEGINS)), GAP):
        score = float(gradual[start:end].max())
        ends = np.flatnonzero(gradual[start:end] > min(_evidence(ENDS), score * (1 - 1e-6)))
        end = start + int(ends[-1]) + 1
        if score > limit and end - start >= LEAST:
            found.append(Transition(start, end, score))
            within[max(start - 1, 0) : end + 2] = True
    highest = _around(cut, MIN_SHOT - 1).max(-1)
    cuts = np.flatnonzero((cut > limit) & (cut == highest) & ~within)
    return found + [Transition(t, t, float(cut[t])) for t in cuts.tolist() if t > 0]


def transition_evidence(curves: ShotCurves) -> np.ndarray:
    """(2, N) How much speaks for a cut before each frame, and for its being within a gradual transition.

    CUT_THRESHOLD where the odds are 3.3 to 1 (ENOUGH); 2 ** (1 / 8) times that for every doubling of the odds.
    """
    return _evidence(np.clip(transition_logits(curves), -MOST, MOST))


def _evidence(logit):
    return np.float32(CUT_THRESHOLD) * np.exp(np.float32(EASED) * (logit - np.float32(ENOUGH)))


def _runs(of: np.ndarray) -> list[list[int]]:
    """[start, end) of each run of True."""
    return np.flatnonzero(np.diff(of, prepend=False, append=False)).reshape(-1, 2).tolist()


def _joined(runs: list[list[int]], gap: int) -> list[list[int]]:
    """The same, with runs that are at most `gap` apart made into one."""
    joined: list[list[int]] = []
    for start, end in runs:
        if joined and start - joined[-1][1] <= gap:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    return joined


_RULES = {"robust": robust_rule, "untrimmednets": untrimmednets_rule, "threshold": threshold_rule}
RULES = tuple(_RULES)


def _around(x: np.ndarray, reach: int) -> np.ndarray:
    """(N,) -> (N, 2 reach + 1): every entry with its neighbours, reflected at the ends."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(x, reach, "reflect"), 2 * reach + 1)


def _strongest(transitions: list[Transition], min_shot: int) -> list[Transition]:
    """The transitions to keep if a shot must have min_shot frames, preferring the strongest; in temporal order."""
    chosen: list[Transition] = []
    for new in sorted(transitions, key=lambda transition: -transition.score):
        if all(new.start - old.end >= min_shot or old.start - new.end >= min_shot for old in chosen):
            chosen.append(new)
    return sorted(chosen, key=lambda transition: transition.start)
