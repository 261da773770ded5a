"""Where a clip moves most, and where its colours change most: the numbers that MAS predicts.

Wang, Jiao, Bao, He, Liu, Liu, "Self-supervised Spatio-temporal Representation Learning for Videos by Predicting Motion
and Appearance Statistics", CVPR 2019, section 3. Computed from the delivered clip, so they hold for what the network
sees; the flow is `optical_flow`. A frame is divided in three ways (section 3.2):

    1  4x4 blocks, row by row          2  four rings, from the middle outwards
    3  its quarters (top left, top right, bottom left, bottom right), each halved by the diagonal through the middle:
       in the first and last the lower left triangle comes first, in the others the upper one

Places, directions, colours and frames are counted from 1; 0 stands for a clip in which nothing moves.
"""

import math

import torch

from eruv_dali.pretext.optical_flow import clip_flow, slopes

REGIONS = (16, 4, 8)  # of each division
DIRECTIONS = 8
COLOURS = 8  # a half of each of red, green and blue
MOTION, APPEARANCE = 14, 13
STILL = 0.002  # mean slope of the flow, a frame, in the region with most, up to which nothing moves: rounding


def divisions(height: int, width: int, device: torch.device | str = "cpu") -> list[torch.Tensor]:
    """For each of the three divisions the region, from 0, that a pixel belongs to: (height, width) int64."""
    whole = 2 * height * width  # in whole numbers of this unit: the diagonals are sharp
    y = (torch.arange(height, device=device) * 2 + 1)[:, None] * width
    x = (torch.arange(width, device=device) * 2 + 1)[None] * height
    y, x = torch.broadcast_tensors(y, x)
    blocks = 4 * y // whole * 4 + 4 * x // whole
    rings = 4 * torch.maximum((2 * y - whole).abs(), (2 * x - whole).abs()) // whole
    quarter = 2 * y // whole * 2 + 2 * x // whole
    rising = (quarter == 1) | (quarter == 2)  # where the diagonal through the middle rises to the right
    down, right = 2 * y % whole, 2 * x % whole
    first = torch.where(rising, down + right < whole, down > right)
    return [blocks, rings, 2 * quarter + (~first).long()]


@torch.no_grad()
def motion_statistics(rgb_B3THW: torch.Tensor) -> torch.Tensor:
    """(B, 14) float32: for each division the region of most horizontal motion boundary and its direction, the same of
    vertical; then the frames (1 is from the first to the second) with most of the one and of the other.

    A motion boundary is the slope of the flow's part to the right (horizontal) or down (vertical), averaged over the
    clip: a moving camera has none. Its direction is that of the slope, towards what moves further right or down, in
    steps of 45 degrees clockwise from "right" = 1: the one with most weight in that region.

    Args:
        rgb_B3THW: clips of values from 0 to 1, of two frames or more.
    """
    flow = clip_flow(rgb_B3THW)
    B, T = flow.shape[:2]
    regions = divisions(flow.shape[3], flow.shape[4], flow.device)
    numbers, frames = [], []
    for part in (0, 1):  # to the right, down
        dx, dy = (slope.unflatten(0, (B, T)) for slope in slopes(flow[:, :, part].flatten(0, 1)[:, None]))
        strength = torch.hypot(dx, dy).mean((2, 3, 4))
        frames.append((strength.argmax(1) + 1) * (strength.amax(1) > STILL))
        numbers.append(_most(dx.mean((1, 2)), dy.mean((1, 2)), regions))
    places = torch.stack(numbers, 2).flatten(1)  # (B, 3 divisions, 2 parts, 2)
    return torch.cat([places, torch.stack(frames, 1)], 1).float()


def _most(dx: torch.Tensor, dy: torch.Tensor, regions: list[torch.Tensor]) -> torch.Tensor:
    """(B, 3, 2): for each division the region with most slope for its size, and the direction with most weight in it,
    counted from 1; 0 where there is none. dx, dy: (B, h, w)."""
    strength = torch.hypot(dx, dy).flatten(1)
    angle = torch.atan2(dy, dx).flatten(1) * (DIRECTIONS / (2 * math.pi)) % DIRECTIONS
    below, share = angle.floor().long() % DIRECTIONS, angle % 1
    numbers = []
    for region, count in zip(regions, REGIONS, strict=True):
        inside = torch.nn.functional.one_hot(region.flatten(), count).float()  # (h * w, count)
        mean = strength @ inside / inside.sum(0)
        place = mean.argmax(1)
        weight = strength * inside.T[place]
        votes = strength.new_zeros(len(strength), DIRECTIONS)
        votes.scatter_add_(1, below, weight * (1 - share))  # a direction between two counts for both
        votes.scatter_add_(1, (below + 1) % DIRECTIONS, weight * share)
        moves = mean.amax(1) > STILL
        numbers.append(torch.stack([(place + 1) * moves, (votes.argmax(1) + 1) * moves], 1))
    return torch.stack(numbers, 1)


@torch.no_grad()
def appearance_statistics(rgb_B3THW: torch.Tensor) -> torch.Tensor:
    """(B, 13) float32: for each division the region whose colours change most over the clip and its main colour, the
    region whose colours change least and its main colour; then the main colour of the whole clip.

    How little colours change is the overlap of the frames' histograms, for red, green and blue each: the sum of the
    smallest counts of each level by the sum of the largest. The main colour is the most frequent of 8:
    1 + 4 [red > 127] + 2 [green > 127] + [blue > 127].

    Args:
        rgb_B3THW: clips of values from 0 to 1.
    """
    level = (rgb_B3THW.float() * 255).round().clamp(0, 255).long()
    B, _, T, H, W = level.shape
    halves = (level > 127).long()
    colour = (4 * halves[:, 0] + 2 * halves[:, 1] + halves[:, 2]).flatten(1)  # (B, T * H * W)
    numbers = []
    for region, count in zip(divisions(H, W, level.device), REGIONS, strict=True):
        bins = (region * 256 + level).flatten(3)
        ones = torch.ones((), dtype=torch.int32, device=level.device).expand_as(bins)
        counts = torch.zeros(B, 3, T, count * 256, dtype=torch.int32, device=level.device).scatter_add_(3, bins, ones)
        counts = counts.unflatten(3, (count, 256))
        same = (counts.amin(2).sum(-1) / counts.amax(2).sum(-1)).mean(1)  # (B, count)
        colours = _count(region.expand(B, T, H, W).flatten(1) * COLOURS + colour, count * COLOURS)
        main = colours.unflatten(1, (count, COLOURS)).argmax(2)
        for place in (same.argmin(1), same.argmax(1)):
            numbers += [place + 1, main.gather(1, place[:, None])[:, 0] + 1]
    numbers.append(_count(colour, COLOURS).argmax(1) + 1)
    return torch.stack(numbers, 1).float()


def _count(which: torch.Tensor, size: int) -> torch.Tensor:
    """(B, size) int32: how often each number below `size` stands in each row of (B, N) int64."""
    ones = torch.ones((), dtype=torch.int32, device=which.device).expand_as(which)
    return torch.zeros(len(which), size, dtype=torch.int32, device=which.device).scatter_add_(1, which, ones)
