"""VCP, 3DRotNet, PRP and pace: labels follow from infos by definition, pixels agree with infos, nothing else tells."""

from collections import Counter

import numpy as np
import pytest
import torch
from draws import check_draws
from numbered import read_number, write_video
from perceptron import accuracy_of_a_perceptron

from eruv_dali import EruvError, PretextLoader
from eruv_dali.dataset import SEGMENT
from eruv_dali.models import HeadOptions
from eruv_dali.prepare import prepare
from eruv_dali.pretext import find_pretext
from eruv_dali.pretext.pretext import Setting

# segment, video, shot, start, end; the last two are too short for some.
SEGMENTS = np.array([(0, 0, 0, 0, 300), (1, 0, 1, 300, 421), (2, 1, 0, 10, 210), (3, 2, 0, 5, 100), (4, 3, 0, 0, 30)],
                    SEGMENT)
NEEDED = {"vcp": 96, "rotnet3d": 31, "prp": 121, "pace": 61}  # 16 frames of 8 apart and 16 more; 15 steps and a frame
NAMES = tuple(NEEDED)


def made(name, segments=SEGMENTS, options=None, **setting):
    kind = find_pretext(name)
    return kind(segments, Setting(**setting), kind.Options(**(options or {})))


def told(name, clips):
    """The kind of a sample as its infos tell it, by the definition of each pretext."""
    if name == "rotnet3d":
        return str(clips[0].rotation)
    steps = set(np.diff(clips[0].frames).tolist())
    if name in ("prp", "pace"):
        (step,) = steps
        return str(step)
    before, middle, after = (np.array(clip.frames) for clip in clips)
    assert np.all(np.diff(before) == 1) and np.array_equal(after, before + 48)
    first = middle.min()
    assert sorted(middle) == list(range(first, first + 16))
    if first != before[0] + 24:
        assert (first - after[-1] - 1 >= 16) or (before[0] - first - 16 >= 16)
        assert np.all(np.diff(middle) == 1)
        return "remote"
    chunks = (middle - first).reshape(4, 4)
    if not np.array_equal(middle, np.sort(middle)):
        assert np.all(np.diff(chunks, axis=1) == 1) and np.sum(chunks[:, 0] // 4 != np.arange(4)) == 2
        assert clips[1].rotation == 0 and clips[1].tiles is None
        return "shuffled"
    if clips[1].tiles is not None:
        assert sorted(clips[1].tiles) == [0, 1, 2, 3] != list(clips[1].tiles) and clips[1].rotation == 0
        return "permuted"
    return "rotated" if clips[1].rotation else "original"


@pytest.mark.parametrize("name", NAMES)
def test_the_label_follows_from_the_clips(name):
    pretext = made(name)
    counts, used = Counter(), Counter()
    for number in range(2000):
        sample = pretext.sample(1, number)
        assert sample.kind == pretext.kinds[sample.label] == told(name, sample.clips)
        (place,) = {clip.segment for clip in sample.clips}
        for clip in sample.clips:
            assert SEGMENTS["start"][place] <= clip.frames.min() and clip.frames.max() < SEGMENTS["end"][place]
            assert 0 <= clip.crop[0] <= 16 and 0 <= clip.crop[1] <= 59 and len(clip.frames) == 16
        if name == "vcp":
            outer = (sample.clips[0], sample.clips[2])
            assert all(clip.rotation == 0 and clip.tiles is None and clip.color is None for clip in outer)
        counts[sample.kind] += 1
        used[place] += 1
    assert set(counts) == set(pretext.kinds) and min(counts.values()) > 0.8 * 2000 / len(pretext.kinds)
    lengths = SEGMENTS["end"] - SEGMENTS["start"]
    assert set(used) == set(np.flatnonzero(lengths >= NEEDED[name]).tolist())


def test_the_shortest_segments_serve():
    for name, needed in NEEDED.items():
        segments = np.array([(0, 0, 0, 7, 7 + needed)], SEGMENT)
        kinds = {made(name, segments).sample(0, number).kind for number in range(200)}
        assert len(kinds) == len(made(name, segments).kinds)
        with pytest.raises(EruvError, match=f"no segment has the {needed} frames that {name} needs"):
            made(name, np.array([(0, 0, 0, 7, 6 + needed)], SEGMENT))


@pytest.mark.parametrize("name", NAMES)
def test_a_draw_depends_on_its_place_alone_and_a_replacement_keeps_its_kind(name):
    check_draws(made, name)


def test_rotnet3d_shows_a_clip_in_all_four_rotations_in_a_row():
    pretext = made("rotnet3d")
    assert len(pretext) == 4 * len(pretext.segments)
    orders, flips = set(), set()
    for group in range(200):
        for attempt in (0, 1):
            clips = [pretext.sample(0, 4 * group + turn, attempt).clips[0] for turn in range(4)]
            orders.add(tuple(clip.rotation for clip in clips))
            assert sorted(clip.rotation for clip in clips) == [0, 90, 180, 270]
            same = {(clip.segment, tuple(clip.frames), clip.crop, clip.flip) for clip in clips}
            assert len(same) == 1 and np.all(np.diff(clips[0].frames) == 2)
        flips.add(clips[0].flip)
    assert len(orders) == 24 and flips == {False, True}
    anchors = {pretext.sample(0, number).clips[0].segment for number in range(len(pretext))}
    assert anchors == {clip["segment"] for clip in pretext.segments}


def statistics(name, pretext, number):
    """What must not tell the label: numbers of a sample that have nothing to do with what was done to it."""
    clips = pretext.sample(0, number).clips
    places = [clips[0], clips[2]] if name == "vcp" else [clips[0]]  # the middle one of VCP is the altered one
    segment = SEGMENTS[clips[0].segment]
    ends = [clip.frames[0] - edge for clip in places for edge in (segment["start"], segment["end"])]
    crops = [number for clip in clips for number in clip.crop]
    return [*np.array(ends) / 100, *np.array(crops) / 30, (segment["end"] - segment["start"]) / 100,
            *(segment["video"] == np.arange(3)), *(number % 8 == np.arange(8)), clips[0].flip]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_else_tells_the_label(name):
    pretext, count = made(name), 3000
    samples = [pretext.sample(0, number) for number in range(count)]
    x = [statistics(name, pretext, number) for number in range(count)]
    y, kinds = [sample.label for sample in samples], len(pretext.kinds)
    sigma = np.sqrt((1 - 1 / kinds) / kinds / (count / 3))
    assert accuracy_of_a_perceptron(x, y, kinds) < 1 / kinds + 4 * sigma
    # The same perceptron sees it where it is: in what was done to the clip.
    done = [[clip.frames[5] - clip.frames[4] - 1, clip.rotation / 90, clip.frames[0] - sample.clips[0].frames[0] - 24]
            for sample in samples for clip in [sample.clips[-2 if name == "vcp" else 0]]]
    known = [[*more, *np.clip(tell, -3, 3)] for more, tell in zip(x, done, strict=True)]
    assert accuracy_of_a_perceptron(known, y, kinds) > 1 / kinds + 8 * sigma


def as_it_was(clip_CTHW, info):
    """(T, H, W, 3) grey levels of a clip whose colours, rotation, quarters and mirroring are undone."""
    levels = clip_CTHW.permute(1, 2, 3, 0).numpy()
    if info.color is not None:
        matrix = np.array(info.color).reshape(3, 4)
        black, white = (np.clip(matrix[:, :3].sum(1) * grey / 255 + matrix[:, 3], 0, 1) for grey in (20, 235))
        if np.min(white - black) < 0.15:
            return None  # hardly any contrast is left to read a number from
        levels = np.clip((levels - black) / (white - black), 0, 1)
    levels = np.rot90(levels * 255, -(info.rotation // 90), axes=(1, 2)).copy()
    if info.tiles is not None:
        half = levels.shape[1] // 2
        parts = [np.s_[:, y : y + half, x : x + half] for y in (0, half) for x in (0, half)]
        shown = [levels[part].copy() for part in parts]
        for tile, quarter in zip(info.tiles, shown, strict=True):
            levels[parts[tile]] = quarter
    return levels[:, :, ::-1] if info.flip else levels


@pytest.fixture(scope="module")
def numbered_sets(made_once):
    """Three videos of 160 numbered frames, prepared with two kinds of pack."""
    def make(folder):
        for number, name in enumerate("abc"):
            write_video(folder / "videos" / f"{name}.mp4", frames=160, size=(128, 176), first=500 * number)
        for pack in ("raw", "video"):
            prepare([folder / "videos"], folder / pack, device="cpu", pack=pack, workers=1)

    return made_once("numbered_sets", make)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pack", ["raw", "video"])
def test_pixels_are_those_of_the_clips_named(numbered_sets, name, pack):
    seen, firsts = Counter(), {"a.mp4": 0, "b.mp4": 500, "c.mp4": 1000}
    with PretextLoader(numbered_sets / pack, name, batch_size=8, device="cpu", samples_per_epoch=40, seed=1) as loader:
        for batch in loader:
            for b, info in enumerate(batch.info):
                assert loader.pretext.kinds[batch.label[b]] == info.kind == told(name, info.clips)
                for k, clip in enumerate(info.clips):
                    levels = as_it_was(batch.clips[b, k], clip)
                    if levels is None:
                        seen["unreadable"] += 1
                        continue
                    numbers = [read_number(picture, clip.crop) for picture in levels]
                    assert numbers == [firsts[clip.video] + frame for frame in clip.frames], clip
                    seen[info.kind] += 1
                    seen["flip"] += clip.flip
                    seen["color"] += clip.color is not None
    assert all(seen[kind] for kind in loader.pretext.kinds)
    assert bool(seen["flip"]) == (name in ("rotnet3d", "pace")) and bool(seen["color"]) == (name == "pace")
    assert seen["unreadable"] <= (20 if name == "pace" else 0)


@pytest.mark.parametrize("name", NAMES)
def test_trimmed_data_and_what_must_be_held_out(numbered_sets, name):
    with PretextLoader(numbered_sets / "raw", name, batch_size=2, device="cpu", trimmed=True) as loader:
        assert len(loader.pretext.segments) == 3
    kind = find_pretext(name)
    (videos,) = kind.held_out_needs(SEGMENTS, Setting(), kind.Options())
    lengths = SEGMENTS["end"] - SEGMENTS["start"]
    assert videos.tolist() == sorted(set(SEGMENTS["video"][lengths >= NEEDED[name]].tolist()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", ["mlp", "linear"])
def test_heads(name, head):
    pretext = made(name)
    output = pretext.head(6, HeadOptions(head, hidden=5))(torch.rand(4, pretext.clips_per_sample, 6))
    assert output.shape == (4, len(pretext.kinds))
    assert pretext.loss(output, pretext.target(torch.zeros(4, dtype=torch.int64), output)).ndim == 0
    assert all(pretext.advice(kind, HeadOptions(head)) for kind in pretext.kinds)


@pytest.mark.parametrize("name, options, setting, message", [
    ("vcp", dict(gap=-1), {}, "pretext.gap -1 must be at least 0"),
    ("vcp", dict(distance=1.5), {}, "pretext.distance 1.5 must be a whole number"),
    ("vcp", {}, dict(clip_length=14), "clip_length 14 must be a multiple of 4"),
    ("vcp", {}, dict(crop=111), "crop 111 must be even"),
    ("rotnet3d", dict(stride=0), {}, "pretext.stride 0 must be at least 1"),
    ("prp", dict(dilations=[1]), {}, r"pretext.dilations \[1\] must be a list of two or more speeds"),
    ("prp", dict(dilations="12"), {}, "pretext.dilations '12' must be a list"),
    ("prp", dict(dilations=[1, 1]), {}, r"pretext.dilations \[1, 1\] name one twice"),
    ("pace", dict(paces=[0, 1]), {}, "a speed of pretext.paces 0 must be at least 1"),
    ("pace", dict(jitter=[0.8]), {}, r"pretext.jitter \[0.8\] must be four numbers"),
    ("pace", dict(jitter=[0.8, 0.8, 0.8, 0.9]), {}, "hue 0.9 must be a number from 0 to 0.5"),
    ("pace", dict(jittered=2), {}, "pretext.jittered 2 must lie between 0 and 1"),
    ("pace", {}, dict(crop=129), "crop 129 does not fit"),
])
def test_bad_options(name, options, setting, message):
    with pytest.raises(EruvError, match=message):
        made(name, options=options, **setting)


def test_the_loader_finds_a_bad_option_before_it_uses_it(numbered_sets):
    with pytest.raises(EruvError, match="pretext.paces 7 must be a list"):
        PretextLoader(numbered_sets / "raw", "pace", options=dict(paces=7), device="cpu", split="train")
