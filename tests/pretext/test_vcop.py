"""VCOP: the clips are those of the frames named, in the order that the label says; the head compares each two."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from numbered import read_number

from eruv_dali import EruvError, PretextLoader
from eruv_dali.dataset import SEGMENT
from eruv_dali.models import HeadOptions
from eruv_dali.pretext.pretext import Setting
from eruv_dali.pretext.vcop import Vcop, VcopOptions

# segment, video, shot, start, end: 64 frames is the shortest that holds 3 clips of 16 with 8 frames between.
SEGMENTS = np.array([(0, 0, 0, 0, 300), (1, 0, 1, 300, 363), (2, 1, 0, 10, 74), (3, 2, 0, 0, 100)], SEGMENT)


def vcop(segments=SEGMENTS, *, clips=3, gap=8, **setting):
    return Vcop(segments, Setting(**setting), VcopOptions(clips=clips, gap=gap))


def test_the_label_is_the_order_in_which_the_clips_are_shown():
    pretext = vcop()
    assert pretext.kinds == ("123", "132", "213", "231", "312", "321") and pretext.clips_per_sample == 3
    counts, starts = Counter(), set()
    for number in range(1200):
        sample = pretext.sample(0, number)
        first = [int(clip.frames[0]) for clip in sample.clips]
        assert all(np.array_equal(clip.frames, clip.frames[0] + np.arange(16)) for clip in sample.clips)
        assert np.diff(sorted(first)).tolist() == [24, 24]  # 16 frames and 8 between
        shown = tuple(np.argsort(np.argsort(first)).tolist())
        assert list(permutations(range(3))).index(shown) == sample.label
        assert sample.kind == "".join(str(place + 1) for place in shown)
        (segment,) = {clip.segment for clip in sample.clips}
        held = SEGMENTS[segment]
        assert held["start"] <= min(first) and max(first) + 16 <= held["end"]
        assert all(0 <= clip.crop[0] <= 16 and 0 <= clip.crop[1] <= 59 for clip in sample.clips)
        counts[sample.label] += 1
        starts.add((segment, min(first)))
    assert set(counts) == set(range(6)) and min(counts.values()) > 150
    assert {segment for segment, _ in starts} == {0, 2, 3}  # the one of 63 frames is too short
    assert len(starts) > 150


def test_a_draw_depends_on_its_place_alone_and_a_replacement_keeps_its_order():
    forwards = [repr(vcop(seed=5).sample(3, number)) for number in range(40)]
    pretext = vcop(seed=5)
    assert forwards == [repr(pretext.sample(3, number)) for number in reversed(range(40))][::-1]
    for number in range(40):
        others = [pretext.sample(0, number, attempt) for attempt in range(4)]
        assert len({sample.kind for sample in others}) == 1 and len(set(map(repr, others))) > 1


def test_the_head_compares_each_two_clips():
    torch.manual_seed(0)
    head = vcop().head(5, HeadOptions(hidden=7, dropout=0.0))
    f_BKD = torch.rand(2, 3, 5)
    pairs = [head.pair(torch.cat([f_BKD[:, i], f_BKD[:, j]], 1)).relu() for i, j in ((0, 1), (0, 2), (1, 2))]
    torch.testing.assert_close(head(f_BKD), head.answer(torch.cat(pairs, 1)))
    assert head(f_BKD).shape == (2, 6)


@pytest.mark.parametrize("pack", ["video", "jpeg", "raw", "none"])
def test_pixels_are_those_of_the_frames_named(datasets, pack):
    with PretextLoader(datasets[pack], "vcop", batch_size=4, device="cpu", samples_per_epoch=24, seed=1) as loader:
        for batch in loader:
            assert batch.clips.shape == (len(batch.info), 3, 3, 16, 112, 112)
            assert batch.clips[:, 2].is_contiguous(memory_format=torch.channels_last_3d)
            for b, info in enumerate(batch.info):
                assert loader.pretext.kinds[batch.label[b]] == info.kind
                for k, clip in enumerate(info.clips):
                    levels = batch.clips[b, k].permute(1, 2, 3, 0).numpy() * 255
                    shown = [read_number(picture, clip.crop) % 256 for picture in levels]
                    assert shown == [number % 256 for number in clip.frames]


@pytest.mark.parametrize("segments, options, message", [
    (SEGMENTS, dict(clips=1), "pretext.clips 1 must be at least 2"),
    (SEGMENTS, dict(clips=2.5), "pretext.clips 2.5 must be a whole number"),
    (SEGMENTS, dict(gap=-1), "pretext.gap -1 must be at least 0"),
    (SEGMENTS, dict(crop=129), "crop 129 does not fit"),
    (SEGMENTS[1:2], {}, "no segment has the 64 frames that vcop needs"),
])
def test_bad_options(segments, options, message):
    with pytest.raises(EruvError, match=message):
        vcop(segments, **options)


def test_the_loader_names_wrong_options(datasets):
    for options, message in ((dict(gapp=3), "none called 'gapp', only clips, gap"), ({7: 1}, "called 7"),
                             (7, "not those of this pretext")):
        with pytest.raises(EruvError, match=message):
            PretextLoader(datasets["raw"], "vcop", options=options, device="cpu")
    with pytest.raises(EruvError, match="none called 'cells', and no others"):
        PretextLoader(datasets["raw"], "flow", options=dict(cells=3), device="cpu")
    with pytest.raises(EruvError, match="pretext 'colourise' is not one of eruv, vcop"):
        PretextLoader(datasets["raw"], "colourise", device="cpu")
