"""Clips from the original video files: decoded with PyAV; on a GPU, by DALI from slices that the threads cut."""

from bisect import bisect_right
from collections.abc import Hashable, Sequence

import numpy as np
import nvidia.dali as dali

from eruv_dali.dataset.video_set import VideoSet
from eruv_dali.loader.clip_reader import ClipReader, Slice, UnreadableFrames
from eruv_dali.loader.pipelines import SLICES_ON, ClipFormat, frames_pipeline, slices_pipeline
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.video.reader import FrameNotFound, FrameReader
from eruv_dali.video.remux import DALI_CODECS


class OriginalsReader(ClipReader):
    """Decodes original files; see ClipReader. A place holds the crops, (T, crop, crop, 3) RGB."""

    def __init__(self, videos: VideoSet, clip: ClipFormat) -> None:
        self.videos, self.clip = videos, clip
        super().__init__((clip.clip_length, clip.crop, clip.crop, 3))
        self._files = FrameReader()
        self.seconds = self._files.seconds
        self._keys: dict[int, list[int]] = {}  # key frames of each video that was asked for

    def pipeline(self, max_clips: int, **settings) -> dali.Pipeline:
        if any(map(self.slices, range(len(self.videos.videos)))):
            return slices_pipeline(self.clip, self.place, resize=True, batch_size=max_clips, **settings)
        return frames_pipeline(self.clip, batch_size=max_clips, **settings)

    def group(self, request: ClipRequest) -> Hashable | None:
        if request.video not in self._keys:
            self._keys[request.video] = self.videos.index(request.video).keys.tolist()
        return request.video, bisect_right(self._keys[request.video], min(request.frames.tolist()))

    def slices(self, video: int) -> bool:
        """It must be in a codec that DALI decodes there, and upright: DALI ignores rotation metadata."""
        row = self.videos.videos[video]
        return self.clip.device in SLICES_ON and row.codec in DALI_CODECS[self.clip.device] and row.rotation == 0

    def slice(self, request: ClipRequest) -> Slice | None:
        video = request.video
        cut = self._files.slice(self.videos.videos[video].path, self.videos.index(video), np.unique(request.frames))
        self.bytes = self._files.bytes
        return Slice(np.frombuffer(cut[0], np.uint8), cut[1]) if cut else None

    def read(self, requests: Sequence[ClipRequest], places: Sequence[np.ndarray]) -> None:
        video, crop = requests[0].video, self.clip.crop
        shown = np.unique(np.concatenate([request.frames for request in requests]))
        try:
            pictures = self._files.read(self.videos.videos[video].path, self.videos.index(video), shown,
                                        *self.clip.frame_size)
        except FrameNotFound as error:
            raise UnreadableFrames(str(error), error.frames) from None
        finally:
            self.bytes = self._files.bytes
        for request, place in zip(requests, places, strict=True):
            top, left = request.crop
            place[:] = pictures[np.searchsorted(shown, request.frames), top : top + crop, left : left + crop]

    def crop_left(self, request: ClipRequest) -> tuple[int, int]:
        return 0, 0

    def close(self) -> None:
        self._files.close()
