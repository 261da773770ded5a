"""What holds for any table of segments, any curves, any time stamps, any number of shards."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eruv_dali.dataset.columns import SEGMENT
from eruv_dali.dataset.segments import cut_segments
from eruv_dali.errors import EruvError
from eruv_dali.loader.shards import numbers_of, rounds
from eruv_dali.pretext.eruv import RELATIONS, Eruv, EruvOptions
from eruv_dali.pretext.pretext import Setting
from eruv_dali.shots import RULES, ShotCurves, find_shots
from eruv_dali.video.index import FrameIndex
from eruv_dali.video.open import NO_PTS

SHOTS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 700)), max_size=8)  # frames of no shot, then of one


@given(SHOTS, st.integers(1, 400), st.integers(1, 400))
def test_segments_fill_their_shots_in_order(pieces, length, min_length):
    shots, end = [], 0
    for gap, frames in pieces:
        shots.append((end + gap, end + gap + frames))
        end += gap + frames
    cut = cut_segments(shots, length=length, min_length=min_length)
    for number, (first, last) in enumerate(shots):
        mine = [(start, stop) for shot, start, stop in cut if shot == number]
        lengths = [stop - start for start, stop in mine]
        assert all(min_length <= each <= length for each in lengths) and lengths[:-1] == [length] * len(lengths[:-1])
        assert all(before[1] == after[0] for before, after in zip(mine, mine[1:], strict=False))
        assert not mine or mine[0][0] == first
        assert last - first - sum(lengths) < min_length or length < min_length
    assert cut == sorted(cut)


@st.composite
def tables(draw):
    """Segments of a few videos: numbered in any order, of any length, some too short for a clip."""
    rows = []
    for video in range(draw(st.integers(1, 4))):
        for shot in range(draw(st.integers(1, 3))):
            for _ in range(draw(st.integers(1, 3))):
                start = draw(st.integers(0, 1000))
                rows.append((video, shot, start, start + draw(st.integers(1, 120))))
    numbers = draw(st.permutations(range(len(rows))))
    return np.array([(number, *row) for number, row in zip(numbers, rows, strict=True)], SEGMENT)


@given(tables(), st.integers(3, 20), st.sets(st.sampled_from(RELATIONS), min_size=1), st.integers(0, 2**63))
def test_pairs_lie_in_their_segments_and_mean_what_they_say(segments, clip_length, relations, seed):
    try:
        sampler = Eruv(segments, Setting(clip_length=clip_length, seed=seed), EruvOptions(relations=sorted(relations)))
    except EruvError as error:  # no segment can show one of them
        assert "\n" not in str(error)
        return
    rows = {int(row["segment"]): row for row in segments}
    for number in range(12):
        sample = sampler.sample(seed % 7, number)
        assert repr(sample) == repr(sampler.sample(seed % 7, number))
        assert sample.kind in relations
        i, j = sample.clips
        for clip in sample.clips:
            row, frames = rows[clip.segment], clip.frames
            assert (clip.video, clip.shot) == (row["video"], row["shot"]) and len(frames) == clip_length
            assert row["start"] <= frames.min() and frames.max() < row["end"]
            assert 0 <= clip.crop[0] <= 128 - 112 and 0 <= clip.crop[1] <= 171 - 112
        same = (i.video == j.video, (i.video, i.shot) == (j.video, j.shot), i.segment == j.segment)
        assert same[:2] == {"CV": (True, False), "CD": (False, False)}.get(sample.kind, (True, True))
        assert same[2] or sample.kind in ("CS", "CV", "CD")
        steps = np.diff(j.frames)
        disordered = sorted(j.frames) == list(range(j.frames.min(), j.frames.max() + 1)) and len(set(steps)) > 1
        assert {"PI": (steps == -1).all(), "PS": (steps == j.speed).all() and j.speed in (2, 4),
                "PD": disordered}.get(sample.kind, (steps == 1).all())
        assert (j.rotation in (90, 180, 270)) == (sample.kind == "CR")


CURVE = st.floats(0, 3, width=32)


@given(st.integers(0, 80).flatmap(lambda N: st.tuples(*(st.lists(CURVE, min_size=N, max_size=N) for _ in range(13)))),
       st.sampled_from(RULES), st.none() | st.floats(1e-3, 2), st.none() | st.integers(1, 30))
def test_shots_are_in_order_and_of_no_overlap(columns, rule, threshold, min_shot):
    rows = np.array(columns, np.float32).reshape(13, -1)
    N = rows.shape[1]
    curves = ShotCurves(hog=rows[0], luminance=rows[1], lags=rows[2:5], low=rows[5:8], window=rows[8],
                        window_low=rows[9:11], colour=rows[11:13],
                        grey=(80 * rows[:1].repeat(32, 0)).astype(np.uint8))
    shots = find_shots(curves, rule=rule, threshold=threshold, min_shot=min_shot)
    assert bool(shots) == (N > 0)
    end = 0
    for shot in shots:
        assert end <= shot.start < shot.end <= N
        assert len(shots) == 1 or shot.end - shot.start >= (min_shot or 1)
        end = shot.end


@given(st.lists(st.integers(-50, 200) | st.just(int(NO_PTS)), min_size=1, max_size=60), st.data())
def test_a_frame_is_found_by_its_time_stamp_alone(pts, data):
    key = data.draw(st.lists(st.booleans(), min_size=len(pts), max_size=len(pts)))
    index = FrameIndex(np.array(pts), np.array(key))
    assert index.keys.tolist() == [number for number, is_key in enumerate(key) if is_key]
    assert index.tagged == (NO_PTS not in pts and len(set(pts)) == len(pts))
    assert index.ordered == (index.tagged and pts == sorted(pts))
    for wanted in (None, 201, -51, data.draw(st.sampled_from(pts))):
        found = index.locate(wanted)
        if index.tagged:
            assert found == (pts.index(wanted) if wanted in pts else -1)
        else:
            assert found == -1 or pts[found] == wanted


@given(st.integers(1, 80), st.lists(st.tuples(st.integers(1, 7), st.integers(1, 6), st.integers(1, 9)), min_size=1,
                                    max_size=12), st.booleans())
def test_resharding_loses_and_repeats_nothing(items, plans, drop_last):
    """An epoch that is broken off and gone on with by other numbers of processes and other batches."""
    position, seen = 0, []
    for batch_size, shards, done in [*plans, (1, 1, items)]:
        numbers = [numbers_of(position, items, batch_size, shard, shards, drop_last) for shard in range(shards)]
        batches = {-(-len(some) // batch_size) for some in numbers}
        assert batches == {rounds(items - position, batch_size, shards, drop_last)}
        done = min(done, *batches)
        seen += [number for some in numbers for number in some[: done * batch_size]]
        position = min(position + done * batch_size * shards, items)
    whole = [number for number in seen if number < items]
    assert sorted(whole) == list(range(items))
    assert len(seen) == len(set(seen)) and len(seen) - len(whole) < 6
