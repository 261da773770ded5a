"""ERUV's own options: the kind follows from the clips, pixels agree with infos, one clip alone does not tell it."""

import hashlib
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from draws import check_draws
from numbered import read_number
from perceptron import accuracy_of_a_perceptron

from eruv_dali import EruvError, PretextLoader
from eruv_dali.dataset import SEGMENT
from eruv_dali.dataset.split import SomeOf
from eruv_dali.pretext.eruv import RELATIONS, Eruv, EruvOptions
from eruv_dali.pretext.loader import part_of, pretext_of_part
from eruv_dali.pretext.pretext import Setting
from eruv_dali.train.config import load_config

# segment, video, shot, start, end; the last is too short for a shared base.
SEGMENTS = np.array([(0, 0, 0, 0, 300), (1, 0, 1, 300, 421), (2, 1, 0, 10, 210), (3, 2, 0, 5, 100), (4, 2, 1, 100, 166),
                     (5, 3, 0, 0, 60)], SEGMENT)
LOOK = dict(flip=True, jitter=[0.4, 0.4, 0.4, 0.1], grey=0.25)
LUMA = (0.299, 0.587, 0.114)


def made(options=None, segments=SEGMENTS, **setting):
    return Eruv(segments, Setting(**setting), EruvOptions(**(options or {})))


