"""What a pretext is: which clips make a sample, and what the network must predict for it. Each has its own file here.

    segments ──Pretext.sample──► Sample: K clip requests, a label
    K clips ──backbone──► features (B, K, D) ──Pretext.head──► output ──Pretext.loss──► training

The loader, the training loop, checkpoints and reports depend on no particular pretext. A new one is a file with a
subclass of `Pretext` and a line in pretext/__init__.py; `pretext: NAME` in a configuration then selects it.
"""

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from eruv_dali.checks import switch, whole_number
from eruv_dali.dataset.columns import SEGMENT
from eruv_dali.dataset.mapped import ascending, distinct, kept
from eruv_dali.dataset.split import SomeOf
from eruv_dali.errors import EruvError
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.models.backbone import Backbone
from eruv_dali.models.heads import HeadOptions, concatenated
from eruv_dali.models.pretext_net import PretextNet
from eruv_dali.streams import stream
from eruv_dali.video.frames import FRAME_SIZE

NO_ORDER: tuple[tuple, np.ndarray] = ((), np.zeros(0, np.uint32))


@dataclass(frozen=True)
class Sample:
    """One sample for the network.

    Attributes:
        kind: name of the class to recognise, one of the pretext's `kinds`; `label`: its position there. "" and 0 where
            the pretext has no kinds.
        clips: K requests, in the order in which the network sees them.
    """

    kind: str
    label: int
    clips: tuple[ClipRequest, ...]


@dataclass(frozen=True)
class Setting:
    """What every pretext is given in addition to its options.

    Attributes:
        clip_length: T, frames in a clip.
        crop: side of the square crop, pixels; `frame_size`: (height, width) of the frames it is taken from.
        seed: different seeds give different samples.
        trimmed: each video is one action (UCF101), and one segment.
        mean, std: of red, green and blue: clips are delivered as (x / 255 - mean) / std.
    """

    clip_length: int = 16
    crop: int = 112
    frame_size: tuple[int, int] = FRAME_SIZE
    seed: int = 0
    trimmed: bool = False
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass
class PretextOptions:
    """Options of a pretext: the configuration's section `pretext`. Each pretext has a subclass with its own."""

    name: str = "eruv"


