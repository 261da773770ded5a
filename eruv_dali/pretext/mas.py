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
from eruv_dali.models.heads import HEADS, HeadOptions, concatenated
from eruv_dali.pretext.clip_statistics import APPEARANCE, MOTION, appearance_statistics, motion_statistics
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting

LEAST_CROP = 32  # pixels, so that every region of a frame has some at the coarsest scale


@dataclass
class MasOptions(PretextOptions):
    """Options of MAS."""

    name: str = "mas"
    appearance: float = 0.1  # weight of the appearance numbers; the motion numbers' is 1


class Mas(Pretext):
    """Draws clips from segments. It has no kinds: the network is scored by its loss.

    Raises:
        EruvError: a bad option, a clip or crop that is too small, or no segment long enough.
    """

    name = "mas"
    Options = MasOptions
    heads = HEADS
    kinds = ()
    clips_per_sample = 1
    options: MasOptions

    @classmethod
    def check(cls, setting: Setting, options: MasOptions) -> None:
        super().check(setting, options)
        if setting.clip_length < 2:
            raise EruvError(f"clip_length {setting.clip_length} is too short for motion; it must be at least 2")
        if setting.crop < LEAST_CROP:
            raise EruvError(f"crop {setting.crop} is too small to say where something moves; it must be at least "
                            f"{LEAST_CROP}")
        if not isinstance(options.appearance, int | float) or not 0 <= options.appearance < float("inf"):
            raise EruvError(f"pretext.appearance {options.appearance!r} must be a number, at least 0")

    @classmethod
    def frames_needed(cls, setting: Setting, options: MasOptions) -> int:
        return setting.clip_length

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        _, place, random = self.draw(epoch, number, attempt)
        return Sample("", 0, (self.clip(place, random),))

    def head(self, feature_dim: int, options: HeadOptions) -> nn.Module:
        return concatenated(1, feature_dim, MOTION + APPEARANCE, options)

    def target(self, label_B: torch.Tensor, clips: torch.Tensor) -> torch.Tensor:
        """(B, 27) float32, on the clips' device: the motion numbers, then the appearance numbers."""
        mean, std = (torch.tensor(three, device=clips.device).view(3, 1, 1, 1)
                     for three in (self.setting.mean, self.setting.std))
        rgb_B3THW = clips[:, 0].float() * std + mean
        return torch.cat([motion_statistics(rgb_B3THW), appearance_statistics(rgb_B3THW)], 1)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        motion, appearance = (F.mse_loss(output[:, part], target[:, part])
                              for part in (slice(MOTION), slice(MOTION, None)))
        return motion + self.options.appearance * appearance
