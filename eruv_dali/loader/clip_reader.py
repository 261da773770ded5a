"""What reads clips: the interface of the four readers, one for each form in which a video's frames may be kept.

    read_originals.py     the original files, or slices of them for DALI
    read_video_pack.py    H.264 in closed groups, or slices of it for DALI
    read_jpeg_pack.py     JPEG images, which DALI decodes
    read_raw_pack.py      pixels
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import nvidia.dali as dali

from eruv_dali.loader.requests import ClipRequest
from eruv_dali.video.video_slice import VideoSlice


class UnreadableFrames(Exception):
    """Frames that cannot be read; `frames` are their numbers, the message names their file and says why."""

    def __init__(self, message: str, frames: np.ndarray) -> None:
        super().__init__(message)
        self.frames = frames


@dataclass(frozen=True, eq=False)
class Slice:
    """A small video file in memory for DALI's decoder, and the positions (F,) int32 of a clip's frames in it,
    ascending, without repeats. `shown` and `correction`: see VideoSlice; None if the pictures are as they should be."""

    data: np.ndarray
    positions: np.ndarray
    shown: np.ndarray | None = None
    correction: np.ndarray | None = None

    @classmethod
    def of_video(cls, cut: VideoSlice) -> "Slice":
        return cls(np.frombuffer(cut.data, np.uint8), cut.positions, cut.shown, cut.correction)


class ClipReader(ABC):
    """Reads the frames of clips into memory, each clip's in the order shown. Each thread has its own.

    Attributes:
        place: shape of the memory for one clip, uint8.
        by_frame: one sample of DALI's pipeline is a frame, the first axis of a place; otherwise a clip.
        original: slices are of original files, whose pictures DALI has to crop, scale and correct in colour.
        bytes: read so far.
        seconds: spent so far in "read", "demux" and "decode"; 0 where DALI does the work.
    """

    by_frame = original = False

    def __init__(self, place: tuple[int, ...]) -> None:
        self.place = place
        self.bytes, self.seconds = 0, {"read": 0.0, "demux": 0.0, "decode": 0.0}

    @abstractmethod
    def pipeline(self, max_clips: int, **settings) -> dali.Pipeline:
        """DALI's pipeline for what this reader delivers."""

    @abstractmethod
    def read(self, requests: Sequence[ClipRequest], places: Sequence[np.ndarray]) -> None:
        """Fill a place for each request, all of one group.

        Raises:
            UnreadableFrames: frames of some of the clips cannot be read.
        """

    @abstractmethod
    def crop_left(self, request: ClipRequest) -> tuple[int, int]:
        """(top, left) of the crop that is left to do in what `read` delivers."""

    def group(self, request: ClipRequest) -> Hashable | None:
        """Clips of one group that wait at the same time are read together; None: a clip is read by itself."""
        return None

    def slices(self, video: int) -> bool:
        """Whether DALI decodes this video, from slices."""
        return False

    def slice(self, request: ClipRequest) -> Slice | None:
        """The clip as a slice; None: it has to be read."""
        return None

    def close(self) -> None:  # noqa: B027  (a pack's files are the dataset's)
        """Close the reader's own files."""
