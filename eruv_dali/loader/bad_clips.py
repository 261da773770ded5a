"""Clips that cannot be decoded: they are reported, and their frames are never requested again."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eruv_dali.loader.requests import ClipRequest


@dataclass(frozen=True, eq=False)
class Unreadable:
    """Frames of a clip that cannot be read, and why."""

    frames: np.ndarray
    reason: str


class UnreadableClips(Exception):
    """Some clips of a batch cannot be decoded; `clips` maps their position in the batch to the reason."""

    def __init__(self, clips: Mapping[int, Unreadable]) -> None:
        super().__init__("; ".join(clip.reason for clip in clips.values()))
        self.clips = clips


class Quarantine:
    """Frames that could not be decoded. A clip that contains one of them is never requested again.

    It only predicts failures that decoding would hit anyway, so the same clips are delivered with it and without it.
    """

    def __init__(self) -> None:
        self._frames: dict[int, set[int]] = {}

    def __len__(self) -> int:
        """Frames in quarantine."""
        return sum(map(len, self._frames.values()))

    def add(self, video: int, frames: np.ndarray) -> None:
        self._frames.setdefault(video, set()).update(frames.tolist())

    def holds(self, request: ClipRequest) -> bool:
        """Whether the clip has a frame that is in quarantine."""
        bad = self._frames.get(request.video)
        return bad is not None and not bad.isdisjoint(request.frames.tolist())
