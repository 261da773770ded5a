"""MAS: predict where a clip moves most and in which direction, and where its colours change most.

Wang, Jiao, Bao, He, Liu, Liu, "Self-supervised Spatio-temporal Representation Learning for Videos by Predicting Motion
and Appearance Statistics", CVPR 2019. A regression: 14 numbers of motion, 13 of appearance (`clip_statistics`), mean
squared error, appearance weighted by 0.1 (section 3.4). The targets are computed from the clips as they are delivered,
on their device; the public code (laura-wang/video_repres_mas) precomputes TV-L1 flow, ours is that of `optical_flow`.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from eruv_dali.errors import EruvError
from eruv_dali.models.heads import HeadOptions, concatenated
from eruv_dali.pretext.clip_statistics import APPEARANCE, MOTION, appearance_statistics, motion_statistics
from eruv_dali.pretext.pretext import PretextOptions, Setting
from eruv_dali.pretext.told_motion import ToldMotion


@dataclass
class MasOptions(PretextOptions):
    """Options of MAS."""

    name: str = "mas"
    appearance: float = 0.1  # weight of the appearance numbers; the motion numbers' is 1


class Mas(ToldMotion):
    """MAS; see `ToldMotion`."""

    name = "mas"
    Options = MasOptions
    options: MasOptions

    @classmethod
    def check(cls, setting: Setting, options: MasOptions) -> None:
        super().check(setting, options)
        if not isinstance(options.appearance, int | float) or not 0 <= options.appearance < float("inf"):
            raise EruvError(f"pretext.appearance {options.appearance!r} must be a number, at least 0")

    def head(self, feature_dim: int, options: HeadOptions) -> nn.Module:
        return concatenated(1, feature_dim, MOTION + APPEARANCE, options)

    def target(self, label_B: torch.Tensor, clips: torch.Tensor) -> torch.Tensor:
        """(B, 27) float32, on the clips' device: the motion numbers, then the appearance numbers."""
        rgb_B3THW = self.colours(clips)
        return torch.cat([motion_statistics(rgb_B3THW), appearance_statistics(rgb_B3THW)], 1)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        motion, appearance = (F.mse_loss(output[:, part], target[:, part])
                              for part in (slice(MOTION), slice(MOTION, None)))
        return motion + self.options.appearance * appearance
