"""Space-time cubic puzzles (3D ST-puzzle): recognise the order into which four cuboids of a video were shuffled.

Kim, Cho, Kweon, "Self-Supervised Video Representation Learning with Space-Time Cubic Puzzles", AAAI 2019.
A piece of video is cut into 2 × 2 cells in space, and those into 4 in time. A puzzle is the four cells of one time, or
the four times of one cell; of each a cuboid is shown, at a random place in its cell (80 of 112 pixels in the paper,
and a random time), one random colour channel in the place of all three. The four share the network, their features are
concatenated.

The paper counts 4! = 24 orders; here puzzles in space and in time are told apart, which makes 2 · 24 = 48 kinds.
No code is public. How far cuboids vary in time, `time_jitter`, is our choice, and the second task of the paper, whether
all four are upside down, is not here.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from eruv_dali.checks import whole_number
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.models.heads import HeadOptions
from eruv_dali.pretext.colors import replicated_channel
from eruv_dali.pretext.grid import check_grid, drawn_cells, drawn_crop
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting

SIDE = 2  # cells of the grid, across and down
PIECES = 4
ORDERS = list(permutations(range(PIECES)))


@dataclass
class Puzzle3DOptions(PretextOptions):
    """Options of space-time cubic puzzles."""

    name: str = "puzzle3d"
    jitter: int = 32  # pixels by which a cuboid's place varies in its cell, across and down
    time_jitter: int = 8  # frames by which it varies in time


class Puzzle3D(Pretext):
    """Draws grids of cuboids from segments and shuffles four, orders uniformly, half of them in space.

    A kind is the dimension and the order, cuboids counted from 1, row by row or in the order of time: "space-2134"
    shows the top right one first.

    Raises:
        EruvError: a bad option, a grid that does not fit into the frame, or no segment long enough.
    """

    name = "puzzle3d"
    kind_word = "order"
    Options = Puzzle3DOptions
    transforms = ("color",)
    kinds = tuple(f"{dimension}-{''.join(str(piece + 1) for piece in order)}"
                  for dimension in ("space", "time") for order in ORDERS)
    clips_per_sample = PIECES
    options: Puzzle3DOptions

    @classmethod
    def check(cls, setting: Setting, options: Puzzle3DOptions) -> None:
        super().check(setting, options)
        check_grid(setting, SIDE, options.jitter)
        whole_number("pretext.time_jitter", options.time_jitter, least=0)

    @classmethod
    def frames_needed(cls, setting: Setting, options: Puzzle3DOptions) -> int:
        return PIECES * (setting.clip_length + options.time_jitter)

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        label, place, random = self.draw(epoch, number, attempt)
        in_time, order = divmod(label, len(ORDERS))
        start = self.start(place, random, self.frames_needed(self.setting, self.options))
        cells = drawn_cells(random, self.setting, SIDE, self.options.jitter)
        # Both are drawn for both kinds of puzzle: where the video is cut does not depend on the label.
        one_cell, one_time = int(random.integers(PIECES)), int(random.integers(PIECES))
        pieces = [self._cuboid(place, random, cells[one_cell if in_time else piece], start,
                               piece if in_time else one_time) for piece in range(PIECES)]
        return Sample(self.kinds[label], label, tuple(pieces[shown] for shown in ORDERS[order]))

    def _cuboid(
        self, place: int, random: np.random.Generator, cell: tuple[int, int], start: int, time: int
    ) -> ClipRequest:
        """A cuboid at a random place in one cell, at one of the four times from `start` on."""
        jitter = self.options.time_jitter
        first = start + time * (self.setting.clip_length + jitter) + int(random.integers(jitter + 1))
        return self.clip(place, random, start=first, crop=drawn_crop(random, cell, self.options.jitter),
                         color=replicated_channel(int(random.integers(3))))

    def advice(self, kind: str, head: HeadOptions) -> str:
        if kind.startswith("time"):
            return "the order in time is visible only where something moves; train longer, or with more videos"
        return "add videos, or train longer"
