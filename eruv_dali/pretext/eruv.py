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

Three options that the paper does not have. All are off unless asked for; the samples are then the paper's.

`disorder: chunks`: PD puts the quarters of clip j, each of which stays in order, into another order that is neither
forwards nor backwards (as VCP does with two of them, Luo et al., AAAI 2020). A shuffle of 16 frames shows in how much
changes from each frame to the next; here that is unusual at three places at most.

`shared_base`: so that neither clip gives the relation away alone, each pair has a base, drawn uniformly, that both
clips are given: a rotation of 0, 90, 180 or 270 degrees, a direction, forwards or backwards, and a speed of 1, 2 or 4
source frames from frame to frame. The relation's own transformation is applied to clip j on top, so that it is between
the clips (Jenni and Jin, "Time-Equivariant Contrastive Video Representation Learning", ICCV 2021, have a network
recognise the change from clip to clip; that all three are shared is our choice):

    CS, CV, CD  both clips have the base, and nothing else
    CR  clip j is turned by a further 90, 180 or 270 degrees: it may be upright, and clip i turned
    PI  clip j is played in the other direction: forwards, where the base is backwards
    PD  clip j is disordered; this alone shows in clip j by itself
    PS  clip j has another of the three speeds, each as likely: it may also be slower than clip i

In CR, PI and PS each clip's own rotation, direction and speed is then as likely as in CS, CV and CD. For this, every
segment must be long enough for the highest speed, (clip_length - 1) · 4 + 1 frames; shorter ones are left out.

`flip`, `jitter`, `grey`: each clip is mirrored, and its colours changed, by itself (see `looks.py`); its frames,
crops and rotation are the same with them as without.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from eruv_dali.checks import share, shown
from eruv_dali.dataset.mapped import distinct, kept, pieces, places
from eruv_dali.dataset.split import SomeOf
from eruv_dali.errors import EruvError
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.models.heads import HEADS, HeadOptions
from eruv_dali.pretext.looks import check_jitter, drawn_look
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting
from eruv_dali.streams import pick, stream

RELATIONS = ("CS", "CV", "CD", "CR", "PI", "PD", "PS")
RELATION_NAMES = {"CS": "same shot", "CV": "same video, other shot", "CD": "other video", "CR": "rotated",
                  "PI": "inverted", "PD": "disordered", "PS": "sped up"}
BETWEEN_SHOTS = ("CV", "CD")  # meaningless on trimmed data
SPEEDS = (2, 4)
BASE_SPEEDS = (1, *SPEEDS)
TURNS = (90, 180, 270)
CHUNKS = 4  # that disorder = chunks exchanges
# Their orders, but for forwards and backwards.
CHUNK_ORDERS = tuple(order for order in permutations(range(CHUNKS)) if order not in ((0, 1, 2, 3), (3, 2, 1, 0)))
DISORDERS = ("shuffle", "chunks")
LOOKS = 2  # purpose of the stream that looks are drawn from
MOST_SHOTS = np.iinfo(np.int32).max
FEW_ANCHORS = 0.5  # if a smaller share of the segments can show a relation, their videos give the relation away


@dataclass
class EruvOptions(PretextOptions):
    """Options of ERUV."""

    name: str = "eruv"
    relations: list[str] = field(default_factory=lambda: list(RELATIONS))  # those in use; label = position
    disorder: str = "shuffle"  # what PD disorders: single frames, or chunks of them
    shared_base: bool = False  # both clips of a pair also have a rotation, direction and speed in common
    flip: bool = False  # half of the clips are mirrored left to right
    jitter: list[float] = field(default_factory=lambda: [0.0] * 4)  # brightness, contrast, saturation, hue
    grey: float = 0.0  # share of the clips without colour


class Base(NamedTuple):
    """What both clips of a pair have in common: degrees, whether they are played backwards, and the speed."""

    rotation: int = 0
    backwards: bool = False
    speed: int = 1


