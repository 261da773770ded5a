"""Pace: recognise the pace at which a clip is played.

Wang, Jiao, Liu, "Self-supervised Video Representation Learning by Pace Prediction", ECCV 2020.
A clip of 16 frames, every 1st, 2nd, 3rd or 4th, perhaps mirrored, its colours changed at random (the pace of a clip
can also be read from how much its colours change from frame to frame; the public code, laura-wang/video-pace, changes
the colours of each frame by itself, the loader those of the whole clip alike).

The public code begins again at the first frame where a video is too short. Here every segment is long enough for all
paces, and the clip lies where the longest would fit: the length of a segment and where a clip begins in it reveal
nothing about the pace. The contrastive loss that the paper adds in one of its variants is not here.
"""

from dataclasses import dataclass, field

import numpy as np

from eruv_dali.checks import share
from eruv_dali.models.heads import HeadOptions
from eruv_dali.pretext.colors import color_jitter
from eruv_dali.pretext.looks import check_jitter
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting, check_speeds


@dataclass
class PaceOptions(PretextOptions):
    """Options of pace prediction."""

    name: str = "pace"
    paces: list[int] = field(default_factory=lambda: [1, 2, 3, 4])  # source frames from one frame to the next
    flip: bool = True  # half of the clips are mirrored left to right
    jitter: list[float] = field(default_factory=lambda: [0.8, 0.8, 0.8, 0.2])  # brightness, contrast, saturation, hue
    jittered: float = 0.8  # share of the clips whose colours are changed


class Pace(Pretext):
    """Draws clips from segments, paces uniformly. A kind is the pace.

    Raises:
        EruvError: a bad option, or no segment long enough.
    """

    name = "pace"
    kind_word = "pace"
    Options = PaceOptions
    transforms = ("flip", "color")
    clips_per_sample = 1
    options: PaceOptions

    def __init__(self, segments: np.ndarray, setting: Setting, options: PaceOptions) -> None:
        self.check(setting, options)
        self.kinds = tuple(map(str, options.paces))
        super().__init__(segments, setting, options)

    @classmethod
    def check(cls, setting: Setting, options: PaceOptions) -> None:
        super().check(setting, options)
        check_speeds("pretext.paces", options.paces, setting)
        check_jitter(options.jitter)
        share("pretext.jittered", options.jittered)

    @classmethod
    def frames_needed(cls, setting: Setting, options: PaceOptions) -> int:
        return (setting.clip_length - 1) * max(options.paces) + 1

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        label, place, random = self.draw(epoch, number, attempt)
        start = self.start(place, random, self.span(max(self.options.paces)))
        flip = bool(random.integers(2)) and self.options.flip
        color = color_jitter(random, *self.options.jitter) if random.random() < self.options.jittered else None
        clip = self.clip(place, random, start=start, speed=self.options.paces[label], flip=flip, color=color)
        return Sample(self.kinds[label], label, (clip,))

    def advice(self, kind: str, head: HeadOptions) -> str:
        return "the pace is visible only where something moves; train longer, or with more videos"
