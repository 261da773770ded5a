"""VCP: recognise what was done to the middle one of three clips.

Luo, Liu, Zhou, Yang, Ma, Ye, Wang, "Video Cloze Procedure for Self-Supervised Spatio-Temporal Learning", AAAI 2020.
Three clips of 16 frames, 8 frames apart, from one segment; the middle one is shown

    original  as it is
    rotated   turned by 90, 180 or 270 degrees
    permuted  its 2x2 quarters in another arrangement: any of the 23 others
    shuffled  two of its four chunks of frames exchanged
    remote    replaced by a clip of the same segment that is at least 16 frames away from all three

The authors' code is not public. Chunks, distance and gap are those of the nearest public code (BestJuly/
Pretext-Contrastive-Learning), which always exchanges the quarters corner by corner and relabels a sample whose video is
too short for "remote". Here a segment must be long enough for "remote", and the three clips lie where a remote one
fits, whatever is shown: otherwise length and position would reveal that the clip is not remote.
"""

from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from eruv_dali.checks import whole_number
from eruv_dali.errors import EruvError
from eruv_dali.models.heads import HeadOptions
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting
from eruv_dali.streams import pick

CHUNKS = 4
EXCHANGES = list(combinations(range(CHUNKS), 2))
ARRANGEMENTS = list(permutations(range(4)))[1:]  # of the quarters, without the identity


@dataclass
class VcpOptions(PretextOptions):
    """Options of VCP."""

    name: str = "vcp"
    gap: int = 8  # frames between one clip and the next
    distance: int = 16  # frames between a remote clip and the three, at least


class Vcp(Pretext):
    """Draws runs of three clips from segments and alters the middle one; what is done is drawn uniformly.

    Raises:
        EruvError: a bad option, clips that cannot be cut into chunks or quarters, or no segment long enough.
    """

    name = "vcp"
    kind_word = "operation"
    Options = VcpOptions
    transforms = ("tiles",)
    kinds = ("original", "rotated", "permuted", "shuffled", "remote")
    clips_per_sample = 3
    options: VcpOptions

    @classmethod
    def check(cls, setting: Setting, options: VcpOptions) -> None:
        super().check(setting, options)
        whole_number("pretext.gap", options.gap, least=0)
        whole_number("pretext.distance", options.distance, least=0)
        if setting.clip_length % CHUNKS:
            raise EruvError(f"clip_length {setting.clip_length} must be a multiple of {CHUNKS}: vcp exchanges chunks "
                            "of frames")

    @classmethod
    def frames_needed(cls, setting: Setting, options: VcpOptions) -> int:
        return cls._frames_of_three(setting, options) + options.distance + setting.clip_length

    @staticmethod
    def _frames_of_three(setting: Setting, options: VcpOptions) -> int:
        return 3 * setting.clip_length + 2 * options.gap

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        label, place, random = self.draw(epoch, number, attempt)
        kind = self.kinds[label]
        starts, remote = self._starts(place, random)
        before, after = (self.clip(place, random, start=start) for start in (starts[0], starts[2]))
        if kind == "rotated":
            middle = self.clip(place, random, start=starts[1], rotation=int(pick(random, (90, 180, 270))))
        elif kind == "permuted":
            middle = self.clip(place, random, start=starts[1], tiles=pick(random, ARRANGEMENTS))
        elif kind == "shuffled":
            middle = self.clip(place, random, start=starts[1], order=self._exchanged)
        else:
            middle = self.clip(place, random, start=remote if kind == "remote" else starts[1])
        return Sample(kind, label, (before, middle, after))

    def _starts(self, place: int, random: np.random.Generator) -> tuple[list[int], int]:
        """First frames of the three clips, and of the remote one, each possible pair of positions equally likely."""
        length, (begin, end) = self.setting.clip_length, (int(self.segments[name][place]) for name in ("start", "end"))
        three = self._frames_of_three(self.setting, self.options)
        step, apart = length + self.options.gap, self.options.distance
        # The remote clip and the three are two pieces in the segment, at least `apart` frames apart, in either order.
        free = end - begin - (three + apart + length)
        earlier, later = sorted(int(cut) for cut in random.choice(free + 2, 2, replace=False))
        if random.integers(2):
            one, remote = begin + earlier, begin + later - 1 + three + apart
        else:
            remote, one = begin + earlier, begin + later - 1 + length + apart
        return [one, one + step, one + 2 * step], remote

    def _exchanged(self, random: np.random.Generator) -> np.ndarray:
        """The order of the frames after two chunks have been exchanged."""
        chunks = np.split(np.arange(self.setting.clip_length), CHUNKS)
        one, other = pick(random, EXCHANGES)
        chunks[one], chunks[other] = chunks[other], chunks[one]
        return np.concatenate(chunks)

    def advice(self, kind: str, head: HeadOptions) -> str:
        if kind == "shuffled":
            return "shuffling is visible only where something moves; train longer, or with more videos"
        if kind in ("original", "remote") and head.kind == "linear":
            return "a linear head cannot compare the clips; use model.head=mlp, or train longer"
        return "add videos, or train longer"
