"""Pretexts of pieces of frames: labels follow from infos by definition, pixels agree with infos, nothing else tells."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from cells import BLACK, WHITE, cell_picture, read_cells
from draws import check_draws
from numbered import write_video
from perceptron import accuracy_of_a_perceptron

from eruv_dali import EruvError, PretextLoader
from eruv_dali.dataset import SEGMENT, Dataset
from eruv_dali.models import HeadOptions, load_backbone
from eruv_dali.prepare import prepare
from eruv_dali.pretext import find_pretext
from eruv_dali.pretext.permutations import distant_permutations
from eruv_dali.pretext.pretext import Setting
from eruv_dali.pretrain.run import pretrain
from eruv_dali.train.config import load_config

# segment, video, shot, start, end; the last two are too short for some.
SEGMENTS = np.array([(0, 0, 0, 0, 300), (1, 0, 1, 300, 421), (2, 1, 0, 10, 210), (3, 2, 0, 5, 80), (4, 3, 0, 0, 12)],
                    SEGMENT)
# Settings at which pieces of frames of 128x176 are large enough to be read.
CHOSEN = {
    "puzzle3d": (dict(clip_length=16, crop=48), dict(jitter=16, time_jitter=8)),
    "opn": (dict(clip_length=1, crop=80), dict(interval=10, jitter=5)),
    "jigsaw": (dict(clip_length=1, crop=32), dict(permutations=10, jitter=10)),
    "buchler": (dict(clip_length=1, crop=32), dict(permutations=6, jitter=10, interval=5)),
}
NEEDED = {"puzzle3d": 4 * 24, "opn": 31, "jigsaw": 1, "buchler": 41}
NAMES = tuple(CHOSEN)
FRAME = (128, 176)


def made(name, segments=SEGMENTS, options=None, **setting):
    kind, (chosen, usual) = find_pretext(name), CHOSEN[name]
    return kind(segments, Setting(**{"frame_size": FRAME, **chosen, **setting}),
                kind.Options(**{**usual, **(options or {})}))


def rank(values):
    return tuple(np.argsort(np.argsort(values)).tolist())


def in_space(clips, side, crop, jitter):
    """The cells in which the clips lie, counted from 1 row by row; "" unless they fill a grid of cells."""
    tops, lefts = (np.array([clip.crop[axis] for clip in clips]) for axis in (0, 1))
    rows, columns = (np.array(rank(places)) // side for places in (tops, lefts))
    for lines, places in ((rows, tops), (columns, lefts)):
        for line in range(side):
            if np.ptp(places[lines == line]) > jitter:
                return ""
        edges = sorted(places)
        # Pieces of neighbouring cells do not overlap.
        assert all(edges[side * line] - edges[side * line - 1] >= crop for line in range(1, side)) or side == 1
    cells = (rows * side + columns).tolist()
    return "".join(str(cell + 1) for cell in cells) if sorted(cells) == list(range(side * side)) else ""


def told(name, clips, crop, options, length):
    """The kind of a sample as its infos tell it, by the definition of each pretext."""
    first = np.array([clip.frames[0] for clip in clips])
    for clip in clips:
        steps = np.arange(length) if name == "puzzle3d" else np.zeros(length, int)
        assert np.array_equal(clip.frames, clip.frames[0] + steps) and clip.rotation == 0 and clip.tiles is None
    shown = "".join(str(place + 1) for place in rank(first))
    if name == "opn":
        assert np.all(np.diff(np.sort(first)) == 10) and len({clip.flip for clip in clips}) == 1
        assert all(np.ptp([clip.crop[axis] for clip in clips]) <= 2 * options["jitter"] for axis in (0, 1))
        return shown if shown[0] < shown[-1] else shown[::-1]
    assert not any(clip.flip for clip in clips)
    if all(np.ptp([clip.crop[axis] for clip in clips]) <= options["jitter"] for axis in (0, 1)):
        gaps = np.diff(np.sort(first))
        if name == "buchler":
            assert np.all(gaps == options["interval"])
        else:
            assert name == "puzzle3d" and gaps.min() >= length and gaps.max() <= length + 2 * options["time_jitter"]
        return f"time-{shown}"
    cells = in_space(clips, 2 if name == "puzzle3d" else 3, crop, options["jitter"])
    assert cells and np.ptp(first) <= (options["time_jitter"] if name == "puzzle3d" else 0)
    return cells if name == "jigsaw" else f"space-{cells}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [1, 16])
def test_the_label_follows_from_the_clips(name, length):
    pretext, (setting, options) = made(name, clip_length=length), CHOSEN[name]
    counts, used, crops = Counter(), Counter(), []
    total = 60 * len(pretext.kinds)
    for number in range(total):
        sample = pretext.sample(1, number)
        assert len(sample.clips) == pretext.clips_per_sample
        assert sample.kind == pretext.kinds[sample.label] == told(name, sample.clips, setting["crop"], options, length)
        (place,) = {clip.segment for clip in sample.clips}
        for clip in sample.clips:
            assert SEGMENTS["start"][place] <= clip.frames.min() and clip.frames.max() < SEGMENTS["end"][place]
            crops.append(clip.crop)
        counts[sample.kind] += 1
        used[place] += 1
    assert set(counts) == set(pretext.kinds) and min(counts.values()) > 25
    lengths, needed = SEGMENTS["end"] - SEGMENTS["start"], NEEDED[name]
    if name == "puzzle3d":
        needed = 4 * (length + 8)
    assert set(used) == set(np.flatnonzero(lengths >= needed).tolist())
    for axis in (0, 1):  # all of the frame is reached (corners are rare), and nothing beyond
        places, most = [crop[axis] for crop in crops], FRAME[axis] - setting["crop"]
        assert 0 <= min(places) <= 4 and most - 4 <= max(places) <= most


def test_the_kinds_of_each():
    assert len(made("puzzle3d").kinds) == 48 and made("puzzle3d").kinds[24] == "time-1234"
    orders = {min(order, order[::-1]) for order in permutations("1234")}
    assert set(made("opn").kinds) == set(map("".join, orders)) and len(orders) == 12
    assert len(made("jigsaw", options=dict(permutations=100)).kinds) == 100
    kinds = made("buchler").kinds
    assert [kind[6:] for kind in kinds[:6]] == [kind[5:] for kind in kinds[6:]] and kinds[6].startswith("time-")


def test_opn_shows_orders_forwards_and_backwards():
    shown = Counter(rank([clip.frames[0] for clip in made("opn").sample(0, number).clips]) for number in range(2400))
    assert len(shown) == 24 and min(shown.values()) > 60


def test_each_piece_has_a_colour_and_a_place_of_its_own():
    for name in NAMES:
        pretext = made(name)
        samples = [pretext.sample(0, number) for number in range(300)]
        # Places within the cell; shifts of opn's frames are about one corner.
        cell = 1000 if name == "opn" else CHOSEN[name][0]["crop"] + CHOSEN[name][1]["jitter"]
        places = [{(clip.crop[0] % cell, clip.crop[1] % cell) for clip in sample.clips} for sample in samples]
        assert sum(len(of_sample) >= pretext.clips_per_sample - 2 for of_sample in places) > 250
        colors = [[clip.color for clip in sample.clips] for sample in samples]
        assert sum(len(set(of_sample)) > 1 for of_sample in colors) > 250
        if name != "jigsaw":  # red, green or blue in the place of all three
            matrices = {tuple(np.array(color).reshape(3, 4).ravel()) for of_sample in colors for color in of_sample}
            assert matrices == {3 * (*np.eye(3)[channel].tolist(), 0.0) for channel in range(3)}
    grey = 0
    for number in range(600):
        matrices = [np.array(clip.color).reshape(3, 4)[:, :3] for clip in made("jigsaw").sample(0, number).clips]
        is_grey = {bool(np.allclose(matrix, matrix[0])) for matrix in matrices}
        assert len(is_grey) == 1  # all tiles of a frame, or none
        grey += is_grey.pop()
        if number < 20:
            sums = [matrix.sum() for matrix in matrices]
            assert len(set(np.round(sums, 6))) == 9
    assert 130 < grey < 230


@pytest.mark.parametrize("name", NAMES)
def test_a_draw_depends_on_its_place_alone_and_a_replacement_keeps_its_kind(name):
    check_draws(made, name)


@pytest.mark.parametrize("name", NAMES)
def test_the_shortest_segments_serve(name):
    needed = NEEDED[name]
    pretext = made(name, np.array([(0, 0, 0, 7, 7 + needed)], SEGMENT))
    assert {pretext.sample(0, number).kind for number in range(800)} == set(pretext.kinds)
    with pytest.raises(EruvError, match=f"no segment has the {needed} frames that {name} needs"):
        made(name, np.array([(0, 0, 0, 7, 6 + needed)], SEGMENT))


def statistics(name, sample, number):
    """What must not tell the label: numbers of a sample that have nothing to do with how its pieces are arranged."""
    clips = sample.clips
    segment = SEGMENTS[clips[0].segment]
    more = [crop / 30 for crop in np.array([clip.crop for clip in clips]).ravel()] if name == "opn" else []
    if name in ("opn", "jigsaw"):
        first = min(clip.frames[0] for clip in clips)
        more += [(first - segment["start"]) / 100, (segment["end"] - first) / 100]
        more += [min(clip.crop[axis] for clip in clips) / 30 for axis in (0, 1)]
    colors = np.array([clip.color for clip in clips])[:, :3].ravel()
    return [*more, *colors, (segment["end"] - segment["start"]) / 100, *(segment["video"] == np.arange(3)),
            *(number % 8 == np.arange(8)), clips[0].flip]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_else_tells_the_label(name):
    pretext, count = made(name), 3000
    samples = [pretext.sample(0, number) for number in range(count)]
    x = [statistics(name, sample, number) for number, sample in enumerate(samples)]
    y, kinds = [sample.label for sample in samples], len(pretext.kinds)
    sigma = np.sqrt((1 - 1 / kinds) / kinds / (count / 3))
    assert accuracy_of_a_perceptron(x, y, kinds) < 1 / kinds + 4 * sigma
    # The same perceptron sees it where it is: in the places and times of the pieces.
    known = []
    for more, sample in zip(x, samples, strict=True):
        pieces = np.array([(*clip.crop, clip.frames[0]) for clip in sample.clips], float)
        known.append([*more, *((pieces - pieces.mean(0)) / (40, 40, 20)).ravel()])
    assert accuracy_of_a_perceptron(known, y, kinds) > 1 / kinds + 8 * sigma


@pytest.mark.parametrize("name", ["puzzle3d", "buchler"])
def test_where_a_frame_is_cut_does_not_tell_space_from_time(name):
    """A piece of a puzzle in time is as likely at any place of the frame as one of a puzzle in space."""
    pretext, places = made(name), {"space": Counter(), "time": Counter()}
    for number in range(4000):
        sample = pretext.sample(0, number)
        top, left = sample.clips[number % len(sample.clips)].crop
        places[sample.kind.split("-")[0]][top // 16, left // 44] += 1
    cells = sorted({*places["space"], *places["time"]})
    space, time = (np.array([places[dimension][cell] for cell in cells]) for dimension in ("space", "time"))
    expected = (space + time) / 2
    chi_squared = (((space - expected) ** 2 + (time - expected) ** 2) / np.maximum(expected, 1e-9)).sum()
    assert chi_squared < len(cells) + 5 * np.sqrt(2 * len(cells))


@pytest.mark.parametrize("pieces, count", [(3, 6), (4, 24), (9, 9), (9, 100)])
def test_permutations_are_distant(pieces, count):
    chosen = np.array(distant_permutations(pieces, count))
    assert chosen.shape == (count, pieces) and len(set(map(tuple, chosen))) == count
    assert np.array_equal(chosen[0], np.arange(pieces)) and np.array_equal(np.sort(chosen), [range(pieces)] * count)
    apart = (chosen[:, None] != chosen[None]).sum(2)
    nearest = apart[np.triu_indices(count, 1)].min()
    if count <= pieces:
        assert nearest == pieces  # a Latin square
    if count == 100:
        assert nearest >= 6 and apart.sum() / count / (count - 1) > 8
    with pytest.raises(EruvError, match="25 permutations are more than the 24 of 4 pieces"):
        distant_permutations(4, 25)
    with pytest.raises(EruvError, match="10 pieces have too many permutations"):
        distant_permutations(10, 2)


def test_a_permutation_is_the_farthest_from_those_before_it():
    chosen = np.array(distant_permutations(4, 10))
    everything = np.array(list(permutations(range(4))))
    for count in range(1, 10):
        apart = (everything[:, None] != chosen[None, :count]).sum(2)
        scores = list(zip(apart.min(1).tolist(), apart.sum(1).tolist(), strict=True))
        assert np.array_equal(everything[scores.index(max(scores))], chosen[count])


@pytest.fixture(scope="module")
def cell_sets(made_once):
    """Four videos of 120 frames that say everywhere which frame and which place it is, with two kinds of pack."""
    def make(folder):
        for number, name in enumerate("abcd"):
            write_video(folder / "videos" / f"{name}.mp4", frames=120, size=FRAME, first=45 * number,
                        picture=cell_picture)
        for pack in ("raw", "video"):
            prepare([folder / "videos"], folder / pack, device="cpu", pack=pack, workers=1, frame_size=FRAME)

    return made_once("cell_sets", make)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pack, length", [("raw", 1), ("video", 1), ("video", 4)])
def test_pixels_are_those_of_the_pieces_named(cell_sets, name, pack, length):
    setting, options = CHOSEN[name]
    crop, seen = setting["crop"], Counter()
    with PretextLoader(cell_sets / pack, name, options=options, batch_size=5, clip_length=length, crop=crop,
                       device="cpu", samples_per_epoch=15, seed=2) as loader:
        for batch in loader:
            assert batch.clips.shape[1:] == (loader.pretext.clips_per_sample, 3, length, crop, crop)
            for b, info in enumerate(batch.info):
                assert loader.pretext.kinds[batch.label[b]] == info.kind
                assert info.kind == told(name, info.clips, crop, options, length)
                for k, clip in enumerate(info.clips):
                    matrix = np.array(clip.color).reshape(3, 4)
                    black, white = (np.clip(matrix @ (*(color / 255), 1), 0, 1) for color in (BLACK, WHITE))
                    if (white - black).mean() < 0.15:
                        seen["unreadable"] += 1
                        continue
                    levels = batch.clips[b, k].permute(1, 2, 3, 0).numpy()
                    if clip.flip:
                        levels = levels[:, :, ::-1]
                    for picture, frame in zip(levels, clip.frames, strict=True):
                        number = 45 * "abcd".index(clip.video[0]) + frame
                        read = read_cells(picture.mean(2), clip.crop, FRAME[1], (black + white).mean() / 2)
                        assert read == {(number, 0)}, clip
                        if pack == "raw":  # the video pack blurs colours of blocks so small
                            bright = picture[picture.mean(2) > (black + white).mean() / 2].mean(0)
                            np.testing.assert_allclose(bright, white, atol=0.08)  # the colour is that of the info
                    seen["read"] += 1
                    seen["flip"] += clip.flip
    assert seen["read"] >= 0.9 * 15 * loader.pretext.clips_per_sample and bool(seen["flip"]) == (name == "opn")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", ["mlp", "linear"])
def test_heads(name, head):
    pretext = made(name)
    if head not in pretext.heads:
        assert name == "opn"
        return
    output = pretext.head(6, HeadOptions(head, hidden=5))(torch.rand(4, pretext.clips_per_sample, 6))
    assert output.shape == (4, len(pretext.kinds))
    assert pretext.loss(output, pretext.target(torch.zeros(4, dtype=torch.int64), output)).ndim == 0
    assert all(pretext.advice(kind, HeadOptions(head)) for kind in pretext.kinds)


@pytest.mark.parametrize("name, options, setting, message", [
    ("puzzle3d", dict(jitter=17), {}, r"2x2 pieces of 48 \+ 17 pixels .* do not fit into frames of 128x176"),
    ("puzzle3d", dict(jitter=-1), {}, "pretext.jitter -1 must be at least 0"),
    ("puzzle3d", dict(time_jitter=1.5), {}, "pretext.time_jitter 1.5 must be a whole number"),
    ("opn", dict(interval=0), {}, "pretext.interval 0 must be at least 1"),
    ("opn", dict(jitter=-1), {}, "pretext.jitter -1 must be at least 0"),
    ("opn", dict(jitter=25), {}, "crop 80 leaves no room for shifts of 25 pixels in frames of 128x176"),
    ("jigsaw", dict(permutations=1), {}, "pretext.permutations 1 must be at least 2"),
    ("jigsaw", dict(permutations=1001), {}, "pretext.permutations 1001 must be at most 1000"),
    ("jigsaw", {}, dict(crop=33), r"3x3 pieces of 33 \+ 10 pixels"),
    ("jigsaw", dict(grey=2), {}, "pretext.grey 2 must lie between 0 and 1"),
    ("jigsaw", dict(light=-1), {}, "pretext.light -1"),
    ("buchler", dict(permutations=0), {}, "pretext.permutations 0 must be at least 2"),
    ("buchler", dict(interval=0), {}, "pretext.interval 0 must be at least 1"),
    ("buchler", {}, dict(crop=112), r"3x3 pieces of 112 \+ 10 pixels"),
])
def test_bad_options(name, options, setting, message):
    with pytest.raises(EruvError, match=message):
        made(name, options=options, **setting)


@pytest.mark.slow
@pytest.mark.parametrize("name, backbone, length", [("jigsaw", "caffenet", 1), ("buchler", "caffenet", 1),
                                                    ("puzzle3d", "c3d", 8), ("opn", "r3d", 4)])
def test_training_resumes_exactly(cell_sets, tmp_path, name, backbone, length):
    """Stopped in its second epoch and resumed, a run ends with the weights of one that was not stopped."""
    setting, options = CHOSEN[name]
    words = [f"pretext={name}", *(f"pretext.{key}={value}" for key, value in options.items()),
             f"data.clip_length={length}", f"data.crop={setting['crop']}", "data.batch_size=2",
             "data.pairs_per_epoch=4", "data.val_pairs=4", f"model.backbone={backbone}", "model.width=4",
             "model.hidden=8", "device=cpu", f"data.dataset={cell_sets / 'raw'}", "optim.epochs=2",
             "log.tensorboard=false"]
    dataset = Dataset(cell_sets / "raw")
    whole = pretrain(load_config(None, [*words, "optim.max_steps=4"]), dataset, tmp_path / "whole")
    pretrain(load_config(None, [*words, "optim.max_steps=3"]), dataset, tmp_path / "parts")
    resumed = pretrain(load_config(None, [*words, "optim.max_steps=4"]), dataset, tmp_path / "parts", resume=True)
    assert whole == resumed and whole["pretext"] == name
    nets = [torch.load(tmp_path / run / "last.pt", weights_only=False)["net"] for run in ("whole", "parts")]
    assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])
    assert load_backbone(tmp_path / "parts" / "backbone.pt").name == backbone
