"""OPN: recognise the order into which four frames were shuffled.

Lee, Huang, Singh, Yang, "Unsupervised Representation Learning by Sorting Sequences", ICCV 2017.
Four frames, 80 × 80 pixels of each, in one of 4! / 2 = 12 orders: an order and its reverse are the same, as many
actions look alike backwards. As in the public code (HsinYingLee/OPN) the four are mirrored together or not, each is
shifted by up to 5 pixels (against edges that stay in place) and shows one random colour channel in the place of all
three (against colours by which frames could be matched). The head compares the frames pairwise.

The paper draws frames and the place of the crop where the optical flow is large. A sample here is drawn before any
pixel is seen, so frames are `interval` apart at a random place in the segment, and the crop is anywhere in the frame.

The paper's network sees single frames: clip_length 1 and a 2D backbone. A longer clip repeats the frame, for 3D ones.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from torch import nn

from eruv_dali.checks import whole_number
from eruv_dali.errors import EruvError
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.models.heads import HeadOptions, PairwiseHead
from eruv_dali.pretext.colors import replicated_channel
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting

FRAMES = 4
ORDERS = [order for order in permutations(range(FRAMES)) if order[0] < order[-1]]  # of each and its reverse, one


@dataclass
class OpnOptions(PretextOptions):
    """Options of OPN."""

    name: str = "opn"
    interval: int = 10  # source frames from one frame to the next
    jitter: int = 5  # pixels by which each frame is shifted at most, up, down, left and right
    flip: bool = True  # half of the samples are mirrored left to right


class Opn(Pretext):
    """Draws four frames from segments and shuffles them, orders uniformly, each forwards or backwards.

    A kind is the order, frames counted from 1 in the order of time, that of the two whose first is earlier than its
    last: "1324" shows 1, 3, 2, 4 or 4, 2, 3, 1.

    Raises:
        EruvError: a bad option, a crop that leaves no room for the shifts, or no segment long enough.
    """

    name = "opn"
    kind_word = "order"
    Options = OpnOptions
    heads = ("mlp",)
    stills = True
    transforms = ("flip", "color")
    kinds = tuple("".join(str(frame + 1) for frame in order) for order in ORDERS)
    clips_per_sample = FRAMES
    options: OpnOptions

    @classmethod
    def check(cls, setting: Setting, options: OpnOptions) -> None:
        super().check(setting, options)
        whole_number("pretext.interval", options.interval, least=1)
        whole_number("pretext.jitter", options.jitter, least=0)
        height, width = setting.frame_size
        if setting.crop + 2 * options.jitter > min(height, width):
            raise EruvError(f"crop {setting.crop} leaves no room for shifts of {options.jitter} pixels in frames of "
                            f"{height}x{width}; lower data.crop or pretext.jitter")

    @classmethod
    def frames_needed(cls, setting: Setting, options: OpnOptions) -> int:
        return (FRAMES - 1) * options.interval + 1

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        label, place, random = self.draw(epoch, number, attempt)
        start = self.start(place, random, self.frames_needed(self.setting, self.options))
        flip = bool(random.integers(2)) and self.options.flip
        order = ORDERS[label][::-1] if random.integers(2) else ORDERS[label]
        jitter, crop = self.options.jitter, self.setting.crop
        corner = [int(random.integers(jitter, edge - crop - jitter + 1)) for edge in self.setting.frame_size]
        frames = [self._frame(place, random, start + shown * self.options.interval, corner, flip)
                  for shown in range(FRAMES)]
        return Sample(self.kinds[label], label, tuple(frames[shown] for shown in order))

    def _frame(
        self, place: int, random: np.random.Generator, frame: int, corner: list[int], flip: bool
    ) -> ClipRequest:
        """A frame, its crop shifted from `corner` (top, left), in one of its colours."""
        down, right = (int(shift) for shift in random.integers(-self.options.jitter, self.options.jitter + 1, 2))
        return self.still(place, random, frame, crop=(corner[0] + down, corner[1] + right), flip=flip,
                          color=replicated_channel(int(random.integers(3))))

    def head(self, feature_dim: int, options: HeadOptions) -> nn.Module:
        return PairwiseHead(self.clips_per_sample, feature_dim, len(self.kinds), options)

    def advice(self, kind: str, head: HeadOptions) -> str:
        return "the order is visible only where something moves; train longer, or raise pretext.interval"