class Eruv(Pretext):
    """Draws pairs of clips from segments, relations uniformly.

    Raises:
        EruvError: an unknown relation, a clip or crop that is too large, or a relation that these segments cannot show.
    """

    name = "eruv"
    kind_word = "relation"
    Options = EruvOptions
    positives = ("CS",)
    heads = HEADS
    clips_per_sample = 2
    options: EruvOptions

    def __init__(self, segments: np.ndarray, setting: Setting, options: EruvOptions) -> None:
        self.kinds = self.relations = asked_relations(options.relations, setting.trimmed)
        super().__init__(segments, setting, options)
        colored = any(options.jitter) or options.grey > 0
        self.transforms = ("flip",) * options.flip + ("color",) * colored
        self._find_possible()

    @classmethod
    def check(cls, setting: Setting, options: EruvOptions) -> None:
        asked_relations(options.relations, setting.trimmed)
        super().check(setting, options)
        if setting.clip_length < 3:  # any order of two frames is forwards or backwards
            raise EruvError(f"clip_length {setting.clip_length} is too short; it must be at least 3")
        if options.disorder not in DISORDERS:
            raise EruvError(f"pretext.disorder {shown(options.disorder)} is not one of {', '.join(DISORDERS)}")
        if options.disorder == "chunks" and setting.clip_length % CHUNKS:
            raise EruvError(f"clip_length {setting.clip_length} must be a multiple of {CHUNKS}, because "
                            "pretext.disorder=chunks exchanges the quarters of a clip")
        check_jitter(options.jitter)
        share("pretext.grey", options.grey)

    @classmethod
    def frames_needed(cls, setting: Setting, options: EruvOptions) -> int:
        return (setting.clip_length - 1) * (BASE_SPEEDS[-1] if options.shared_base else 1) + 1

    @classmethod
    def held_out_needs(
        cls, segments: np.ndarray, setting: Setting, options: EruvOptions
    ) -> list[np.ndarray | SomeOf]:
        """Besides a segment that is long enough: CV needs a video with two shots of such segments, CD two videos, PS a
        segment that is long enough for the lower speed."""
        needs = super().held_out_needs(segments, setting, options)
        asked = asked_relations(options.relations, setting.trimmed)
        needed, faster = cls.frames_needed(setting, options), (setting.clip_length - 1) * SPEEDS[0] + 1
        segments = kept(segments, lambda rows: rows["end"] - rows["start"] >= needed)
        if "CV" in asked:
            needs.append(np.flatnonzero(_of_several_shots(segments)))
        if "CD" in asked:
            needs.append(SomeOf(distinct(segments, "video"), 2))
        if "PS" in asked:
            needs.append(distinct(segments, "video", lambda rows: rows["end"] - rows["start"] >= faster))
        return needs

    def _find_possible(self) -> None:
        """Find out which segments can be clip i of each relation: their positions, ascending."""
        self._can = {relation: self._possible(relation) for relation in self.relations}
        needs = {"CV": "a video of two shots", "CD": "two videos", "PS": f"segments of {self.span(SPEEDS[0])} frames"}
        for relation, can in self._can.items():
            if len(can) == 0:
                raise EruvError(f"relation {relation} needs {needs[relation]}, and the {len(self)} segments here have "
                                f"none; add videos{self._or_without(relation)}")

    def _or_without(self, relation: str) -> str:
        """The advice to leave a relation out, if at least two would be left: one alone is told apart from nothing."""
        left = [name for name in self.relations if name != relation]
        return f", or leave {relation} out (relations={','.join(left)})" if len(left) > 1 else ""

    def _possible(self, relation: str) -> np.ndarray | range:
        segments, needed = self.segments, self.span(SPEEDS[0])
        if relation == "CV":
            several = _of_several_shots(segments)
            return places(segments, lambda rows: several[rows["video"]])
        if relation == "PS":
            return places(segments, lambda rows: rows["end"] - rows["start"] >= needed)
        if relation == "CD" and segments["video"][-1] == segments["video"][0]:  # sorted by video
            return range(0)
        return range(len(segments))

    def anchors(self, relation: str) -> np.ndarray:
        """The segments that can be clip i of a relation, (≤ S,) array of `dataset.SEGMENT`."""
        can = self._can[relation]
        return self.segments if len(can) == len(self) else self.segments[np.asarray(can)]

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        random = self.random(epoch, number)
        label = int(random.integers(len(self.relations)))
        relation = self.relations[label]
        can = self._can[relation]
        i = self.anchor(epoch, number)
        if attempt:
            random = self.random(epoch, number, attempt)
        if attempt or not _holds(can, i):
            i = int(pick(random, can))
        j = i
        if relation in ("CS", "CV", "CD"):
            j = self._partner(relation, i, random)
        base = self._base(random) if self.options.shared_base else Base()
        looks = self._looks(epoch, number, attempt)
        first = self.clip(i, random, speed=base.speed, rotation=base.rotation,
                          order=self._inverted if base.backwards else None, **looks[0])
        return Sample(relation, label, (first, self._second(relation, j, random, base, looks[1])))

    def _base(self, random: np.random.Generator) -> Base:
        return Base(int(pick(random, (0, *TURNS))), bool(random.integers(2)), int(pick(random, BASE_SPEEDS)))

    def _looks(self, epoch: int, number: int, attempt: int) -> list[dict[str, Any]]:
        """The looks of both clips, as arguments of `clip`."""
        if not self.transforms:
            return [{}, {}]
        random, options = stream(self.setting.seed, epoch, number, attempt, purpose=LOOKS), self.options
        return [drawn_look(random, options.flip, options.jitter, options.grey) for _ in range(2)]

    def _second(self, relation: str, place: int, random: np.random.Generator, base: Base, look: dict[str, Any]
                ) -> ClipRequest:
        """Clip j, from the segment at this position."""
        rotation, backwards, speed = base
        if relation == "PS" and self.options.shared_base:
            speed = int(pick(random, [other for other in BASE_SPEEDS if other != speed]))
        elif relation == "PS":
            speed = int(pick(random, [faster for faster in SPEEDS if self.span(faster) <= self.length(place)]))
        elif relation == "CR":
            rotation = (rotation + int(pick(random, TURNS))) % 360
        elif relation == "PI":
            backwards = not backwards
        order = self._inverted if backwards else None
        if relation == "PD":
            disordered = self._disordered if self.options.disorder == "shuffle" else self._exchanged
            order = (lambda random: self._inverted(random)[disordered(random)]) if backwards else disordered
        return self.clip(place, random, speed=speed, rotation=rotation, order=order, **look)

    def _partner(self, relation: str, i: int, random: np.random.Generator) -> int:
        """The segment of clip j for the relations between two untransformed clips."""
        # Not np.searchsorted, which copies a column of a table of records.
        video, shot = self.segments["video"], self.segments["shot"]
        first, end = bisect_left(video, video[i], hi=i + 1), bisect_right(video, video[i], lo=i)
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

    def _exchanged(self, random: np.random.Generator) -> np.ndarray:
        chunks = np.arange(self.setting.clip_length).reshape(CHUNKS, -1)
        return chunks[list(pick(random, CHUNK_ORDERS))].ravel()

    def warnings(self) -> list[str]:
        """Relations that can be recognised by the video that one clip comes from, without comparing it to the other."""
        found = []
        for relation in self.relations:
            if len(self._can[relation]) < FEW_ANCHORS * len(self):
                anchors = self.anchors(relation)
                of, videos = (len(distinct(some, "video")) for some in (anchors, self.segments))
                found.append(
                    f"only {len(anchors)} of {len(self)} segments can show {relation}, from {of} of {videos} "
                    "videos: the network may memorise these videos instead of comparing clips; add videos like "
                    f"them{self._or_without(relation)}")
        return found

    def advice(self, kind: str, head: HeadOptions) -> str:
        if kind in ("CS", "CV", "CD"):
            if head.kind == "linear":
                return "a linear head cannot compare two clips; use model.head=mlp"
            return "telling shots and videos apart needs many videos and many steps; add videos, or train longer"
        if kind == "CR":
            return "the frames may look the same at any rotation; check them with python -m eruv_dali.visualize shots"
        return "there may be too little motion in the videos; check them with python -m eruv_dali.visualize shots"


