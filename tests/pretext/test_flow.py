"""Flow: the numbers are what moves, where and which way; a network learns them, and is scored by its loss."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from drawn_motion import SIDE, box, moving

from eruv_dali import EruvError
from eruv_dali.dataset import SEGMENT
from eruv_dali.models import HeadOptions
from eruv_dali.pretext.flow import SCALE, Flow, FlowOptions, flow_histograms
from eruv_dali.pretext.optical_flow import WINDOW, bands, window_mean
from eruv_dali.pretext.pretext import Setting

SEGMENTS = np.array([(0, 0, 0, 0, 300), (1, 1, 0, 0, 15)], SEGMENT)
WHOLE = torch.ones(SIDE, SIDE, dtype=torch.bool)


def flow(segments=SEGMENTS, **setting):
    return Flow(segments, Setting(**setting), FlowOptions())


@pytest.mark.parametrize("right, down, direction", [
    (2, 0, 0), (2, 2, 1), (0, 2, 2), (-2, 2, 3), (-2, 0, 4), (-2, -2, 5), (0, -2, 6), (2, -2, 7)])
def test_the_direction_and_the_distance_are_those_drawn(right, down, direction):
    inner = flow_histograms(moving(WHOLE, right, down)).view(4, 4, 8)[1:3, 1:3].mean((0, 1)) * SIDE
    assert inner.argmax() == direction
    assert inner.sum() == pytest.approx(np.hypot(right, down), rel=0.1)
    assert inner[direction] > 0.75 * inner.sum()


def test_a_displacement_between_two_directions_counts_for_both():
    inner = flow_histograms(moving(WHOLE, 4, 1)).view(4, 4, 8)[1:3, 1:3].mean((0, 1))
    assert inner[1] / inner[:2].sum() == pytest.approx(np.arctan2(1, 4) / (np.pi / 4), abs=0.06)
    assert inner[2:].sum() < 0.05 * inner.sum()


@pytest.mark.parametrize("place", range(16))
def test_the_cell_that_moves_is_the_one_drawn(place):
    top, left = 28 * (place // 4), 28 * (place % 4)
    cells = flow_histograms(moving(box(top + 4, left + 4, 20, 20), 2, 0)).view(16, 8)
    assert cells[:, 0].argmax() == place and cells[place, 0] > 3 * cells[[k for k in range(16) if k != place], 0].max()


def test_numbers_do_not_depend_on_the_size_of_the_frame():
    large = moving(WHOLE, 4, 0)
    small = torch.nn.functional.avg_pool3d(large, (1, 2, 2))
    inner = [flow_histograms(clip).view(4, 4, 8)[1:3, 1:3].mean((0, 1)) for clip in (large, small)]
    assert torch.allclose(inner[0][0], inner[1][0], rtol=0.2)


def test_what_stands_still_has_zeros():
    assert not flow_histograms(torch.full((2, 3, 4, 64, 64), 0.3)).any()


def test_the_target_is_that_of_the_clip_as_it_was_before_it_was_normalised():
    pretext = flow(mean=(0.4, 0.5, 0.3), std=(0.2, 0.3, 0.25))
    rgb = moving(box(20, 20, 40, 40), 2, 1)
    mean, std = (torch.tensor(three).view(3, 1, 1, 1) for three in (pretext.setting.mean, pretext.setting.std))
    target = pretext.target(torch.zeros(1, dtype=torch.int64), ((rgb - mean) / std)[:, None])
    assert torch.allclose(target, SCALE * flow_histograms(rgb), atol=1e-2) and target.shape == (1, 128)
    assert pretext.head(16, HeadOptions("linear"))(torch.zeros(1, 1, 16)).shape == target.shape
    assert pretext.loss(target, target) == 0 and pretext.loss(target + 2, target) == pytest.approx(4)


def test_clips_come_from_segments_that_are_long_enough():
    pretext = flow()
    assert len(pretext) == 1
    for number in range(20):
        (clip,) = pretext.sample(0, number).clips
        assert clip.video == 0 and np.all(np.diff(clip.frames) == 1) and len(clip.frames) == 16


@pytest.mark.parametrize("setting, said", [
    (dict(clip_length=1), "clip_length 1 is too short for motion"), (dict(crop=31), "crop 31 is too small"),
])
def test_clips_that_cannot_move_are_refused(setting, said):
    with pytest.raises(EruvError, match=said):
        flow(**setting)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (9, 16)])
def test_the_mean_around_a_place_is_that_of_the_picture_alone(size):
    x = torch.rand(2, 5, *size, generator=torch.Generator().manual_seed(0))
    pooled = F.avg_pool2d(x, WINDOW, 1, WINDOW // 2, count_include_pad=False)
    torch.testing.assert_close(window_mean(x, bands(size, x.device)), pooled)
