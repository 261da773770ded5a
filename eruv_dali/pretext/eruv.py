"""ERUV: classify the relation between two clips (ERUV, section III-B).

    CS  two clips of the same shot: from two of its segments, or both from its only one
    CV  two clips of the same video, of different shots
    CD  two clips of different videos
    CR  clip j turned by 90, 180 or 270 degrees        (from here on both clips come from one segment)
    PI  clip j inverted: played backwards
    PD  clip j disordered: its 16 frames in an order that is neither forwards nor backwards
    PS  clip j sped up: every 2nd or every 4th frame; every 4th only where the segment is long enough

Positions and crops of the two clips are drawn independently; all frames of a clip share one crop. Clip i is never
transformed. Relations are drawn uniformly. On trimmed data, where a video is one action, CV and CD drop out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from eruv_dali.errors import EruvError
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.models.heads import HEADS, HeadOptions, concatenated
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting
from eruv_dali.streams import pick

RELATIONS = ("CS", "CV", "CD", "CR", "PI", "PD", "PS")
RELATION_NAMES = {"CS": "same shot", "CV": "same video, other shot", "CD": "other video", "CR": "rotated",
                  "PI": "inverted", "PD": "disordered", "PS": "sped up"}
BETWEEN_SHOTS = ("CV", "CD")  # meaningless on trimmed data
SPEEDS = (2, 4)
FEW_ANCHORS = 0.5  # if a smaller share of the segments can show a relation, their videos give the relation away


@dataclass
class EruvOptions(PretextOptions):
    """Options of ERUV."""

    name: str = "eruv"
    relations: list[str] = field(default_factory=lambda: list(RELATIONS))  # those in use; label = position


class Eruv(Pretext):
    """Draws pairs of clips from segments, relations uniformly.

    Raises:
        EruvError: an unknown relation, a clip or crop that is too large, or a relation that these segments cannot show.
    """

    name = "eruv"
    kind_word = "relation"
    Options = EruvOptions
    heads = HEADS
    clips_per_sample = 2
    options: EruvOptions

    def __init__(self, segments: np.ndarray, setting: Setting, options: EruvOptions) -> None:
        self.kinds = self.relations = asked_relations(options.relations, setting.trimmed)
        super().__init__(segments, setting, options)
        self._find_possible()

    @classmethod
    def check(cls, setting: Setting, options: EruvOptions) -> None:
        asked_relations(options.relations, setting.trimmed)
        super().check(setting, options)
        if setting.clip_length < 3:  # any order of two frames is forwards or backwards
            raise EruvError(f"clip_length {setting.clip_length} is too short; it must be at least 3")

    @classmethod
    def frames_needed(cls, setting: Setting, options: EruvOptions) -> int:
        return setting.clip_length

    def head(self, feature_dim: int, options: HeadOptions) -> nn.Module:
        """Both features concatenated, then fully-connected layers (`models.RelationNet` says why there are two)."""
        return concatenated(2, feature_dim, len(self.kinds), options)

    @classmethod
    def held_out_needs(cls, segments: np.ndarray, setting: Setting, options: EruvOptions) -> list[np.ndarray]:
        """CV needs a video of two shots."""
        if "CV" not in asked_relations(options.relations, setting.trimmed):
            return []
        shots = np.unique(segments["video"].astype(np.int64) << 32 | segments["shot"]) >> 32  # video of each shot
        return [shots[1:][shots[1:] == shots[:-1]]]

    def _find_possible(self) -> None:
        """Find out which segments can be clip i of each relation. Segments are sorted by video, then shot."""
        video, shot = self.segments["video"], self.segments["shot"]
        place = np.arange(len(self.segments))
        videos = int(video[-1] != video[0]) + 1
        can = {}
        for relation in self.relations:
            can[relation] = place
            if relation == "CV":  # the video's first and last segments belong to different shots
                first, last = np.searchsorted(video, video), np.searchsorted(video, video, "right") - 1
                can[relation] = place[shot[first] != shot[last]]
            elif relation == "CD" and videos < 2:
                can[relation] = place[:0]
            elif relation == "PS":
                can[relation] = place[self.segments["end"] - self.segments["start"] >= self.span(SPEEDS[0])]
        needs = {"CV": "a video of two shots", "CD": "two videos", "PS": f"segments of {self.span(SPEEDS[0])} frames"}
        for relation, places in can.items():
            if len(places) == 0:
                left = [r for r in self.relations if r != relation]
                raise EruvError(
                    f"relation {relation} needs {needs[relation]}, and the {len(self)} segments here have none; add "
                    f"videos, or leave it out (relations={','.join(left)})"
                )
        self._can = {relation: (places, np.isin(place, places)) for relation, places in can.items()}

    def anchors(self, relation: str) -> np.ndarray:
        """The segments that can be clip i of a relation, (≤ S,) array of `dataset.SEGMENT`."""
        return self.segments[self._can[relation][0]]

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        random = self.random(epoch, number)
        label = int(random.integers(len(self.relations)))
        relation = self.relations[label]
        places, allowed = self._can[relation]
        i = self.anchor(epoch, number)
        if attempt:
            random = self.random(epoch, number, attempt)
        if attempt or not allowed[i]:
            i = int(pick(random, places))
        j = i
        if relation in ("CS", "CV", "CD"):
            j = self._partner(relation, i, random)
        first = self.clip(i, random)
        return Sample(relation, label, (first, self._second(relation, j, random)))

    def _second(self, relation: str, place: int, random: np.random.Generator) -> ClipRequest:
        """Clip j, from the segment at this position."""
        if relation == "PS":
            fitting = [speed for speed in SPEEDS if self.span(speed) <= self.length(place)]
            return self.clip(place, random, speed=int(pick(random, fitting)))
        return self.clip(
            place, random, rotation=int(pick(random, (90, 180, 270))) if relation == "CR" else 0,
            order={"PI": self._inverted, "PD": self._disordered}.get(relation),
        )

    def _partner(self, relation: str, i: int, random: np.random.Generator) -> int:
        """The segment of clip j for the relations between two untransformed clips."""
        video, shot = self.videos, self.shots
        first, end = np.searchsorted(video, video[i]), np.searchsorted(video, video[i], "right")
        if relation in ("CS", "CV"):
            mates = np.arange(first, end)
            if not self.setting.trimmed:
                mates = mates[(shot[first:end] == shot[i]) == (relation == "CS")]
            others = mates[mates != i]
            return int(pick(random, others)) if len(others) else i
        while True:  # CD: most draws already come from another video
            j = int(random.integers(len(self.segments)))
            if not first <= j < end:
                return j

    def _inverted(self, random: np.random.Generator) -> np.ndarray:
        return np.arange(self.setting.clip_length)[::-1]

    def _disordered(self, random: np.random.Generator) -> np.ndarray:
        while True:
            order = random.permutation(self.setting.clip_length)
            steps = np.diff(order)
            if not (np.all(steps == 1) or np.all(steps == -1)):
                return order

    def warnings(self) -> list[str]:
        """Relations that can be recognised by the video that one clip comes from, without comparing it to the other."""
        found = []
        for relation in self.relations:
            anchors = self.anchors(relation)
            if len(anchors) < FEW_ANCHORS * len(self):
                others = ",".join(name for name in self.relations if name != relation)
                of, videos = (len(np.unique(some["video"])) for some in (anchors, self.segments))
                found.append(
                    f"only {len(anchors)} of {len(self)} segments can show {relation}, from {of} of {videos} "
                    f"videos: the network may memorise these videos instead of comparing clips; add videos like "
                    f"them, or leave {relation} out (relations={others})")
        return found

    def advice(self, kind: str, head: HeadOptions) -> str:
        if kind in ("CS", "CV", "CD"):
            if head.kind == "linear":
                return "a linear head cannot compare two clips; use model.head=mlp"
            return "telling shots and videos apart needs many videos and many steps; add videos, or train longer"
        if kind == "CR":
            return "the frames may look the same at any rotation; check them with python -m eruv_dali.visualize shots"
        return "there may be too little motion in the videos; check them with python -m eruv_dali.visualize shots"


def asked_relations(relations: Any, trimmed: bool) -> tuple[str, ...]:
    """The relations in use: those given, without CV and CD on trimmed data.

    Raises:
        EruvError: `relations` is not a list, one is unknown or given twice, or none is left.
    """
    if isinstance(relations, str) or not isinstance(relations, Sequence):
        raise EruvError(f"relations {relations!r} must be a list of names, such as {[*RELATIONS[:2]]}")
    for relation in relations:
        if relation not in RELATIONS:
            raise EruvError(f"relation {relation!r} is not one of {', '.join(RELATIONS)}")
    if len(set(relations)) != len(relations):
        raise EruvError(f"relations {list(relations)} name one twice; remove the duplicate")
    asked = tuple(relation for relation in relations if not (trimmed and relation in BETWEEN_SHOTS))
    if not asked:
        raise EruvError(f"relations {list(relations)} leave nothing to learn; name some of {', '.join(RELATIONS)}")
    return asked