def _of_several_shots(segments: np.ndarray) -> np.ndarray:
    """(V,) bool: whether the segments of each video are of more than one shot; V is the last video's number + 1."""
    video = segments["video"]
    videos = 1 + max((int(video[piece].max()) for piece in pieces(len(video))), default=-1)
    least = np.full(videos, MOST_SHOTS, np.int32)
    most = np.full_like(least, -1)
    for piece in pieces(len(segments)):
        np.minimum.at(least, video[piece], segments["shot"][piece])
        np.maximum.at(most, video[piece], segments["shot"][piece])
    return least < most


def _holds(can: np.ndarray | range, place: int) -> bool:
    """Whether ascending positions hold this one."""
    if isinstance(can, range):
        return place in can
    found = int(np.searchsorted(can, np.uint32(place)))
    return found < len(can) and int(can[found]) == place


def asked_relations(relations: Any, trimmed: bool) -> tuple[str, ...]:
    """The relations in use: those given, without CV and CD on trimmed data.

    Raises:
        EruvError: `relations` is not a list, one is unknown or given twice, or none is left.
    """
    if isinstance(relations, str) or not isinstance(relations, Sequence):
        raise EruvError(f"relations {shown(relations)} must be a list of names, such as {[*RELATIONS[:2]]}")
    for relation in relations:
        if relation not in RELATIONS:
            raise EruvError(f"relation {shown(relation)} is not one of {', '.join(RELATIONS)}")
    if len(set(relations)) != len(relations):
        raise EruvError(f"relations {list(relations)} name one twice; remove the duplicate")
    asked = tuple(relation for relation in relations if not (trimmed and relation in BETWEEN_SHOTS))
    if not asked:
        raise EruvError(f"relations {list(relations)} leave nothing to learn; name some of {', '.join(RELATIONS)}")
    return asked
