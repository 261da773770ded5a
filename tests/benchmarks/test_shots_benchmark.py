"""The benchmark of shot detection: what it counts as found."""

import json
from argparse import Namespace

import pytest
from places import benchmark

from eruv_dali.shots import Shot


def test_each_event_is_matched_once():
    score = benchmark("detection/scoring").score
    events = [{"a": 9, "b": 10, "type": "cut"}, {"a": 50, "b": 70, "type": "fade"}]
    assert score(events, [8, 49]) == (2, 0)
    assert score(events, [12, 72]) == (2, 0)
    assert score(events, [7, 13, 48, 73]) == (0, 4)
    assert score(events, [9, 10, 55, 60]) == (2, 2)


def test_the_benchmark_scores_what_is_known_of_a_video(videos, tmp_path):
    shots = benchmark("detection/scoring")
    path = videos / "long" / "a.mp4"
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"videos": {str(path): {"cuts": [167, 334, 400]}}}))
    options = dict(videos=[videos], device="cpu")
    arguments = Namespace(**options, truth=truth, single_take=False)
    known = shots.measure_accuracy([path], ["robust", "threshold=9"], arguments)
    assert known["totals"]["robust"]["f1"] == pytest.approx(0.8) and known["totals"]["threshold=9"]["f1"] == 0
    take = shots.measure_accuracy([path], ["robust"], Namespace(**options, truth=None, single_take=True))
    assert (take["totals"]["robust"]["false"], take["totals"]["robust"]["hits"]) == (2, 0)


def test_frames_left_in_shots_and_lost_from_them_are_counted():
    scoring = benchmark("detection/scoring")
    events = [{"a": 9, "b": 20}, {"a": 39, "b": 40}]
    found = [Shot(0, 12, 0.0, 0), Shot(18, 38, 0.1, 12), Shot(42, 60, 0.1, 38)]
    assert scoring.frames_left(events, found, 60) == {"between": 10, "left": 4, "lost": 4}
