"""Clips in which a texture moves as drawn, for tests of flow."""

import torch

SIDE, FRAMES = 112, 8


def texture(seed=0, side=240):
    """A picture of blurred noise, values from 0 to 1."""
    noise = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool2d(torch.nn.functional.avg_pool2d(noise, 5, 1, 2), 5, 1, 2)[0, 0]
    return ((smooth - smooth.mean()) / smooth.std() / 5 + 0.5).clamp(0, 1)


def moving(mask, right, down):
    """A clip (1, 3, T, H, W) in which the texture inside `mask` (H, W) moves by so many pixels a frame."""
    still, picture = texture(1)[:SIDE, :SIDE], texture(2)
    frames = []
    for t in range(FRAMES):
        top, left = 64 - t * down, 64 - t * right
        frames.append(torch.where(mask, picture[top : top + SIDE, left : left + SIDE], still))
    return torch.stack(frames).expand(1, 3, -1, -1, -1)


def box(top, left, height, width):
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask
