"""Clips from a raw pack: frames read straight into the batch."""

from collections.abc import Hashable, Sequence

import numpy as np
import nvidia.dali as dali

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.pack_reader import CutShort
from eruv_dali.loader.clip_reader import Slice, UnreadableFrames
from eruv_dali.loader.pipelines import ClipFormat, frames_pipeline
from eruv_dali.loader.requests import ClipRequest


class RawPackReader:
    """Reads pixels; see ClipReader. A place holds whole frames, (T, height, width, 3)."""

    def __init__(self, dataset: Dataset, clip: ClipFormat) -> None:
        self.dataset, self.clip = dataset, clip
        self.place: tuple[int, ...] = (clip.clip_length, *clip.frame_size, 3)
        self.bytes, self.seconds = 0, {"read": 0.0, "demux": 0.0, "decode": 0.0}

    def pipeline(self, max_clips: int, **settings) -> dali.Pipeline:
        return frames_pipeline(self.clip, batch_size=max_clips, **settings)

    def group(self, request: ClipRequest) -> Hashable | None:
        return None

    def slices(self, video: int) -> bool:
        return False

    def slice(self, request: ClipRequest) -> Slice | None:
        return None

    def read(self, requests: Sequence[ClipRequest], places: Sequence[np.ndarray]) -> None:
        for request, place in zip(requests, places, strict=True):
            video = self.dataset.videos[request.video]
            size = place[0].nbytes
            first = int(self.dataset.frames_of(request.video)["offset"][0])
            try:
                self.dataset.packed.read_frames(
                    video.pack_file, [(first + number * size, size) for number in request.frames.tolist()],
                    place.reshape(len(place), -1))
            except CutShort as error:
                raise UnreadableFrames(f"{video.path}: {error}", np.unique(request.frames)) from None
            self.bytes += place.nbytes

    def crop_left(self, request: ClipRequest) -> tuple[int, int]:
        return request.crop

    def close(self) -> None:
        """Nothing to close: the dataset holds the files."""
