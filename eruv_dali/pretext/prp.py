"""PRP: recognise the rate at which a clip was sampled, and reconstruct it at twice that rate.

Yao, Liu, Luo, Zhou, Ye, "Video Playback Rate Perception for Self-Supervised Spatio-Temporal Representation Learning",
CVPR 2020. A clip of 16 frames, every 1st, 2nd, 4th or 8th (section 3.2, the discriminative half). With `reconstruct`, a
decoder also reconstructs the clip at twice its rate (section 3.3, the generative half; `reconstruction.py`); as in the
public code (yuanyao366/PRP), the loss is then the reconstruction's plus 0.1 times the classification's.

The public code draws the rate first and looks for a video that is long enough. Here every segment is long enough for
all rates, and the clip lies where the longest would fit: the length of a segment and where a clip begins in it reveal
nothing about the rate. Crops are random as in the other pretexts; the public code takes the middle one.
"""

from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from eruv_dali.errors import EruvError
from eruv_dali.models.backbone import Backbone
from eruv_dali.models.heads import HeadOptions, concatenated
from eruv_dali.models.pretext_net import PretextNet
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting, check_speeds
from eruv_dali.pretext.reconstruction import ReconstructingNet


@dataclass
class PrpOptions(PretextOptions):
    """Options of PRP."""

    name: str = "prp"
    dilations: list[int] = field(default_factory=lambda: [1, 2, 4, 8])  # source frames from one frame to the next
    reconstruct: bool = False  # also reconstruct the clip at twice its rate
    classification: float = 0.1  # weight of the classification's loss beside the reconstruction's


class Prp(Pretext):
    """Draws clips from segments, dilations uniformly. A kind is the dilation. With `reconstruct`, a second clip with
    the same crop shows the frames halfway between those of the first (with dilation 1: the same frames again).

    Raises:
        EruvError: a bad option, or no segment long enough.
    """

    name = "prp"
    kind_word = "dilation"
    Options = PrpOptions
    options: PrpOptions

    def __init__(self, segments: np.ndarray, setting: Setting, options: PrpOptions) -> None:
        self.check(setting, options)
        self.kinds = tuple(map(str, options.dilations))
        self.clips_per_sample = 2 if options.reconstruct else 1
        self._needed = self.frames_needed(setting, options)
        super().__init__(segments, setting, options)

    @classmethod
    def check(cls, setting: Setting, options: PrpOptions) -> None:
        super().check(setting, options)
        check_speeds("pretext.dilations", options.dilations, setting)
        if not isinstance(options.classification, int | float) or not 0 <= options.classification < inf:
            raise EruvError(f"pretext.classification {options.classification!r} must be a number, at least 0")
        if options.reconstruct:
            cls._check_reconstruction(setting, options.dilations)

    @staticmethod
    def _check_reconstruction(setting: Setting, dilations: list[int]) -> None:
        frames, crop = setting.clip_length, setting.crop
        if frames % 8 or crop % 16:
            raise EruvError(f"a clip of {frames} frames of {crop}x{crop} cannot be reconstructed: data.clip_length "
                            "must be a multiple of 8, data.crop of 16")
        for dilation in dilations:
            if dilation > 1 and (dilation % 2 or dilation > frames or 2 * frames % dilation):
                raise EruvError(f"pretext.dilations {dilation} cannot be reconstructed: it must be 1, or an even "
                                f"divisor of {2 * frames} that is not larger than clip_length, {frames}")

    @classmethod
    def frames_needed(cls, setting: Setting, options: PrpOptions) -> int:
        longest = max(options.dilations)
        return (setting.clip_length - 1) * longest + 1 + (longest // 2 if options.reconstruct else 0)

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        label, place, random = self.draw(epoch, number, attempt)
        dilation = self.options.dilations[label]
        clip = self.clip(place, random, start=self.start(place, random, self._needed), speed=dilation)
        if not self.options.reconstruct:
            return Sample(self.kinds[label], label, (clip,))
        return Sample(self.kinds[label], label, (clip, replace(clip, frames=clip.frames + dilation // 2)))

    def head(self, feature_dim: int, options: HeadOptions) -> nn.Module:
        return concatenated(1, feature_dim, len(self.kinds), options)  # of the clip that is seen

    def net(self, backbone: Backbone, options: HeadOptions) -> PretextNet:
        if not self.options.reconstruct:
            return super().net(backbone, options)
        return ReconstructingNet(backbone, self.head(backbone.feature_dim, options), dilations=self.options.dilations,
                                 mean=self.setting.mean, std=self.setting.std)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if not self.options.reconstruct:
            return super().loss(output, target)
        logits_BR, errors_BR = output.split(len(self.kinds), 1)
        reconstruction = errors_BR.gather(1, target[:, None]).mean()
        return reconstruction + self.options.classification * F.cross_entropy(logits_BR, target)

    def advice(self, kind: str, head: HeadOptions) -> str:
        return "the rate is visible only where something moves; train longer, or with more videos"
