"""MAS: the numbers are where a drawn motion is and where it goes; a pretext without kinds is scored by its loss."""

import json

import numpy as np
import pytest
import torch
from drawn_motion import FRAMES, SIDE, box, moving
from numbered import write_video
from running import metrics

from eruv_dali import EruvError
from eruv_dali.dataset import SEGMENT, Dataset
from eruv_dali.models import HeadOptions
from eruv_dali.prepare import prepare
from eruv_dali.pretext.clip_statistics import appearance_statistics, divisions, motion_statistics
from eruv_dali.pretext.mas import Mas, MasOptions
from eruv_dali.pretext.optical_flow import optical_flow
from eruv_dali.pretext.pretext import Setting
from eruv_dali.pretrain.run import pretrain
from eruv_dali.train.config import load_config

SEGMENTS = np.array([(0, 0, 0, 0, 300), (1, 1, 0, 0, 15)], SEGMENT)


def mas(segments=SEGMENTS, *, appearance=0.1, **setting):
    return Mas(segments, Setting(**setting), MasOptions(appearance=appearance))


@pytest.mark.parametrize("right, down", [(0, 0), (1, 0), (-2, 1), (4, 0), (0, -6)])
def test_the_flow_is_the_motion_drawn(right, down):
    clip = moving(torch.ones(SIDE, SIDE, dtype=torch.bool), right, down)
    flow = optical_flow(clip[:, 0])
    assert flow.shape == (1, FRAMES - 1, 2, SIDE // 2, SIDE // 2)
    inside = flow[0, :, :, 6:-6, 6:-6].movedim(1, 0).flatten(1)
    assert (inside.median(1).values - torch.tensor([right, down])).abs().max() < 0.15
    assert not optical_flow(torch.full((1, 4, 64, 64), 0.3)).any()


@pytest.mark.parametrize("place", range(16))
def test_the_block_that_moves_is_named(place):
    top, left = 28 * (place // 4), 28 * (place % 4)
    to_the_right = motion_statistics(moving(box(top + 4, left + 4, 20, 20), 2, 0))
    down = motion_statistics(moving(box(top + 4, left + 4, 20, 20), 0, 2))
    assert to_the_right.shape == (1, 14) and to_the_right[0, 0] == place + 1 and down[0, 2] == place + 1
    ring = 4 if place // 4 in (0, 3) or place % 4 in (0, 3) else 2
    assert abs(to_the_right[0, 4] - ring) <= 1
    assert (int(to_the_right[0, 8]) - 1) // 2 == 2 * (place // 8) + place % 4 // 2  # its quarter


@pytest.mark.parametrize("mask, right, down, part, direction", [
    (box(0, 62, 112, 50), 2, 0, 0, 1),  # what is on the right moves right: the slope goes to the right
    (box(0, 62, 112, 50), -2, 0, 0, 5),  # … left
    (box(62, 0, 50, 112), 2, 0, 0, 3),  # what is below moves right: the slope goes down
    (box(62, 0, 50, 112), -2, 0, 0, 7),
    (box(62, 0, 50, 112), 0, 2, 1, 3),  # vertical motion has numbers of its own
    (box(62, 0, 50, 112), 0, -2, 1, 7),
    (box(0, 62, 112, 50), 0, 2, 1, 1),
    (torch.tensor(np.add(*np.mgrid[:SIDE, :SIDE]) > SIDE), 2, 0, 0, 2),  # what is below and right
])
def test_the_direction_is_that_of_the_slope(mask, right, down, part, direction):
    numbers = motion_statistics(moving(mask, right, down))[0].tolist()
    assert [numbers[4 * division + 2 * part + 1] for division in range(3)] == [direction] * 3


def test_the_frame_with_most_motion_and_a_still_clip():
    clip = moving(box(30, 30, 40, 40), 0, 0).clone()
    assert motion_statistics(clip).tolist() == [[0] * 14]
    moved = moving(box(30, 30, 40, 40), 3, 0)
    clip[:, :, 5:] = moved[:, :, 1:4]  # still up to frame 4, from the 5th difference on it moves
    assert motion_statistics(clip)[0, 12] in (5, 6, 7)
    whole = moving(torch.ones(SIDE, SIDE, dtype=torch.bool), 3, 0)  # a camera that turns: no boundary inside
    inner = motion_statistics(torch.where(box(40, 40, 30, 30), moving(box(40, 40, 30, 30), -3, 0), whole))
    assert inner[0, 4] in (1, 2)  # the ring of what moves against the camera


def test_the_divisions_are_of_equal_or_known_size():
    blocks, rings, triangles = divisions(SIDE, SIDE)
    assert torch.bincount(blocks.flatten()).tolist() == [784] * 16
    assert torch.bincount(rings.flatten()).tolist() == [784, 2352, 3920, 5488]
    assert set(torch.bincount(triangles.flatten()).tolist()) == {1540, 1596}
    corners = [triangles[50, 5], triangles[5, 50], triangles[5, 60], triangles[50, 107], triangles[60, 5],
               triangles[107, 50], triangles[107, 60], triangles[60, 107]]
    assert corners == list(range(8))


def test_appearance_is_where_colours_change():
    clip = torch.zeros(1, 3, 16, SIDE, SIDE)
    clip[:, 0] = 0.9  # red, 5
    clip[:, :, :, 28:56, 84:] = torch.tensor([0.1, 0.9, 0.1]).view(3, 1, 1, 1)  # block 8 is green, 3 …
    clip[:, 1, :, 28:56, 84:] -= torch.linspace(0, 0.3, 16).view(16, 1, 1)  # … and grows darker
    numbers = appearance_statistics(clip)
    assert numbers.shape == (1, 13)
    assert numbers[0, :4].tolist() == [8, 3, 1, 5]  # most change, its colour; least: the first of those that are still
    assert numbers[0, 4] == 3 and numbers[0, 8] == 4  # the third ring; below the diagonal in the top right quarter
    assert numbers[0, 5] == 5 and numbers[0, 9] == 5 and numbers[0, 12] == 5  # mostly red
    blue = torch.zeros(1, 3, 2, 64, 64)
    blue[:, 2] = 1
    assert appearance_statistics(blue)[0, 12] == 2


def test_the_target_is_of_the_picture_before_it_was_normalised():
    rgb = moving(box(30, 30, 40, 40), 2, 0)
    want = torch.cat([motion_statistics(rgb), appearance_statistics(rgb)], 1)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    scaled = (rgb - torch.tensor(mean).view(3, 1, 1, 1)) / torch.tensor(std).view(3, 1, 1, 1)
    label = torch.zeros(1, dtype=torch.int64)
    assert torch.equal(mas().target(label, rgb[:, None]), want)
    assert (mas(mean=mean, std=std).target(label, scaled[:, None])[:, :14] - want[:, :14]).abs().max() == 0
    pretext, output = mas(appearance=0.5), torch.zeros(1, 27)
    loss = (want[:, :14] ** 2).mean() + 0.5 * (want[:, 14:] ** 2).mean()
    torch.testing.assert_close(pretext.loss(output, want), loss)
    assert pretext.head(6, HeadOptions("linear"))(torch.rand(3, 1, 6)).shape == (3, 27)


def test_samples_and_bad_options():
    pretext = mas()
    samples = [pretext.sample(0, number) for number in range(50)]
    assert {sample.clips[0].segment for sample in samples} == {0} and {sample.kind for sample in samples} == {""}
    assert all(np.all(np.diff(sample.clips[0].frames) == 1) for sample in samples)
    for setting, message in ((dict(clip_length=1), "clip_length 1 is too short"), (dict(crop=20), "crop 20 is too sma"),
                             (dict(appearance=-1), "pretext.appearance -1 must be a number, at least 0")):
        with pytest.raises(EruvError, match=message):
            mas(**setting)
    with pytest.raises(EruvError, match="no segment has the 16 frames that mas needs"):
        mas(SEGMENTS[1:])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mas", "flow"])
def test_a_run_is_scored_by_its_loss_and_resumes_bit_for_bit(tmp_path, name):
    for number in range(4):
        write_video(tmp_path / "videos" / f"{number}.mp4", frames=60, size=(64, 96), first=100 * number)
    prepare([tmp_path / "videos"], tmp_path / "data", device="cpu", pack="raw", workers=1, frame_size=(64, 86))
    dataset = Dataset(tmp_path / "data")
    words = [f"pretext={name}", "device=cpu", "data.crop=40", "data.frame_size=[64,86]", "data.batch_size=2",
             "data.pairs_per_epoch=4", "data.val_pairs=4", "model.width=4", "model.backbone=r3d", "log.every_steps=1",
             "optim.schedule=step", "optim.drop_every=3", "optim.lr=0.001", "log.tensorboard=false"]
    result = pretrain(load_config(None, [*words, "optim.epochs=3"]), dataset, tmp_path / "whole")
    lines = metrics(tmp_path / "whole")
    losses = [line["val"]["loss"] for line in lines if "val" in line]
    assert result["loss"] == min(losses) and result["samples"] == 4 and "accuracy" not in result
    assert losses.index(min(losses)) == result["epoch"]
    assert json.loads((tmp_path / "whole/result.json").read_text()) == result
    rates = [line["lr"] for line in lines if "lr" in line]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4])  # the rate each step was taken at
    assert (tmp_path / "whole/curves.png").exists() and not (tmp_path / "whole/confusion.png").exists()
    pretrain(load_config(None, [*words, "optim.epochs=2"]), dataset, tmp_path / "parts")
    pretrain(load_config(None, [*words, "optim.epochs=3"]), dataset, tmp_path / "parts", resume=True)
    assert metrics(tmp_path / "parts") == lines
