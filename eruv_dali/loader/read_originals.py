"""Clips from the original video files: decoded with PyAV; on a GPU, by DALI from slices that the threads cut."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
import nvidia.dali as dali

from eruv_dali.dataset.columns import VideoRow
from eruv_dali.dataset.video_set import VideoSet
from eruv_dali.device import cores
from eruv_dali.loader.clip_reader import ClipReader, Slice, UnreadableFrames
from eruv_dali.loader.pipelines import SLICES_ON, ClipFormat, frames_pipeline, slices_pipeline
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.native import say_once
from eruv_dali.video.coding import read_coding
from eruv_dali.video.decoder_choice import capabilities, why_not_dali
from eruv_dali.video.open import UnusableVideo
from eruv_dali.video.reader import FrameNotFound, FrameReader

REASONS_SAID = 4


class OriginalsReader(ClipReader):
    """Decodes original files; see ClipReader. A place holds the crops, (T, crop, crop, 3) RGB."""

    original = True

    def __init__(self, videos: VideoSet, clip: ClipFormat) -> None:
        self.videos, self.clip = videos, clip
        super().__init__((clip.clip_length, clip.crop, clip.crop, 3))
        self._files = FrameReader()
        self.seconds = self._files.seconds
        self._keys: dict[int, list[int]] = {}  # key frames of each video that was asked for

    def pipeline(self, max_clips: int, **settings) -> dali.Pipeline:
        self._say_refused()
        if not all(self._refusals):
            return slices_pipeline(self.clip, self.place, original=True, batch_size=max_clips, **settings)
        return frames_pipeline(self.clip, batch_size=max_clips, **settings)

    def group(self, request: ClipRequest) -> Hashable | None:
        if request.video not in self._keys:
            self._keys[request.video] = self.videos.index(request.video).keys.tolist()
        return request.video, bisect_right(self._keys[request.video], min(request.frames.tolist()))

    def slices(self, video: int) -> bool:
        return not self._refusals[video]

    @cached_property
    def _refusals(self) -> list[str]:
        """Why DALI does not decode each video, "" where it does."""
        if self.clip.device not in SLICES_ON:
            return ["PyAV decodes on this device"] * len(self.videos.videos)
        # Reads the files of which the coding is not known yet, which takes milliseconds each.
        with ThreadPoolExecutor(cores()) as pool:
            return list(pool.map(self._refusal, self.videos.videos))

    def _refusal(self, row: VideoRow) -> str:
        decoder = capabilities(self.clip.device, self.clip.device_id)
        if decoder.problem:
            return decoder.problem
        try:
            return why_not_dali(row.codec, row.rotation, row.coding or read_coding(row.path), decoder)
        except UnusableVideo as error:
            return str(error)

    def _say_refused(self) -> None:
        """Log how many videos PyAV decodes although there is a GPU, and why; the same line only once."""
        refused = Counter(filter(None, self._refusals))
        if self.clip.device not in SLICES_ON or not refused:
            return
        if problem := capabilities(self.clip.device, self.clip.device_id).problem:
            say_once(problem)
        else:
            why = ", ".join(f"{reason}: {count:,}" for reason, count in refused.most_common(REASONS_SAID))
            say_once(f"PyAV decodes {refused.total():,} of {len(self._refusals):,} videos, which NVDEC or DALI cannot "
                     f"({why}{', …' if len(refused) > REASONS_SAID else ''})")

    def slice(self, request: ClipRequest) -> Slice | None:
        video = request.video
        cut = self._files.slice(self.videos.videos[video].path, self.videos.index(video), np.unique(request.frames))
        self.bytes = self._files.bytes
        return Slice.of_video(cut) if cut else None

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
