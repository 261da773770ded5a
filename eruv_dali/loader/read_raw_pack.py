"""Clips from a raw pack: the crops, copied or read straight into the batch."""

from collections.abc import Sequence

import numpy as np
import nvidia.dali as dali

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.pack_reader import CutShort
from eruv_dali.loader.clip_reader import ClipReader, UnreadableFrames
from eruv_dali.loader.pipelines import ClipFormat, frames_pipeline
from eruv_dali.loader.requests import ClipRequest


class RawPackReader(ClipReader):
    """Reads pixels; see ClipReader. A place holds the crops, (T, crop, crop, 3) RGB."""

    def __init__(self, dataset: Dataset, clip: ClipFormat) -> None:
        self.dataset, self.clip = dataset, clip
        super().__init__((clip.clip_length, clip.crop, clip.crop, 3))
        height, width = clip.frame_size
        self._whole = np.empty((clip.clip_length, height * width * 3), np.uint8)

    def pipeline(self, max_clips: int, **settings) -> dali.Pipeline:
        return frames_pipeline(self.clip, batch_size=max_clips, **settings)

    def read(self, requests: Sequence[ClipRequest], places: Sequence[np.ndarray]) -> None:
        for request, place in zip(requests, places, strict=True):
            first = int(self.dataset.frames_of(request.video)["offset"][0])
            offsets = first + request.frames.astype(np.int64) * self._whole[0].nbytes
            if not self._copy(request, offsets, place):
                self._read(request, offsets, place)
            self.bytes += self._whole.nbytes

    def _copy(self, request: ClipRequest, offsets: np.ndarray, place: np.ndarray) -> bool:
        """Copy the crops from the mapped file, if there is one and it holds these frames."""
        file = self.dataset.packed.mapped(self.dataset.videos[request.video].pack_file)
        return file is not None and file.crop(offsets, self.clip.frame_size, *request.crop, place)

    def _read(self, request: ClipRequest, offsets: np.ndarray, place: np.ndarray) -> None:
        """Read whole frames, and copy the crops."""
        video, size = self.dataset.videos[request.video], self._whole[0].nbytes
        try:
            self.dataset.packed.read_frames(video.pack_file, [(offset, size) for offset in offsets.tolist()],
                                            self._whole)
        except CutShort as error:
            raise UnreadableFrames(f"{video.path}: {error}", np.unique(request.frames[offsets + size > error.end])
                                   ) from None
        top, left = request.crop
        side = self.clip.crop
        place[:] = self._whole.reshape(-1, *self.clip.frame_size, 3)[:, top : top + side, left : left + side]

    def crop_left(self, request: ClipRequest) -> tuple[int, int]:
        return 0, 0

