"""PRP: recognise the rate at which a clip was sampled.

Yao, Liu, Luo, Zhou, Ye, "Video Playback Rate Perception for Self-Supervised Spatio-Temporal Representation Learning",
CVPR 2020. A clip of 16 frames, every 1st, 2nd, 4th or 8th (section 3.2, the discriminative half). The generative half,
which reconstructs the clip at twice its rate, is not here; the public code (yuanyao366/PRP) weighs the classification
with 0.1 against it.

The public code draws the rate first and looks for a video that is long enough. Here every segment is long enough for
all rates, and the clip lies where the longest would fit: the length of a segment and where a clip begins in it reveal
nothing about the rate. Crops are random as in the other pretexts; the public code takes the middle one.
"""

from dataclasses import dataclass, field

import numpy as np
from torch import nn

from eruv_dali.models.heads import HEADS, HeadOptions, concatenated
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting, check_speeds


@dataclass
class PrpOptions(PretextOptions):
    """Options of PRP."""

    name: str = "prp"
    dilations: list[int] = field(default_factory=lambda: [1, 2, 4, 8])  # source frames from one frame to the next


class Prp(Pretext):
    """Draws clips from segments, dilations uniformly. A kind is the dilation.

    Raises:
        EruvError: a bad option, or no segment long enough.
    """

    name = "prp"
    kind_word = "dilation"
    Options = PrpOptions
    heads = HEADS
    clips_per_sample = 1
    options: PrpOptions

    def __init__(self, segments: np.ndarray, setting: Setting, options: PrpOptions) -> None:
        self.check(setting, options)
        self.kinds = tuple(map(str, options.dilations))
        super().__init__(segments, setting, options)

    @classmethod
    def check(cls, setting: Setting, options: PrpOptions) -> None:
        super().check(setting, options)
        check_speeds("pretext.dilations", options.dilations, setting)

    @classmethod
    def frames_needed(cls, setting: Setting, options: PrpOptions) -> int:
        return (setting.clip_length - 1) * max(options.dilations) + 1

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        label, place, random = self.draw(epoch, number, attempt)
        start = self.start(place, random, self.span(max(self.options.dilations)))
        clip = self.clip(place, random, start=start, speed=self.options.dilations[label])
        return Sample(self.kinds[label], label, (clip,))

    def head(self, feature_dim: int, options: HeadOptions) -> nn.Module:
        return concatenated(1, feature_dim, len(self.kinds), options)

    def advice(self, kind: str, head: HeadOptions) -> str:
        return "the rate is visible only where something moves; train longer, or with more videos"
