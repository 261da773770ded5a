"""Every relation means what it says, relations are drawn uniformly, and a draw is a pure function of its place."""

from collections import Counter

import numpy as np
import pytest

from eruv_dali.dataset.columns import SEGMENT
from eruv_dali.dataset.segments import cut_segments
from eruv_dali.errors import EruvError
from eruv_dali.pretext.eruv import RELATIONS, Eruv, EruvOptions
from eruv_dali.pretext.pretext import Setting, trimmed_segments

# segment, video, shot, start, end: video 0 has two shots, the first of two segments; video 1 has one shot.
SEGMENTS = np.array(
    [(0, 0, 0, 0, 300), (1, 0, 0, 300, 360), (2, 0, 1, 360, 430), (3, 1, 0, 0, 48), (4, 2, 0, 10, 80),
     (5, 2, 3, 90, 290)], SEGMENT,
)


def eruv(segments=SEGMENTS, *, relations=RELATIONS, **setting):
    return Eruv(segments, Setting(**setting), EruvOptions(relations=list(relations)))


def pairs(sampler, count=3000, epoch=0):
    return [sampler.sample(epoch, number) for number in range(count)]


def by_segment(clip):
    return SEGMENTS[clip.segment]


def test_every_relation_means_what_it_says():
    seen = set()
    for pair in pairs(eruv()):
        i, j = pair.clips
        seen.add(pair.kind)
        for clip in pair.clips:
            segment = by_segment(clip)
            assert (clip.video, clip.shot) == (segment["video"], segment["shot"])
            assert len(clip.frames) == 16
            assert segment["start"] <= clip.frames.min() and clip.frames.max() < segment["end"]
            assert 0 <= clip.crop[0] <= 16 and 0 <= clip.crop[1] <= 59
        assert np.all(np.diff(i.frames) == 1) and i.rotation == 0 and i.speed == 1
        if pair.kind in ("CS", "CV", "CD", "CR"):
            assert np.all(np.diff(j.frames) == 1)
        if pair.kind == "CS":
            assert (i.video, i.shot) == (j.video, j.shot)
            assert (i.segment == j.segment) == (i.segment not in (0, 1))  # two segments of the shot where it has two
        elif pair.kind == "CV":
            assert i.video == j.video and i.shot != j.shot
        elif pair.kind == "CD":
            assert i.video != j.video
        else:
            assert i.segment == j.segment
        if pair.kind == "PI":
            assert np.all(np.diff(j.frames) == -1)
        if pair.kind == "PD":
            steps = np.diff(j.frames)
            assert sorted(j.frames) == list(range(j.frames.min(), j.frames.min() + 16))
            assert not np.all(steps == 1) and not np.all(steps == -1)
        assert j.rotation in ((90, 180, 270) if pair.kind == "CR" else (0,))
        if pair.kind == "PS":
            assert j.speed in ((2, 4) if by_segment(j)["end"] - by_segment(j)["start"] >= 61 else (2,))
            assert np.all(np.diff(j.frames) == j.speed)
        else:
            assert j.speed == 1
    assert seen == set(RELATIONS)


def test_relations_angles_and_speeds_are_drawn_uniformly():
    drawn = pairs(eruv(), 7000)
    counts = Counter(pair.kind for pair in drawn)
    assert all(abs(counts[relation] - 1000) < 120 for relation in RELATIONS)  # 4 standard deviations
    angles = Counter(pair.clips[1].rotation for pair in drawn if pair.kind == "CR")
    assert all(angles[angle] > counts["CR"] / 4 for angle in (90, 180, 270))
    speeds = Counter(pair.clips[1].speed for pair in drawn if pair.kind == "PS" and pair.clips[1].segment == 0)
    assert speeds[2] > 40 and speeds[4] > 40


def test_positions_and_crops_are_independent():
    drawn = [pair.clips for pair in pairs(eruv(relations=["CR"])) if pair.clips[0].segment == 0]
    for value in (lambda clip: clip.frames[0], lambda clip: clip.crop[0], lambda clip: clip.crop[1]):
        first, second = np.array([[value(clip) for clip in clips] for clips in drawn]).T
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.2
        assert len(np.unique(first)) > 10


def test_an_epoch_shows_every_segment_once():
    sampler = eruv(relations=["CS", "CR"])
    assert sorted(pair.clips[0].segment for pair in pairs(sampler, len(sampler))) == list(range(6))
    orders = {tuple(pair.clips[0].segment for pair in pairs(sampler, 6, epoch)) for epoch in range(8)}
    assert len(orders) > 4


def test_a_draw_depends_on_its_place_alone():
    forwards = pairs(eruv(seed=5), 50, epoch=3)
    sampler = eruv(seed=5)
    backwards = [sampler.sample(3, number) for number in reversed(range(50))][::-1]
    assert repr(forwards) == repr(backwards)
    assert repr(forwards) != repr(pairs(eruv(seed=6), 50, epoch=3))


def test_trimmed_videos():
    segments = trimmed_segments([60, 40, 20, 10])
    sampler = eruv(segments, trimmed=True)
    assert sampler.kinds == ("CS", "CR", "PI", "PD", "PS")
    for pair in pairs(sampler, 500):
        i, j = pair.clips
        assert i.video == j.video and i.video < 3  # the video of 10 frames has no clip
        assert pair.kind != "PS" or i.video < 2  # 31 frames do not fit into 20


def test_any_subset():
    assert {pair.kind for pair in pairs(eruv(relations=["PI", "CD"]), 100)} == {"PI", "CD"}


@pytest.mark.parametrize("segments, options, message", [
    (SEGMENTS, dict(relations=["CX"]), "'CX' is not one of CS, CV"),
    (SEGMENTS, dict(relations=["CS", "CS"]), "one twice"),
    (SEGMENTS, dict(relations=["CV"], trimmed=True), "leave nothing"),
    (SEGMENTS, dict(crop=129), "129 does not fit"),
    (SEGMENTS, dict(clip_length=2), "clip_length 2"),
    (SEGMENTS, dict(clip_length=301), "no segment has the 301 frames that eruv needs"),
    (SEGMENTS[3:4], {}, "CV needs a video of two shots.*add videos, or leave CV out \\(relations=CS,CD,CR,PI,PD,PS"),
    (SEGMENTS[3:4], dict(relations=["CS", "CV"]), "CV needs a video of two shots.*add videos$"),
    (SEGMENTS[:3], {}, "CD needs two videos"),
    (SEGMENTS[[0, 2, 4]], dict(clip_length=250), "CV needs"),
])
def test_bad_arguments(segments, options, message):
    with pytest.raises(EruvError, match=message):
        eruv(segments, **options)


def test_segments():
    assert cut_segments([(0, 650), (650, 690), (700, 748)]) == [
        (0, 0, 300), (0, 300, 600), (0, 600, 650), (2, 700, 748)]
    assert cut_segments([(0, 100)], length=40, min_length=20) == [(0, 0, 40), (0, 40, 80), (0, 80, 100)]
