"""Büchler et al.: recognise how the tiles of a frame, or the frames of a video, were shuffled, with one network.

Büchler, Brattoli, Ommer, "Improving Spatiotemporal Self-Supervision by Deep Reinforcement Learning", ECCV 2018.
A sample is nine tiles of one frame (as in Jigsaw) or nine frames of one place (as in OPN), in one of a set of
permutations that are far apart (`permutations.py`). All pieces share the network, their features are concatenated.

What is simplified:

- There is no reinforcement learning. In the paper a policy chooses each batch's permutations; its state is how well
  the network does on groups of permutations, its reward the gain in validation. Here a sample depends on the seed and
  its number alone, so that runs resume exactly: permutations are drawn uniformly from the set, the random sampling
  that the paper's policy is to replace. The paper's figures are those with the policy.
- One classifier tells all permutations apart, of space and of time; the paper has one for each. Which of the two it is
  is plain to see.
- Both have nine pieces of one size, because all samples of a loader have one number of clips and one crop.

Against shortcuts, as in Jigsaw and OPN: each piece is at a random place in its cell, and shows one random colour
channel in the place of all three.

The paper's network sees single frames: clip_length 1 and a 2D backbone. A longer clip repeats the frame, for 3D ones.
"""

from dataclasses import dataclass

import numpy as np

from eruv_dali.checks import whole_number
from eruv_dali.models.heads import HeadOptions
from eruv_dali.pretext.colors import replicated_channel
from eruv_dali.pretext.grid import check_grid, drawn_cells, drawn_crop
from eruv_dali.pretext.permutations import distant_permutations
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting

SIDE = 3  # tiles across and down
PIECES = SIDE * SIDE


@dataclass
class BuchlerOptions(PretextOptions):
    """Options of Büchler et al."""

    name: str = "buchler"
    permutations: int = 50  # of tiles, and as many of frames
    jitter: int = 11  # pixels by which a piece's place varies in its cell, across and down
    interval: int = 5  # source frames from one frame to the next, of those that are shuffled


class Buchler(Pretext):
    """Draws frames from segments and shuffles their tiles, or runs of frames and shuffles those; uniformly.

    A kind is the dimension and the permutation, pieces counted from 1, row by row or in the order of time:
    "time-213456789" shows the second frame first.

    Raises:
        EruvError: a bad option, a grid that does not fit into the frame, or no segment long enough.
    """

    name = "buchler"
    kind_word = "permutation"
    Options = BuchlerOptions
    stills = True
    transforms = ("color",)
    clips_per_sample = PIECES
    options: BuchlerOptions

    def __init__(self, segments: np.ndarray, setting: Setting, options: BuchlerOptions) -> None:
        self.check(setting, options)
        self._permutations = distant_permutations(PIECES, options.permutations)
        self.kinds = tuple(f"{dimension}-{''.join(str(piece + 1) for piece in permutation)}"
                           for dimension in ("space", "time") for permutation in self._permutations)
        super().__init__(segments, setting, options)

    @classmethod
    def check(cls, setting: Setting, options: BuchlerOptions) -> None:
        super().check(setting, options)
        whole_number("pretext.permutations", options.permutations, least=2, most=1000)
        whole_number("pretext.interval", options.interval, least=1)
        check_grid(setting, SIDE, options.jitter)

    @classmethod
    def frames_needed(cls, setting: Setting, options: BuchlerOptions) -> int:
        return (PIECES - 1) * options.interval + 1

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        label, place, random = self.draw(epoch, number, attempt)
        in_time, permutation = divmod(label, len(self._permutations))
        start = self.start(place, random, self.frames_needed(self.setting, self.options))
        cells = drawn_cells(random, self.setting, SIDE, self.options.jitter)
        # Both are drawn for both dimensions: where the video is cut does not depend on the label.
        one_cell, one_time = int(random.integers(PIECES)), int(random.integers(PIECES))
        pieces = []
        for piece in range(PIECES):
            cell, time = (cells[one_cell], piece) if in_time else (cells[piece], one_time)
            pieces.append(self.still(place, random, start + time * self.options.interval,
                                     crop=drawn_crop(random, cell, self.options.jitter),
                                     color=replicated_channel(int(random.integers(3)))))
        return Sample(self.kinds[label], label, tuple(pieces[shown] for shown in self._permutations[permutation]))

    def advice(self, kind: str, head: HeadOptions) -> str:
        if kind.startswith("time"):
            return "the order in time is visible only where something moves; train longer, or raise pretext.interval"
        return "add videos, train longer, or begin with fewer permutations (pretext.permutations)"
