"""The shots of a recorded video under the settings of a DATASET: rule, threshold, shortest shot, range of time."""

from dataclasses import replace
from typing import Any

from eruv_dali.dataset.records import Record
from eruv_dali.shots import Shot, find_shots


def shots_of(record: Record, settings: dict[str, Any]) -> list[Shot]:
    """Shots, in order; only the parts of them between the seconds `start` and `end`, if these are set.

    A shot that is cut off by `start`, or whose transition is, begins the range: score 0 and no transition. What is left
    of a shot at either end may be shorter than the shortest shot.

    Args:
        settings: `rule`, `threshold`, and, where not None: `min_shot`, `start` and `end` (in early DATASETs absent).
    """
    shots = find_shots(record.curves, rule=settings["rule"], threshold=settings["threshold"],
                       min_shot=settings.get("min_shot"))
    first, last = frames_within(record, settings)
    within = []
    for shot in shots:
        if shot.start < first < shot.end or shot.transition_start < first == shot.start:
            shot = Shot(first, shot.end, 0.0, first)
        if first <= shot.start < last:
            within.append(replace(shot, end=min(shot.end, last), transition_start=max(shot.transition_start, first)))
    return within


def frames_within(record: Record, settings: dict[str, Any]) -> tuple[int, int]:
    """The first frame and the end of those between the seconds `start` and `end` of the settings; of all, if unset."""
    begin, end = settings.get("start"), settings.get("end")
    if begin is None and end is None:
        return 0, len(record.frames)
    times = record.times()[:-1]
    return (int(times.searchsorted(begin - 1e-6)) if begin is not None else 0,
            int(times.searchsorted(end - 1e-6)) if end is not None else len(times))
