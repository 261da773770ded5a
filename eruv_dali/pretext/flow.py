"""Flow: predict where and which way a clip moves.

A regression on histograms of the clip's flow over a grid of cells. Such histograms are those of Dalal, Triggs, Schmid,
"Human Detection Using Oriented Histograms of Flow and Appearance", ECCV 2006, and of Laptev, Marszalek, Schmid,
Rozenfeld, "Learning Realistic Human Actions from Movies", CVPR 2008, section 3.2. To have a network predict numbers of
a clip's flow, which nobody has to label, is the idea of MAS (`mas.py`), whose numbers name the place of most motion;
these say how much moves in every place. No paper has it in this form. The targets are computed from the clips as they
are delivered, on their device.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from eruv_dali.models.heads import HeadOptions, concatenated
from eruv_dali.pretext.optical_flow import clip_flow
from eruv_dali.pretext.pretext import PretextOptions
from eruv_dali.pretext.told_motion import ToldMotion

CELLS = 4  # rows and columns of the grid
DIRECTIONS = 8
NUMBERS = CELLS * CELLS * DIRECTIONS
SCALE = 200.0  # the numbers of real videos then have a deviation of 0.4 (crops of 112) to 1 (crops of 32)


@dataclass
class FlowOptions(PretextOptions):
    """Flow has no options."""

    name: str = "flow"


class Flow(ToldMotion):
    """Flow; see `ToldMotion`. Its loss is the mean squared error."""

    name = "flow"
    Options = FlowOptions

    def head(self, feature_dim: int, options: HeadOptions) -> nn.Module:
        return concatenated(1, feature_dim, NUMBERS, options)

    def target(self, label_B: torch.Tensor, clips: torch.Tensor) -> torch.Tensor:
        """(B, 128) float32, on the clips' device: `flow_histograms`, times SCALE."""
        return SCALE * flow_histograms(self.colours(clips))

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(output, target)


@torch.no_grad()
def flow_histograms(rgb_B3THW: torch.Tensor) -> torch.Tensor:
    """(B, 128) float32: how far each of 4x4 cells, row by row, moves in each of 8 directions, as a share of the clip's
    side: the mean displacement from frame to frame.

    The first direction is to the right, each further one 45 degrees clockwise of the one before. A displacement between
    two directions counts for both, in proportion to its nearness.

    Args:
        rgb_B3THW: square clips of values from 0 to 1, of two frames or more.
    """
    right, down = clip_flow(rgb_B3THW).unbind(2)  # (B, T - 1, h, w) each
    length = torch.hypot(right, down) / rgb_B3THW.shape[-1]
    angle = torch.atan2(down, right) * (DIRECTIONS / (2 * math.pi))
    below, beyond = angle.floor(), angle - angle.floor()
    directed_BDTHW = length.new_zeros(len(length), DIRECTIONS, *length.shape[1:])
    for direction, share in ((below, 1 - beyond), (below + 1, beyond)):
        directed_BDTHW.scatter_(1, (direction.long() % DIRECTIONS)[:, None], (length * share)[:, None])
    return F.adaptive_avg_pool2d(directed_BDTHW.mean(2), CELLS).permute(0, 2, 3, 1).flatten(1)
