"""Jigsaw: recognise how the nine tiles of a frame were shuffled.

Noroozi, Favaro, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles", ECCV 2016.
A square of a frame is cut into 3 × 3 cells, of each a tile is shown at a random place in it (64 of 75 pixels in the
paper), in one of a set of permutations that are far apart (`permutations.py`). The nine share the network, their
features are concatenated.

Against what tiles give away without being understood, besides the gaps between them: the paper normalises each tile by
its own mean and deviation, which the loader cannot do; here brightness and contrast of each tile are changed at random
instead. A share of the samples is grey, as in the paper; that it also shifts colour channels by up to 2 pixels is left
out. The paper trains on images; here each sample is a random frame of a segment.

The paper's network sees single frames: clip_length 1 and a 2D backbone. A longer clip repeats the frame, for 3D ones.
"""

from dataclasses import dataclass

import numpy as np

from eruv_dali.checks import share, whole_number
from eruv_dali.models.heads import HeadOptions
from eruv_dali.pretext.colors import color_jitter, jitter_bounds
from eruv_dali.pretext.grid import check_grid, drawn_cells, drawn_crop
from eruv_dali.pretext.permutations import distant_permutations
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting

SIDE = 3  # tiles across and down
TILES = SIDE * SIDE


@dataclass
class JigsawOptions(PretextOptions):
    """Options of jigsaw puzzles."""

    name: str = "jigsaw"
    permutations: int = 100  # to tell apart; the paper tries up to 1000
    jitter: int = 11  # pixels by which a tile's place varies in its cell, across and down
    light: float = 0.4  # how far brightness and contrast of a tile are changed: factors of 1 ± this
    grey: float = 0.3  # share of the samples without colour


class Jigsaw(Pretext):
    """Draws frames from segments and shuffles their tiles, permutations uniformly.

    A kind is the permutation, tiles counted from 1, row by row: "213456789" shows the first row's middle one first.

    Raises:
        EruvError: a bad option, or a grid that does not fit into the frame.
    """

    name = "jigsaw"
    kind_word = "permutation"
    Options = JigsawOptions
    stills = True
    transforms = ("color",)
    clips_per_sample = TILES
    options: JigsawOptions

    def __init__(self, segments: np.ndarray, setting: Setting, options: JigsawOptions) -> None:
        self.check(setting, options)
        self._permutations = distant_permutations(TILES, options.permutations)
        self.kinds = tuple("".join(str(tile + 1) for tile in permutation) for permutation in self._permutations)
        super().__init__(segments, setting, options)

    @classmethod
    def check(cls, setting: Setting, options: JigsawOptions) -> None:
        super().check(setting, options)
        whole_number("pretext.permutations", options.permutations, least=2, most=1000)
        check_grid(setting, SIDE, options.jitter)
        jitter_bounds("pretext.light", options.light)
        share("pretext.grey", options.grey)

    @classmethod
    def frames_needed(cls, setting: Setting, options: JigsawOptions) -> int:
        return 1

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        label, place, random = self.draw(epoch, number, attempt)
        frame, light = self.start(place, random, 1), self.options.light
        # Grey is no saturation: exactly none, in place of a random one.
        saturation = (0.0, 0.0) if random.random() < self.options.grey else (1.0, 1.0)
        tiles = [self.still(place, random, frame, crop=drawn_crop(random, cell, self.options.jitter),
                            color=color_jitter(random, light, light, saturation))
                 for cell in drawn_cells(random, self.setting, SIDE, self.options.jitter)]
        return Sample(self.kinds[label], label, tuple(tiles[shown] for shown in self._permutations[label]))

    def advice(self, kind: str, head: HeadOptions) -> str:
        return "add videos, train longer, or begin with fewer permutations (pretext.permutations)"
