"""How much moves in a clip, and where: numbers that say nothing about what moves."""

import torch
from torch.nn import functional as F

APART = (1, 2, 4, 8)  # frames
DARK = 1e-5  # added before logarithms
CELLS = (6, 8)  # rows and columns


def change(clips_BCTHW: torch.Tensor) -> torch.Tensor:
    """(B, 12): logarithms of mean, deviation and maximum over time of the change between frames 1, 2, 4, 8 apart."""
    found = []
    for apart in APART:
        change_BT = (clips_BCTHW[:, :, apart:] - clips_BCTHW[:, :, :-apart]).abs().mean((1, 3, 4))
        found += [change_BT.mean(1), change_BT.std(1), change_BT.amax(1)]
    return (torch.stack(found, 1) + DARK).log()


def place_of_motion(clips_BCTHW: torch.Tensor) -> torch.Tensor:
    """(B, 48): mean change between neighbouring frames in each of CELLS, row by row."""
    change_BHW = (clips_BCTHW[:, :, 1:] - clips_BCTHW[:, :, :-1]).abs().mean((1, 2))
    return F.adaptive_avg_pool2d(change_BHW[:, None], CELLS).flatten(1)
