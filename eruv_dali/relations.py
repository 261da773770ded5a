"""Relations: which two clips make a pair, and what the network must say of them (ERUV, section III-B).

    CS  two clips of the same shot: of two of its segments, or of its only one
    CV  two clips of the same video, of different shots
    CD  two clips of different videos
    CR  clip j turned by 90, 180 or 270 degrees        (from here on both clips come from one segment)
    PI  clip j inverted: shown backwards
    PD  clip j disordered: its 16 frames in an order that is neither forwards nor backwards
    PS  clip j sped up: every 2nd or every 4th frame, every 4th only where so many frames fit

Positions and crops of the two clips are drawn independently; all frames of a clip share one crop. Clip i is never
transformed. Every draw is a pure function of (seed, epoch, number in the epoch), so a run can stop and go on, or be
divided among processes, and still see the same pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eruv_dali.dataset import SEGMENT
from eruv_dali.errors import EruvError

RELATIONS = ("CS", "CV", "CD", "CR", "PI", "PD", "PS")
BETWEEN_SHOTS = ("CV", "CD")  # say nothing on trimmed data, where a video is one action
SPEEDS = (2, 4)


@dataclass(frozen=True)
class ClipRequest:
    """One clip to be loaded.

    Attributes:
        video: position in the dataset's list of videos; `shot`: number within it; `segment`: as in segments.csv.
        frames: (T,) int64, source frames in the order shown.
        rotation: degrees counter-clockwise, applied to the crop.
        crop: (top, left) of the crop in the resized frame, pixels.
        speed: 1, 2 or 4: source frames from one shown frame to the next.
    """

    video: int
    shot: int
    segment: int
    frames: np.ndarray
    rotation: int
    crop: tuple[int, int]
    speed: int


@dataclass(frozen=True)
class PairRequest:
    """Two clips and the name of the relation between them."""

    relation: str
    clips: tuple[ClipRequest, ClipRequest]


class RelationSampler:
    """Draws pairs of clips from segments, relations uniformly.

    Args:
        segments: (S,) array of `dataset.SEGMENT`. Those too short for one clip are left aside.
        relations: any of RELATIONS.
        clip_length: T, frames in a clip.
        crop, frame_size: side of the square crop, and (height, width) of the frames it is taken from.
        seed: other seeds give other pairs.
        trimmed: videos are trimmed to one action each (UCF101): CV and CD drop out, CS means the same video.

    Raises:
        EruvError: unknown relation, clip or crop too large, or a relation that these segments cannot show.
    """

    def __init__(
        self, segments: np.ndarray, *, relations: Sequence[str] = RELATIONS, clip_length: int = 16, crop: int = 112,
        frame_size: tuple[int, int] = (128, 171), seed: int = 0, trimmed: bool = False,
    ) -> None:
        for relation in relations:
            if relation not in RELATIONS:
                raise EruvError(f"relation {relation!r} is not one of {', '.join(RELATIONS)}")
        if len(set(relations)) != len(relations):
            raise EruvError(f"relations {list(relations)} name one twice")
        self.relations = tuple(r for r in relations if not (trimmed and r in BETWEEN_SHOTS))
        if not self.relations:
            raise EruvError(f"relations {list(relations)} leave nothing to learn; name some of {', '.join(RELATIONS)}")
        if clip_length < 3:  # of two frames every order is forwards or backwards
            raise EruvError(f"clip_length {clip_length} is too short; it must be at least 3")
        if not 1 <= crop <= min(frame_size):
            raise EruvError(f"crop {crop} does not fit into frames of {frame_size[0]}x{frame_size[1]}")
        self.clip_length, self.crop, self.frame_size, self.seed = clip_length, crop, frame_size, seed
        order = np.lexsort((segments["start"], segments["shot"], segments["video"]))
        segments = segments[order]
        self.segments = segments[segments["end"] - segments["start"] >= clip_length]
        if len(self.segments) == 0:
            raise EruvError(f"no segment has the {clip_length} frames of a clip; prepare longer videos")
        self._trimmed = trimmed
        self._find_possible()
        self._order: tuple[tuple, np.ndarray] = ((), np.zeros(0, np.int64))

    def _find_possible(self) -> None:
        """Find out which segments can be clip i of each relation. Segments lie sorted by video, then shot."""
        video, shot = self.segments["video"], self.segments["shot"]
        place = np.arange(len(self.segments))
        videos = int(video[-1] != video[0]) + 1
        can = {}
        for relation in self.relations:
            can[relation] = place
            if relation == "CV":  # the video's first and last segment are of different shots
                first, last = np.searchsorted(video, video), np.searchsorted(video, video, "right") - 1
                can[relation] = place[shot[first] != shot[last]]
            elif relation == "CD" and videos < 2:
                can[relation] = place[:0]
            elif relation == "PS":
                can[relation] = place[self.segments["end"] - self.segments["start"] >= self._span(SPEEDS[0])]
        needs = {"CV": "a video of two shots", "CD": "two videos", "PS": f"segments of {self._span(SPEEDS[0])} frames"}
        for relation, places in can.items():
            if len(places) == 0:
                left = [r for r in self.relations if r != relation]
                raise EruvError(
                    f"relation {relation} needs {needs[relation]}, and the {len(self)} segments here have none; add "
                    f"videos, or leave it out (relations={','.join(left)})"
                )
        self._can = {relation: (places, np.isin(place, places)) for relation, places in can.items()}

    def __len__(self) -> int:
        """Pairs in an epoch: one for each segment."""
        return len(self.segments)

    def anchors(self, relation: str) -> np.ndarray:
        """The segments that can be clip i of a relation, (≤ S,) array of `dataset.SEGMENT`."""
        return self.segments[self._can[relation][0]]

    def pair(self, epoch: int, number: int, attempt: int = 0) -> PairRequest:
        """Pair `number` of an epoch. Numbers beyond the epoch's length are further passes over the segments.

        Where that pair cannot be had, `attempt` 1, 2, … are others of the same relation, drawn from all segments.
        """
        random = self._random(epoch, number)
        relation = self.relations[random.integers(len(self.relations))]
        places, allowed = self._can[relation]
        i = self._anchor(epoch, number)
        if attempt:
            random = self._random(epoch, number, attempt)
        if attempt or not allowed[i]:
            i = int(random.choice(places))
        j = i
        if relation in ("CS", "CV", "CD"):
            j = self._partner(relation, i, random)
        first = self._clip(i, random)
        if relation == "PS":
            fitting = [speed for speed in SPEEDS if self._span(speed) <= self._length(j)]
            return PairRequest(relation, (first, self._clip(j, random, speed=int(random.choice(fitting)))))
        second = self._clip(
            j, random, rotation=int(random.choice([90, 180, 270])) if relation == "CR" else 0,
            order={"PI": self._inverted, "PD": self._disordered}.get(relation),
        )
        return PairRequest(relation, (first, second))

    def _anchor(self, epoch: int, number: int) -> int:
        """The segment of clip i: each once in every pass, in an order that changes from pass to pass."""
        turn, place = divmod(number, len(self))
        key = (epoch, turn)
        if self._order[0] != key:
            random = self._random(epoch, turn, purpose=1)
            self._order = (key, random.permutation(len(self)))
        return int(self._order[1][place])

    def _random(self, epoch: int, number: int, attempt: int = 0, purpose: int = 0) -> np.random.Generator:
        """A stream of its own for each pair; drawing counts up the first word, so streams never meet."""
        return np.random.Generator(np.random.Philox(key=[self.seed, epoch], counter=[0, number, attempt, purpose]))

    def _partner(self, relation: str, i: int, random: np.random.Generator) -> int:
        """The segment of clip j for the relations between two originals."""
        video, shot = self.segments["video"], self.segments["shot"]
        first, end = np.searchsorted(video, video[i]), np.searchsorted(video, video[i], "right")
        if relation in ("CS", "CV"):
            mates = np.arange(first, end)
            if not self._trimmed:
                mates = mates[(shot[first:end] == shot[i]) == (relation == "CS")]
            others = mates[mates != i]
            return int(random.choice(others)) if len(others) else i
        while True:  # CD: most draws are of another video already
            j = int(random.integers(len(self.segments)))
            if not first <= j < end:
                return j

    def _span(self, speed: int) -> int:
        """Source frames that a clip reaches over."""
        return (self.clip_length - 1) * speed + 1

    def _length(self, place: int) -> int:
        return int(self.segments["end"][place] - self.segments["start"][place])

    def _clip(self, place: int, random: np.random.Generator, *, speed=1, rotation=0, order=None) -> ClipRequest:
        segment = self.segments[place]
        start = int(random.integers(segment["start"], segment["end"] - self._span(speed) + 1))
        frames = start + speed * np.arange(self.clip_length)
        if order is not None:
            frames = frames[order(random)]
        top = int(random.integers(self.frame_size[0] - self.crop + 1))
        left = int(random.integers(self.frame_size[1] - self.crop + 1))
        return ClipRequest(int(segment["video"]), int(segment["shot"]), int(segment["segment"]), frames, rotation,
                           (top, left), speed)

    def _inverted(self, random: np.random.Generator) -> np.ndarray:
        return np.arange(self.clip_length)[::-1]

    def _disordered(self, random: np.random.Generator) -> np.ndarray:
        while True:
            order = random.permutation(self.clip_length)
            steps = np.diff(order)
            if not (np.all(steps == 1) or np.all(steps == -1)):
                return order


def trimmed_segments(frames_of_videos: Sequence[int]) -> np.ndarray:
    """One segment a video, for trimmed data: (V,) array of SEGMENT from the number of frames of each video."""
    segments = np.zeros(len(frames_of_videos), SEGMENT)
    segments["segment"] = segments["video"] = np.arange(len(frames_of_videos))
    segments["end"] = frames_of_videos
    return segments
