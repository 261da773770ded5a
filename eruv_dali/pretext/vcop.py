"""VCOP: recognise the order into which clips of one video were shuffled.

Xu, Xiao, Zhao, Shao, Xie, Zhuang, "Self-supervised Spatiotemporal Learning via Video Clip Order Prediction", CVPR 2019.
Three clips of 16 frames, 8 frames apart, from one segment, shown in one of 3! = 6 orders. The head compares the clips
pairwise (section 3.3). As in VCOP's public code, each clip has its own crop; the start of the three is drawn once, so
the distances between them reveal nothing about the order.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from torch import nn

from eruv_dali.checks import whole_number
from eruv_dali.models.heads import HeadOptions, PairwiseHead
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting


@dataclass
class VcopOptions(PretextOptions):
    """Options of VCOP."""

    name: str = "vcop"
    clips: int = 3  # in a sample; clips! orders to tell apart
    gap: int = 8  # frames between one clip and the next


class Vcop(Pretext):
    """Draws runs of clips from segments and shuffles them, orders uniformly.

    A kind is the order in which the clips are shown, counted from 1 in the order of time: "231" shows the second first.

    Raises:
        EruvError: a bad option, or no segment long enough.
    """

    name = "vcop"
    kind_word = "order"
    Options = VcopOptions
    heads = ("mlp",)
    options: VcopOptions

    def __init__(self, segments: np.ndarray, setting: Setting, options: VcopOptions) -> None:
        self.check(setting, options)
        self.clips_per_sample = options.clips
        self._orders = list(permutations(range(options.clips)))
        self.kinds = tuple("".join(str(place + 1) for place in order) for order in self._orders)
        self._needed = self.frames_needed(setting, options)
        super().__init__(segments, setting, options)

    @classmethod
    def check(cls, setting: Setting, options: VcopOptions) -> None:
        super().check(setting, options)
        whole_number("pretext.clips", options.clips, least=2, most=5)
        whole_number("pretext.gap", options.gap, least=0)

    @classmethod
    def frames_needed(cls, setting: Setting, options: VcopOptions) -> int:
        return options.clips * setting.clip_length + (options.clips - 1) * options.gap

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        label, place, random = self.draw(epoch, number, attempt)
        start = self.start(place, random, self._needed)
        step = self.setting.clip_length + self.options.gap
        clips = [self.clip(place, random, start=start + step * number) for number in range(self.clips_per_sample)]
        return Sample(self.kinds[label], label, tuple(clips[shown] for shown in self._orders[label]))

    def head(self, feature_dim: int, options: HeadOptions) -> nn.Module:
        return PairwiseHead(self.clips_per_sample, feature_dim, len(self.kinds), options)

    def advice(self, kind: str, head: HeadOptions) -> str:
        return "the order is visible only where something moves or changes; train longer, or with more videos"