def direction(clip):
    """1 forwards, -1 backwards, 0 neither; the frames must be `speed` apart in time."""
    steps = np.diff(clip.frames)
    assert set(np.diff(np.sort(clip.frames))) == {clip.speed}
    return int(steps[0] // clip.speed) if np.all(steps == steps[0]) and abs(steps[0]) == clip.speed else 0


def told(clips):
    """The relation of a pair with a shared base, by its definition, and the base."""
    first, second = clips
    base = (first.rotation, direction(first), first.speed)
    other = (second.rotation, direction(second), second.speed)
    assert first.rotation in (0, 90, 180, 270) and base[1] and first.speed in (1, 2, 4)
    assert second.rotation in (0, 90, 180, 270) and second.speed in (1, 2, 4)
    changed = [name for name, one, two in zip(("CR", "PI", "PS"), base, other, strict=True) if one != two]
    assert len(changed) <= 1
    if changed or first.segment == second.segment:  # the shots here have one segment each
        assert first.segment == second.segment
        return ("PD" if other[1] == 0 else changed[0] if changed else "CS"), base
    return ("CV" if first.video == second.video else "CD"), base


def test_with_a_shared_base_the_relation_is_between_the_clips():
    pretext = made(dict(shared_base=True))
    assert pretext.segments["segment"].tolist() == [0, 1, 2, 3, 4]
    counts, bases = Counter(), {relation: Counter() for relation in RELATIONS}
    for number in range(4200):
        sample = pretext.sample(0, number)
        kind, base = told(sample.clips)
        assert kind == sample.kind == RELATIONS[sample.label]
        for clip in sample.clips:
            segment = SEGMENTS[clip.segment]
            assert segment["start"] <= clip.frames.min() and clip.frames.max() < segment["end"]
        counts[kind] += 1
        bases[kind][base] += 1
    assert min(counts.values()) > 480
    assert all(len(of) == 24 and max(of.values()) < 60 for of in bases.values())  # 25 are expected of each


def test_what_is_drawn_on_top_of_a_shared_base_is_uniform():
    turns, speeds = Counter(), Counter()
    for sample in map(made(dict(shared_base=True, relations=["CR", "PS"])).sample, [0] * 3000, range(3000)):
        first, second = sample.clips
        if sample.kind == "CR":
            turns[(second.rotation - first.rotation) % 360] += 1
        else:
            speeds[first.speed, second.speed] += 1
    assert sorted(turns) == [90, 180, 270] and min(turns.values()) > 400
    assert len(speeds) == 6 and min(speeds.values()) > 190


def test_the_shortest_segment_for_a_shared_base():
    for length, fits in ((61, True), (60, False)):
        segments = np.array([(0, 0, 0, 7, 7 + length), (1, 1, 0, 0, 60)], SEGMENT)
        options = dict(shared_base=True, relations=["CS", "PS"])
        if fits:
            assert len({str(made(options, segments).sample(0, number).clips[1].speed) for number in range(60)}) == 3
        else:
            with pytest.raises(EruvError, match="no segment has the 61 frames that eruv needs"):
                made(options, segments)


@pytest.mark.parametrize("k", [0, 1])
def test_with_a_shared_base_one_clip_alone_does_not_tell_the_relation(k):
    """Without it, clip j's rotation, direction and speed tell a perceptron CR, PI and PS; with it, they do not."""
    relations, count = ["CS", "CR", "PI", "PS"], 2400
    sigma = np.sqrt(0.25 * 0.75 / (count / 3))
    reached = {}
    for shared in (False, True):
        pretext = made(dict(shared_base=shared, relations=relations), SEGMENTS[:4])
        samples = [pretext.sample(0, number) for number in range(count)]
        x = []
        for sample in samples:
            clip = sample.clips[k]
            segment = SEGMENTS[clip.segment]
            x.append([*(clip.rotation == np.array([0, 90, 180, 270])), direction(clip),
                      *(clip.speed == np.array([1, 2, 4])),
                      (clip.frames.min() - segment["start"]) / 100, (segment["end"] - clip.frames.max()) / 100,
                      clip.crop[0] / 16, clip.crop[1] / 59])
        reached[shared] = accuracy_of_a_perceptron(x, [sample.label for sample in samples], len(relations))
    assert reached[True] < 0.25 + 4 * sigma
    assert (reached[False] > 0.9) == (k == 1)  # clip i is never transformed then


@pytest.mark.parametrize("shared", [False, True])
def test_chunks_are_disordered_and_stay_in_order_themselves(shared):
    pretext = made(dict(disorder="chunks", relations=["PD"], shared_base=shared))
    seen = Counter()
    for number in range(1500):
        first, second = pretext.sample(0, number).clips
        steps = np.diff(first.frames)[0]  # in the direction of the base
        chunks = (second.frames - (second.frames.min() if steps > 0 else second.frames.max())).reshape(4, 4) // steps
        assert np.all(np.diff(chunks, axis=1) == 1)
        seen[tuple(chunks[:, 0] // 4)] += 1
    assert all(sorted(order) == [0, 1, 2, 3] for order in seen)
    assert len(seen) == 22 and not {(0, 1, 2, 3), (3, 2, 1, 0)} & set(seen) and min(seen.values()) > 30


def test_each_clip_draws_its_own_look_and_nothing_else_changes():
    plain, looking = made(), made(LOOK)
    assert plain.transforms == () and looking.transforms == ("flip", "color")
    assert made(dict(flip=True)).transforms == ("flip",) and made(dict(grey=0.5)).transforms == ("color",)
    flips, grey = Counter(), Counter()
    for number in range(1000):
        clips, bare = looking.sample(0, number).clips, plain.sample(0, number).clips
        for clip, without in zip(clips, bare, strict=True):
            assert clip.crop == without.crop and np.array_equal(clip.frames, without.frames)
            assert clip.rotation == without.rotation and not without.flip and without.color is None
        flips[tuple(clip.flip for clip in clips)] += 1
        matrices = [np.array(clip.color).reshape(3, 4) for clip in clips]
        assert not np.array_equal(*matrices)
        colorless = tuple(bool(np.allclose(matrix, matrix[0])) for matrix in matrices)
        for matrix, without_color in zip(matrices, colorless, strict=True):
            if without_color:
                np.testing.assert_allclose(matrix[0, :3] / matrix[0, :3].sum(), LUMA, atol=1e-9)
        grey[colorless] += 1
    assert len(flips) == 4 and min(flips.values()) > 180
    assert 25 < grey[True, True] < 110 and 130 < grey[True, False] < 250 and 130 < grey[False, True] < 250
    only_grey = [clip.color for number in range(40) for clip in made(dict(grey=0.5)).sample(0, number).clips]
    assert {color is None for color in only_grey} == {True, False}
    np.testing.assert_allclose([color for color in only_grey if color], [[*LUMA, 0] * 3] * sum(map(bool, only_grey)))


@pytest.mark.parametrize("options", [dict(shared_base=True), dict(disorder="chunks"), LOOK])
def test_a_draw_depends_on_its_place_alone(options):
    check_draws(lambda _, seed=0: made(options, seed=seed), "eruv")


def test_what_must_be_held_out_is_long_enough():
    short = np.array([(0, 0, 0, 0, 50), (1, 0, 1, 50, 100), (2, 1, 0, 0, 90), (3, 1, 1, 90, 200)], SEGMENT)

    def needs(clip_length, **options):
        found = Eruv.held_out_needs(short, Setting(clip_length), EruvOptions(**options))
        return [(list(some.videos), some.least) if isinstance(some, SomeOf) else list(some) for some in found]

    assert needs(16) == [[0, 1], [0, 1], ([0, 1], 2), [0, 1]]  # at all, CV, CD, PS
    assert needs(30) == [[0, 1], [0, 1], ([0, 1], 2), [1]]
    assert needs(60) == [[1], [1], ([1], 2), []]
    assert needs(16, shared_base=True) == [[1], [1], ([1], 2), [1]]
    assert needs(30, relations=["CS", "CR"]) == [[0, 1]]


def lengths_in_order_of_holding_out(*lengths):
    """A DATASET's names, and two segments of each length, in the order in which videos are held out."""
    names = sorted((f"{number}.mp4" for number in range(len(lengths))),
                   key=lambda name: hashlib.sha256(name.encode()).digest())
    rows = [(2 * video + shot, video, shot, shot * length, (shot + 1) * length) for video, length in enumerate(lengths)
            for shot in (0, 1)]
    dataset = SimpleNamespace(folder="set", videos=[SimpleNamespace(name=name) for name in names],
                              segments=np.array(rows, SEGMENT))
    return dataset


@pytest.mark.parametrize("clip_length, held", [(16, 2), (30, 2), (32, 3), (60, 3), (64, 4)])
def test_videos_are_held_out_until_they_suffice(clip_length, held):
    """The first two have segments of 60 frames, as many as clips of 30 have at the lower speed; the others of 200."""
    dataset, setting = lengths_in_order_of_holding_out(60, 60, *[200] * 6), Setting(clip_length)
    options = EruvOptions()
    segments = part_of(dataset, "val", 0.1, Eruv, setting, options)
    assert sorted(set(segments["video"].tolist())) == list(range(held))
    assert set(pretext_of_part(dataset, "val", 0.1, Eruv, setting, options).kinds) == set(RELATIONS)


def test_it_says_that_held_out_videos_do_not_suffice():
    dataset, setting = lengths_in_order_of_holding_out(60, 60, 60, 200), Setting(64)
    with pytest.raises(EruvError, match="^in the videos held out for validation, relation CD needs two videos"):
        pretext_of_part(dataset, "val", 0.1, Eruv, setting, EruvOptions())


def test_pixels_are_those_of_the_clips_named(datasets):
    options = dict(shared_base=True, disorder="chunks", flip=True, jitter=[0.2, 0.2, 0.4, 0.1], grey=0.3)
    seen = Counter()
    with PretextLoader(datasets["raw"], "eruv", options=options, batch_size=8, device="cpu", samples_per_epoch=48,
                       seed=1) as loader:
        for batch in loader:
            for b, info in enumerate(batch.info):
                seen[info.kind] += 1
                for k, clip in enumerate(info.clips):
                    levels = batch.clips[b, k].permute(1, 2, 3, 0).numpy()
                    matrix = np.array(clip.color if clip.color else np.eye(3, 4).ravel()).reshape(3, 4)
                    black, white = (matrix[:, :3].sum(1) * grey / 255 + matrix[:, 3] for grey in (20, 235))
                    levels = np.rot90((levels - black) / (white - black), -(clip.rotation // 90), axes=(1, 2)) * 255
                    levels = levels[:, :, ::-1] if clip.flip else levels
                    numbers = [read_number(picture, clip.crop) for picture in levels]
                    assert numbers == list(clip.frames), clip
                    seen["flip"] += clip.flip
                    seen["grey"] += bool(np.allclose(matrix, matrix[0]))
                    if np.allclose(matrix, matrix[0]):
                        assert np.ptp(batch.clips[b, k].numpy(), axis=0).max() < 1e-6
    assert all(seen[name] for name in (*RELATIONS, "flip", "grey"))


@pytest.mark.parametrize("word, message", [
    ("pretext.disorder=chunk", "pretext.disorder 'chunk' is not one of shuffle, chunks"),
    ("pretext.shared_base=2", "pretext.shared_base = 2 is of the wrong type; expected bool"),
    ("pretext.jitter=[0.4,0.4]", r"pretext.jitter \[0.4, 0.4\] must be four numbers"),
    ("pretext.jitter=[0.4,0.4,-1,0]", "pretext.jitter: saturation -1.0 must be a number"),
    ("pretext.grey=1.5", "pretext.grey 1.5 must lie between 0 and 1"),
    ("pretext.share_base=true", "unknown configuration key 'pretext.share_base'.*did you mean 'pretext.shared_base'"),
])
def test_bad_options(word, message):
    with pytest.raises(EruvError, match=message):
        load_config(None, [word])


@pytest.mark.parametrize("options, setting, message", [
    (dict(disorder="chunks"), dict(clip_length=18), "clip_length 18 must be a multiple of 4"),
    (dict(shared_base="yes"), {}, "pretext.shared_base 'yes' must be true or false"),
    (dict(flip=1), {}, "pretext.flip 1 must be true or false"),
    (dict(grey=True), {}, "pretext.grey True must lie between 0 and 1"),
    (dict(disorder=["chunks"]), {}, r"pretext.disorder \['chunks'\] is not one of"),
])
def test_bad_options_from_code(options, setting, message):
    with pytest.raises(EruvError, match=message):
        made(options, **setting)
