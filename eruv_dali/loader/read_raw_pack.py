"""Clips from a raw pack: frames read straight into the batch."""

from collections.abc import Sequence

import numpy as np
import nvidia.dali as dali

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.pack_reader import CutShort
from eruv_dali.loader.clip_reader import ClipReader, UnreadableFrames
from eruv_dali.loader.pipelines import ClipFormat, frames_pipeline
from eruv_dali.loader.requests import ClipRequest


class RawPackReader(ClipReader):
    """Reads pixels; see ClipReader. A place holds whole frames, (T, height, width, 3)."""

    def __init__(self, dataset: Dataset, clip: ClipFormat) -> None:
        self.dataset, self.clip = dataset, clip
        super().__init__((clip.clip_length, *clip.frame_size, 3))

    def pipeline(self, max_clips: int, **settings) -> dali.Pipeline:
        return frames_pipeline(self.clip, batch_size=max_clips, **settings)

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
                lost = first + (request.frames + 1) * size > error.end
                raise UnreadableFrames(f"{video.path}: {error}", np.unique(request.frames[lost])) from None
            self.bytes += place.nbytes

    def crop_left(self, request: ClipRequest) -> tuple[int, int]:
        return request.crop
