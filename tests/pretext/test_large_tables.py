"""What a pretext keeps of its segments: a piece at a time, mapped files where it is much; and the draws stay what they
were when whole arrays were made in memory."""

import numpy as np
import pytest

from eruv_dali.dataset import SEGMENT, mapped
from eruv_dali.dataset.mapped import ascending, distinct, kept, places
from eruv_dali.pretext.eruv import Eruv, EruvOptions
from eruv_dali.pretext.pretext import Setting
from eruv_dali.streams import stream


@pytest.fixture(params=[False, True], ids=["whole", "pieces"])
def small_pieces(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(mapped, "AT_A_TIME", 7)
        monkeypatch.setattr(mapped, "IN_MEMORY", 64)


def table(random, videos, *, ordered):
    """Segments of some of the videos, of one shot or several, long and short."""
    rows = []
    for video in range(videos):
        for shot in range(int(random.integers(0, 4))):
            start = 0
            for _ in range(int(random.integers(1, 4))):
                end = start + int(random.integers(10, 70))
                rows.append((len(rows), video, shot, start, end))
                start = end
    segments = np.array(rows, SEGMENT)
    return segments if ordered else random.permutation(segments)


@pytest.mark.parametrize("seed", range(8))
def test_the_same_rows_positions_and_numbers(small_pieces, seed):
    random = np.random.default_rng(seed)
    rows = table(random, 30, ordered=seed % 2 == 0)

    def long(some):
        return some["end"] - some["start"] >= 31

    def every(some):
        return some["end"] > 0

    assert (kept(rows, long) == rows[long(rows)]).all() and kept(rows, every) is rows
    assert [*places(rows, long)] == [*np.flatnonzero(long(rows))] and places(rows, every) == range(len(rows))
    assert len(kept(rows, lambda some: some["end"] < 0)) == 0 == len(places(rows, lambda some: some["end"] < 0))
    assert [*distinct(rows, "video")] == [*np.unique(rows["video"])]
    assert [*distinct(rows, "video", long)] == [*np.unique(rows["video"][long(rows)])]
    assert ascending(rows, "video", "shot", "start") == (seed % 2 == 0)
    rows = np.sort(rows, order=["video", "shot", "start"])
    assert ascending(rows, "video", "shot", "start") and not ascending(rows[::-1], "video", "shot", "start")
    swapped = rows.copy()
    swapped["start"][[0, 1]] = 5, 4
    swapped["shot"][:2] = swapped["video"][:2] = 0
    assert not ascending(swapped, "video", "shot", "start")


@pytest.mark.parametrize("seed", range(6))
def test_the_draws_are_those_of_whole_arrays(small_pieces, seed):
    segments = table(np.random.default_rng(seed), 25, ordered=seed % 2 == 0)
    pretext = Eruv(segments, Setting(seed=seed), EruvOptions())
    # As it was: sorted, cut, and searched as a whole.
    was = segments[np.lexsort((segments["start"], segments["shot"], segments["video"]))]
    was = was[was["end"] - was["start"] >= 16]
    assert (pretext.segments == was).all()
    video, shot, place = np.ascontiguousarray(was["video"]), was["shot"], np.arange(len(was))
    first, last = np.searchsorted(video, video), np.searchsorted(video, video, "right") - 1
    can = {"CV": place[shot[first] != shot[last]], "PS": place[was["end"] - was["start"] >= 31]}
    for relation in pretext.relations:
        assert (pretext.anchors(relation) == was[can.get(relation, place)]).all()
    for epoch, turn in ((0, 0), (3, 0), (3, 1)):
        order = stream(seed, epoch, turn, purpose=1).permutation(len(was))
        anchors = [pretext.anchor(epoch, turn * len(was) + number) for number in range(len(was))]
        assert anchors == order.tolist()
    for number in range(300):
        random = stream(seed, 1, number)
        relation = pretext.relations[int(random.integers(len(pretext.relations)))]
        allowed = can.get(relation, place)
        i = pretext.anchor(1, number)
        i = i if i in allowed else int(random.choice(allowed))
        sample = pretext.sample(1, number)
        clip, other = sample.clips
        assert sample.kind == relation and (clip.segment, clip.video) == (was["segment"][i], was["video"][i])
        if relation in ("CS", "CV"):
            mates = place[(video == video[i]) & ((shot == shot[i]) == (relation == "CS")) & (place != i)]
            assert other.segment == (was["segment"][int(random.choice(mates))] if len(mates) else clip.segment)
        elif relation == "CD":
            assert other.video != clip.video


def test_large_arrays_are_mapped(monkeypatch):
    monkeypatch.setattr(mapped, "IN_MEMORY", 1000)
    assert isinstance(mapped.empty(2000, np.uint8).base, np.memmap)
    assert mapped.empty(1000, np.uint8).base is None