class Pretext(ABC):
    """Draws samples from segments, and defines the head, the target and the loss.

    `sample` is a pure function of its arguments and the seed. The first clip's segment, the anchor, runs through all
    segments once in every pass.

    Class attributes:
        name: by which a configuration selects it.
        kind_word: what its kinds are called ("relation").
        Options: its options, a subclass of `PretextOptions`.
        heads: the values of `HeadOptions.kind` that it supports; "compare" is for samples of two clips.
        positives: kinds whose samples are two clips of the same; as they were filmed, unless options change both alike.
        stills: its clips show one source frame each (repeated, if clips have more).
        transforms: which of "flip", "tiles" and "color" its clips may ask for; a loader refuses those not named. Each
            takes some time for every clip: where options decide, `__init__` sets those that are needed.

    Args:
        segments: (S,) array of `dataset.SEGMENT`; those with fewer than `frames_needed` frames are not used.
        setting, options: see their classes.

    Attributes:
        kinds: names of the classes that the network tells apart; a label is a position in them. Without kinds (mas) the
            network is not scored by accuracy but by its loss alone: the best epoch has the lowest on held-out videos.
        clips_per_sample: K.
        segments: those that are used, sorted by video, shot and start.

    Raises:
        EruvError: a bad option, or these segments do not suffice for this pretext.
    """

    name: ClassVar[str]
    kind_word: ClassVar[str] = "kind"
    Options: ClassVar[type[PretextOptions]] = PretextOptions
    heads: ClassVar[tuple[str, ...]] = ("mlp", "linear")
    positives: ClassVar[tuple[str, ...]] = ()
    stills: ClassVar[bool] = False
    transforms: tuple[str, ...] = ()

    kinds: tuple[str, ...]
    clips_per_sample: int

    def __init__(self, segments: np.ndarray, setting: Setting, options: Any) -> None:
        self.check(setting, options)
        self.setting, self.options = setting, options
        if not ascending(segments, "video", "shot", "start"):  # prepare writes them so
            segments = segments[np.lexsort((segments["start"], segments["shot"], segments["video"]))]
        needed = self.frames_needed(setting, options)
        self.segments = kept(segments, lambda rows: rows["end"] - rows["start"] >= needed)
        if len(self.segments) == 0:
            raise EruvError(f"no segment has the {needed} frames that {self.name} needs; prepare longer videos")
        self._order = NO_ORDER

    @classmethod
    def check(cls, setting: Setting, options: Any) -> None:
        """Check what does not depend on the videos. A subclass adds its own checks after these.

        Raises:
            EruvError: a bad option, or a crop that does not fit into the frame, or is odd and is to be cut into tiles.
        """
        for name, kind in typing.get_type_hints(cls.Options).items():
            if kind is bool:
                switch(f"pretext.{name}", getattr(options, name))
        whole_number("clip_length", setting.clip_length, least=1)
        if whole_number("crop", setting.crop, least=1) > min(setting.frame_size):
            raise EruvError(f"crop {setting.crop} does not fit into frames of "
                            f"{setting.frame_size[0]}x{setting.frame_size[1]}")
        if "tiles" in cls.transforms and setting.crop % 2:
            raise EruvError(f"crop {setting.crop} must be even: {cls.name} permutes its quarters")

    @classmethod
    @abstractmethod
    def frames_needed(cls, setting: Setting, options: Any) -> int:
        """Frames that a segment must have to be an anchor."""

    @abstractmethod
    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        """Sample `number` of an epoch. Numbers beyond the epoch's length are further passes over the segments.

        If that sample cannot be decoded, `attempt` 1, 2, … give others of the same kind, drawn from all segments.
        """

    def head(self, feature_dim: int, options: HeadOptions) -> nn.Module:
        """The head: features (B, K, D) → output. Unless a subclass says otherwise: all K concatenated, then
        fully-connected layers to a logit for each kind."""
        return concatenated(self.clips_per_sample, feature_dim, len(self.kinds), options)

    def net(self, backbone: Backbone, options: HeadOptions) -> PretextNet:
        """The network that is trained: samples (B, K, 3, T, H, W) → output. Unless a subclass says otherwise: the
        backbone sees all clips, the head their features. Where there are kinds, the output's first columns are the
        kinds' logits, by which it is scored.

        Raises:
            EruvError: this pretext cannot train this backbone.
        """
        return PretextNet(backbone, self.head(backbone.feature_dim, options), clips=self.clips_per_sample)

    def target(self, label_B: torch.Tensor, clips: torch.Tensor) -> torch.Tensor:
        """The target of the loss, (B, …) on the device of the labels or of the clips, from labels and delivered clips
        (B, K, 3, T, H, W)."""
        return label_B

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch."""
        return F.cross_entropy(output, target)

    @classmethod
    def held_out_needs(cls, segments: np.ndarray, setting: Setting, options: Any) -> list[np.ndarray | SomeOf]:
        """Sets of videos; at least one of each set (or as many as a `SomeOf` says) must be held out, or this pretext
        cannot be validated.

        Unless a subclass says otherwise: those with a segment that is long enough.
        """
        needed = cls.frames_needed(setting, options)
        return [distinct(segments, "video", lambda rows: rows["end"] - rows["start"] >= needed)]

    def warnings(self) -> list[str]:
        """Warnings about these segments, to show before training."""
        return []

    def advice(self, kind: str, head: HeadOptions) -> str:
        """The likely cause, and what to do, if a kind is still recognised no better than by chance."""
        return "add videos, or train longer"

    def __len__(self) -> int:
        """Samples in an epoch: unless a subclass says otherwise, one for each segment."""
        return len(self.segments)

    def span(self, speed: int = 1) -> int:
        """Source frames that a clip spans."""
        return (self.setting.clip_length - 1) * speed + 1

    def length(self, place: int) -> int:
        """Frames of the segment at this position."""
        return int(self.segments["end"][place] - self.segments["start"][place])

    def random(self, epoch: int, number: int, attempt: int = 0) -> np.random.Generator:
        """The random stream that a sample is drawn from."""
        return stream(self.setting.seed, epoch, number, attempt)

    def draw(self, epoch: int, number: int, attempt: int) -> tuple[int, int, np.random.Generator]:
        """How most samples begin: (label, place, random). All labels are equally likely; the place of the segment is
        the anchor's, or any for a replacement, which keeps the label; what else there is to draw comes from `random`.
        """
        random = self.random(epoch, number)
        label = int(random.integers(max(1, len(self.kinds))))
        if not attempt:
            return label, self.anchor(epoch, number), random
        random = self.random(epoch, number, attempt)
        return label, int(random.integers(len(self.segments))), random

    def anchor(self, epoch: int, number: int) -> int:
        """The segment of the first clip: each once in every pass, in an order that changes from pass to pass."""
        turn, place = divmod(number, len(self.segments))
        key, order = self._order  # kept from the last draw; another thread may change it meanwhile
        if key != (epoch, turn):
            self._order, order = NO_ORDER, NO_ORDER[1]  # the next one comes in its place, not beside it
            # As `permutation` draws it, in half the memory.
            order = np.arange(len(self.segments), dtype=np.uint32)
            stream(self.setting.seed, epoch, turn, purpose=1).shuffle(order)
            self._order = ((epoch, turn), order)
        return int(order[place])

    def start(self, place: int, random: np.random.Generator, frames: int) -> int:
        """A random first frame for `frames` consecutive frames of the segment at this position."""
        segment = self.segments[place]
        return int(random.integers(segment["start"], segment["end"] - frames + 1))

    def clip(
        self, place: int, random: np.random.Generator, *, start: int | None = None, speed: int = 1, rotation: int = 0,
        order: Callable[[np.random.Generator], np.ndarray] | None = None, flip: bool = False,
        tiles: tuple[int, int, int, int] | None = None, color: tuple[float, ...] | None = None,
        crop: tuple[int, int] | None = None,
    ) -> ClipRequest:
        """A clip of the segment at this position, at a random crop and a random start unless `crop` (top, left) and
        `start` are given; all its frames share the crop. `order` draws the order in which its frames are shown."""
        number, video, shot, begin, end = self.segments[place].item()
        if start is None:
            start = int(random.integers(begin, end - self.span(speed) + 1))
        frames = np.arange(start, start + speed * self.setting.clip_length, speed)
        if order is not None:
            frames = frames[order(random)]
        if crop is None:
            height, width = self.setting.frame_size
            top = int(random.integers(height - self.setting.crop + 1))
            left = int(random.integers(width - self.setting.crop + 1))
            crop = (top, left)
        return ClipRequest(video, shot, number, frames, rotation, crop, speed, flip, tiles, color)

    def still(self, place: int, random: np.random.Generator, frame: int, **changes: Any) -> ClipRequest:
        """One source frame as a clip, repeated where clips have more frames than one; `changes`: those of `clip`."""
        return self.clip(place, random, start=frame, order=lambda _: np.zeros(self.setting.clip_length, np.int64),
                         **changes)


def check_speeds(name: str, speeds: Any, setting: Setting) -> None:
    """Check a list of speeds that are to be told apart.

    Raises:
        EruvError: they are not a list of two or more different whole numbers, each at least 1; clips of one frame.
    """
    if setting.clip_length < 2:
        raise EruvError(f"clip_length {setting.clip_length} is too short to have a speed; it must be at least 2")
    if not isinstance(speeds, list | tuple) or len(speeds) < 2:
        raise EruvError(f"{name} {speeds!r} must be a list of two or more speeds, such as [1, 2, 4]")
    for speed in speeds:
        whole_number(f"a speed of {name}", speed, least=1)
    if len(set(speeds)) != len(speeds):
        raise EruvError(f"{name} {list(speeds)} name one twice; remove the duplicate")


def trimmed_segments(frames_of_videos: Sequence[int] | np.ndarray) -> np.ndarray:
    """One segment per video, for trimmed data: (V,) array of SEGMENT from the number of frames of each video."""
    segments = np.zeros(len(frames_of_videos), SEGMENT)
    segments["segment"] = segments["video"] = np.arange(len(frames_of_videos))
    segments["end"] = frames_of_videos
    return segments
