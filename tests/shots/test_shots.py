"""Shots: what the three rules make of videos whose cuts are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from drawn_shots import curves_like, curves_of, dissolve, film, flat_curves, intervals, shot
from places import benchmark

from eruv_dali.errors import EruvError
from eruv_dali.shots import RULES, ShotCurves, find_shots
from eruv_dali.shots.curves import LAGS


def test_rules_are_named():
    assert RULES == ("robust", "untrimmednets", "threshold")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("N", [0, 1, 2, 3, 5, 12, 32, 33, 34])
def test_short_videos(rule, N):
    frames = film(shot(1, 34))[:N]
    assert intervals(curves_of(frames), rule=rule) == ([(0, N)] if N else [])


@pytest.mark.parametrize("rule", RULES)
def test_cuts_are_found_to_the_frame(rule):
    curves = curves_of(film(shot(1, 40), shot(2, 25), shot(1, 60)))
    shots = find_shots(curves, rule=rule)
    assert [(s.start, s.end) for s in shots] == [(0, 40), (40, 65), (65, 125)]
    assert shots[0].score == 0 and shots[1].score > 0.06 and shots[2].score > 0.06


def test_threshold_is_the_papers_sentence():
    curves = curves_of(film(shot(1, 40, speed=3), shot(2, 40, speed=3)))
    for limit in (0.0715, 0.05, 0.2):
        above = np.flatnonzero(curves.hog > limit).tolist()
        assert [s.start for s in find_shots(curves, rule="threshold", threshold=limit)][1:] == above
    assert find_shots(curves, rule="threshold") == find_shots(curves, rule="threshold", threshold=0.0715)


def test_untrimmednets_asks_that_a_difference_stands_out():
    steps = np.full(60, 0.08, np.float32)
    steps[0], steps[30], steps[45] = 0, 0.12, 0.0801
    curves = curves_like(np.tile(steps, (len(LAGS), 1)), steps)
    around = steps[25:36]
    assert steps[30] > around.mean() + 1.5 * around.std() > steps[31]
    starts = [s.start for s in find_shots(curves, rule="untrimmednets")]
    assert starts == [0, 30, 45]
    assert [s.start for s in find_shots(curves, rule="untrimmednets", threshold=0.1)] == [0, 30]
    assert len(find_shots(curves, rule="threshold")) == 60


def test_robust_sees_through_flashes():
    for length in range(1, 9):
        frames = film(shot(1, 80, speed=0.3)).astype(np.int32)
        frames[40 : 40 + length] = 250
        assert intervals(curves_of(frames.astype(np.uint8))) == [(0, 80)], length


def test_robust_sees_through_what_is_drawn_over_a_part_of_the_picture():
    frames, other = film(shot(1, 80)), film(shot(2, 80))
    frames[40:, 48:, :96] = other[40:, 48:, :96]
    curves = curves_of(frames)
    assert np.argmax(curves.lags[0]) == 40 and curves.lags[0][40] > 0.03 > 2 * curves.low[0][40]
    assert intervals(curves) == [(0, 80)]


@pytest.mark.parametrize("length", [10, 20])
def test_a_slide_of_moving_pictures_is_found(length):
    """All the while both shots move, so that HOG differs from frame to frame."""
    tint = np.array([1, 0.3, 0.1])
    a, b = shot(1, 60 + length, speed=1.5), shot(2, 60 + length, speed=1.5) * tint
    moved = a[60:].copy()
    for n in range(length):
        edge = 128 * (n + 1) // (length + 1)
        moved[n, :, 128 - edge :] = b[n, :, :edge]
    shots = find_shots(curves_of(film(a[:60], moved, b[length:])))
    assert len(shots) == 2 and 58 <= shots[1].start <= 62 + length


def test_robust_sees_through_a_passing_object():
    """It covers nearly all of frames 42 and 43 and tumbles, so that neither looks like the other or any before."""
    frames, thing = film(shot(1, 80)), film(shot(2, 1))[0]
    for t, left, right in ((41, 0, 40), (42, 0, 115), (43, 13, 128), (44, 88, 128)):
        frames[t, :, left:right] = thing[:: 1 if t < 43 else -1, : right - left]
    curves = curves_of(frames)
    assert (curves.hog > 0.0715).any()
    assert intervals(curves) == [(0, 80)]


def test_robust_finds_no_cut_where_every_frame_is_unlike_the_last():
    curves = curves_of(film(*(shot(seed, 1) for seed in range(40))))
    assert curves.lags[0][1:].min() > 0.06
    assert intervals(curves) == [(0, 40)]


def test_robust_finds_no_cut_in_a_pan_or_in_grain():
    assert intervals(curves_of(film(shot(1, 60, speed=1.8), grain=0))) == [(0, 60)]
    assert intervals(curves_of(film(np.full((60, 96, 128, 3), 80.0), grain=3))) == [(0, 60)]


@pytest.mark.parametrize("length", [10, 20, 30])
def test_a_dissolve_is_an_interval_of_its_own(length):
    a, b = shot(1, 60 + length), shot(2, 60 + length)
    frames = film(a[:60], dissolve(a[60:], b[:length], length), b[length:])
    first, second = find_shots(curves_of(frames))
    assert abs(first.end - 60) <= 4 and abs(second.start - (60 + length)) <= 4
    assert first.end < second.start and second.score > 0


@pytest.mark.parametrize("way", ["wipe", "slide", "push"])
@pytest.mark.parametrize("speed", [0.0, 1.5])
def test_both_ends_of_a_transition_that_moves_are_found(way, speed):
    """Whether the shots move or not: at most a few frames of the old shot are lost, and none of the other is left."""
    length, tint = 16, np.array([1, 0.3, 0.1])
    a, b = shot(1, 60 + length, speed=speed), shot(2, 60 + length, speed=speed) * tint
    between = a[60:].copy()
    for n in range(length):
        edge = 128 * (n + 1) // (length + 1)
        if way == "push":
            between[n, :, : 128 - edge] = a[60 + n, :, edge:]
        between[n, :, 128 - edge :] = b[n, :, 128 - edge :] if way == "wipe" else b[n, :, :edge]
    first, second = find_shots(curves_of(film(a[:60], between, b[length:])))
    assert (60 - 8 if speed else 60 - 2) <= first.end <= 60 + 1 and -1 <= second.start - (60 + length) <= 2
    assert second.transition == "gradual"


@pytest.mark.parametrize("speeds", [(1.8, 0), (0, 1.8), (1.8, 1.8)])
def test_a_cut_beside_fast_motion_is_no_transition(speeds):
    shots = find_shots(curves_of(film(*(shot(seed, 60, speed=speed) for seed, speed in enumerate(speeds, 1)))))
    assert [(s.start, s.end, s.transition) for s in shots] == [(0, 60, ""), (60, 120, "cut")]


def test_a_run_of_very_short_shots_is_found():
    starts = np.cumsum([30, 6, 7, 6, 9, 6])
    frames = film(*(shot(seed, length) for seed, length in enumerate([30, 6, 7, 6, 9, 6, 40], 1)))
    assert [s.start for s in find_shots(curves_of(frames), threshold=0.045)] == [0, *starts]
    assert len(find_shots(curves_of(frames), threshold=0.045, min_shot=8)) < len(starts)


@pytest.mark.parametrize("hold", [0, 1, 6])
def test_a_fade_through_black_is_an_interval_from_end_to_end(hold):
    a, b = shot(1, 75), shot(2, 80)
    black = np.zeros_like(a[:1])
    frames = film(a[:60], dissolve(a[60:], black, 15), np.repeat(black, hold, 0), dissolve(black, b[:20], 20), b[20:])
    first, second = find_shots(curves_of(frames))
    assert abs(first.end - 60) <= 2 and -3 <= second.start - (95 + hold) <= 2
    assert (second.transition, second.transition_start) == ("gradual", first.end)


def test_a_cut_beside_a_change_of_light_stays_a_cut():
    a, b = shot(1, 60), shot(2, 60)
    dimmed = b * np.concatenate([np.full(5, 0.3), np.linspace(0.3, 1, 20), np.ones(35)])[:, None, None, None]
    shots = find_shots(curves_of(film(a, dimmed)))
    assert [(s.start, s.end, s.transition) for s in shots] == [(0, 60, ""), (60, 120, "cut")]


def test_minimum_shot_length_is_kept_and_the_strongest_stand():
    curves = flat_curves(200, f40=0.1, f50=0.3, f61=0.2, f120=0.2)
    for min_shot, wanted in ((10, [(0, 40), (40, 50), (50, 61), (61, 120), (120, 200)]),
                             (11, [(0, 50), (50, 61), (61, 120), (120, 200)]),
                             (12, [(0, 50), (50, 120), (120, 200)])):
        assert intervals(curves, rule="threshold", min_shot=min_shot) == wanted


def test_a_short_piece_at_either_end_belongs_to_no_shot():
    curves = flat_curves(100, f5=0.2, f50=0.2, f97=0.2)
    assert intervals(curves, rule="threshold", min_shot=8) == [(5, 50), (50, 97)]
    assert intervals(flat_curves(30, f15=0.2), min_shot=20) == [(0, 30)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("min_shot", [1, 5, 12, 48])
def test_shots_of_any_curves_are_in_order_and_long_enough(rule, min_shot):
    rng = np.random.default_rng(3)
    lags = rng.exponential(0.05, (len(LAGS), 500)).astype(np.float32)
    curves = curves_like(lags, lags[1])
    shots = find_shots(curves, rule=rule, min_shot=min_shot)
    assert all(s.end - s.start >= min_shot for s in shots)
    assert all(a.end <= b.start for a, b in zip(shots, shots[1:], strict=False)) and shots[-1].end <= 500


@pytest.mark.parametrize(
    ("options", "names"),
    [({"rule": "best"}, "'best'"), ({"threshold": 0}, "threshold 0"), ({"min_shot": 0}, "min_shot 0")],
)
def test_bad_options_are_named(options, names):
    with pytest.raises(EruvError, match=names):
        find_shots(flat_curves(10), **options)


@pytest.mark.parametrize(
    ("name", "rule", "threshold", "least"),
    [
        ("dev_same", "robust", None, 0.96),
        ("dev_same", "untrimmednets", None, 0.93),
        ("dev_same", "threshold", 0.09, 0.90),
    ],
)
def test_known_cuts_of_a_made_film(real_videos, name, rule, threshold, least):
    path = real_videos / "shots_synthetic" / f"{name}.mp4"
    scoring = benchmark("detection/scoring")
    events = json.loads(path.with_suffix(".json").read_text())["events"]
    found = [s.start for s in find_shots(decoded(path), rule=rule, threshold=threshold)][1:]
    hits, false = scoring.score(events, found)
    assert scoring.f1(hits, false, len(events)) >= least


@pytest.mark.parametrize("name", ["weizmann", "ut_interaction"])
def test_no_false_cut_in_single_takes(real_videos, name):
    every = sorted((real_videos / name).rglob("*.avi"))
    hard = {"24_5_0.avi", "4_1_0.avi", "8_2_0.avi"}  # people walk in on a pavement whose grain codes badly
    paths = every[::12] + [path for path in every if path.name in hard]
    assert paths
    for path in paths:
        curves = decoded(path)
        assert intervals(curves) == [(0, len(curves))], path.name


_curves: dict[Path, ShotCurves] = {}


def decoded(path: Path) -> ShotCurves:
    if path not in _curves:
        _curves[path] = benchmark("detection/detectors").read_curves(path, device="cpu")
    return _curves[path]
