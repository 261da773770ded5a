"""Clips from original video files: PyAV decodes them on threads; on a GPU, DALI does, from slices that the threads cut.

Which of the two decodes a video depends only on its codec and the device, so that a clip has the same pixels whenever
it is read. With PyAV, clips that start in the same group of pictures and wait at the same time are decoded together,
once: the further ahead the loader requests clips, the more of them share a decode.
"""

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import nvidia.dali as dali

from eruv_dali.dataset.video_set import VideoSet
from eruv_dali.loader.bad_clips import Unreadable, UnreadableClips
from eruv_dali.loader.pipelines import ClipFormat, direct_pipeline
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.video.reader import FrameNotFound, FrameReader
from eruv_dali.video.remux import DALI_CODECS

log = logging.getLogger(__name__)

# Devices on which DALI decodes the codecs it supports. Its CPU decoder supports VP8, VP9 and MJPEG, but decodes each
# clip separately, whereas PyAV decodes the clips of one group of pictures once.
DALI_DEVICES = ("gpu",)


@dataclass(eq=False)
class Wanted:
    """A clip for the threads to read: the frames it needs, ascending, and the order in which they are shown."""

    request: ClipRequest
    frames: np.ndarray
    order: np.ndarray
    result: Future


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded frames (F, H, W, 3) uint8."""

    frames: np.ndarray


@dataclass(frozen=True, eq=False)
class Slice:
    """A piece of a video file for DALI's decoder, and the positions of the frames in it."""

    data: np.ndarray
    positions: np.ndarray


class FileSource:
    """Feeds DALI from original files.

    Args:
        videos: a dataset, or videos indexed on the fly.
        clip: the format of the delivered clips.
        threads: number of threads that read files; PyAV releases the GIL while it decodes.
    """

    def __init__(self, videos: VideoSet, clip: ClipFormat, threads: int) -> None:
        self.videos, self.clip = videos, clip
        # Whether DALI decodes each video: it must support the codec, and it ignores rotation metadata.
        self._sliced = np.array([clip.device in DALI_DEVICES and video.codec in DALI_CODECS[clip.device]
                                 and video.rotation == 0 for video in videos.videos])
        self._any_sliced = bool(self._sliced.any())
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="eruv-read")
        self._own = threading.local()
        self._readers: list[FrameReader] = []
        self._waiting: dict[tuple[int, int], list[Wanted]] = {}  # by video and key frame
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Bytes read from the files so far."""
        return sum(reader.bytes for reader in self._readers)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds spent by all threads so far: "read", "demux" and "decode"."""
        return {stage: sum(reader.seconds[stage] for reader in self._readers) for stage in ("read", "demux", "decode")}

    def pipeline(self, max_clips: int, **settings) -> dali.Pipeline:
        return direct_pipeline(self._any_sliced, self.clip, batch_size=max_clips, **settings)

    def begin(self, request: ClipRequest) -> Wanted:
        """Queue a clip for the threads to read."""
        frames, order = np.unique(request.frames, return_inverse=True)
        wanted = Wanted(request, frames, order, Future())
        keys = self.videos.index(request.video).keys
        group = (request.video, int(np.searchsorted(keys, frames[0], "right")))
        with self._lock:
            if group in self._waiting:
                self._waiting[group].append(wanted)
            else:
                self._waiting[group] = [wanted]
                self._threads.submit(self._serve, group)
        return wanted

    def ready(self, begun: Wanted) -> bool:
        return begun.result.done()

    def inputs(self, begun: list[Wanted]) -> dict:
        """The inputs of DALI's pipeline for these clips; waits until they are read.

        Clips that were sliced for DALI before it failed on their video are started again, and replaced in the list.

        Raises:
            UnreadableClips: clips with frames that cannot be read from their files.
        """
        for position, wanted in enumerate(begun):
            if not self._sliced[wanted.request.video] and _is_slice(wanted):
                begun[position] = self.begin(wanted.request)
        lost = {position: Unreadable(error.frames, str(error)) for position, wanted in enumerate(begun)
                if isinstance(error := wanted.result.exception(), FrameNotFound)}
        if lost:
            raise UnreadableClips(lost)
        read = [wanted.result.result() for wanted in begun]
        inputs = {
            "data": [part.data if isinstance(part, Slice) else part.frames.reshape(-1) for part in read],
            "shape": np.array([(0, 0, 0, 0) if isinstance(part, Slice) else part.frames.shape for part in read],
                              np.int32),
            "index": np.array([wanted.order for wanted in begun], np.int32),
            "crop_pos": np.array([wanted.request.crop for wanted in begun], np.int32),
            "rotation": np.array([wanted.request.rotation for wanted in begun], np.int32),
        }
        if self._any_sliced:
            inputs["is_slice"] = np.array([isinstance(part, Slice) for part in read])
            inputs["positions"] = [part.positions if isinstance(part, Slice) else np.zeros(1, np.int32)
                                   for part in read]
        return inputs

    def blame(self, begun: Wanted, reason: str) -> Unreadable | None:
        """DALI could not decode this clip: from now on PyAV decodes its video; only if that fails is it unreadable."""
        request = begun.request
        if _is_slice(begun):
            if self._sliced[request.video]:
                self._sliced[request.video] = False
                log.warning("%s: DALI cannot decode it; PyAV will from now on (%s)",
                            self.videos.videos[request.video].path, reason)
            return None
        path, frames = self.videos.videos[request.video].path, np.unique(request.frames)
        return Unreadable(frames, f"{path}: frames {frames[0]}..{frames[-1]} cannot be decoded ({reason})")

    def drop(self) -> None:
        """Forget the clips that no thread has started on."""
        with self._lock:
            self._waiting.clear()

    def close(self) -> None:
        """Stop the threads and close the files."""
        self.drop()
        # The garbage collector may close an abandoned loader on one of these threads, which cannot wait for itself.
        on_own_thread = hasattr(self._own, "reader")
        self._threads.shutdown(wait=not on_own_thread)
        for reader in () if on_own_thread else self._readers:
            reader.close()

    def _serve(self, group: tuple[int, int]) -> None:
        """Read all clips that wait for one group of pictures."""
        with self._lock:
            clips = self._waiting.pop(group, [])
            if not hasattr(self._own, "reader"):
                self._own.reader = FrameReader()
                self._readers.append(self._own.reader)
        try:
            self._read(group[0], clips)
        except BaseException as error:  # any error is passed on to the thread that waits for the clips
            for wanted in clips:
                if not wanted.result.done():
                    wanted.result.set_exception(error)

    def _read(self, video: int, clips: list[Wanted]) -> None:
        reader, path, index = self._own.reader, self.videos.videos[video].path, self.videos.index(video)
        if self._sliced[video]:
            left = []
            for wanted in clips:
                cut = reader.slice(path, index, wanted.frames)
                if cut is None:
                    left.append(wanted)
                else:
                    wanted.result.set_result(Slice(np.frombuffer(cut[0], np.uint8), cut[1]))
            clips = left
        if not clips:
            return
        union = np.unique(np.concatenate([wanted.frames for wanted in clips]))
        try:
            pictures = reader.read(path, index, union, *self.clip.frame_size)
        except FrameNotFound as error:
            if len(clips) == 1:
                clips[0].result.set_exception(error)
            else:  # some of the clips may be intact
                for wanted in clips:
                    self._read(video, [wanted])
            return
        for wanted in clips:
            wanted.result.set_result(Pictures(
                pictures if len(clips) == 1 else pictures[np.searchsorted(union, wanted.frames)]))


def _is_slice(wanted: Wanted) -> bool:
    """Whether the clip has been read, as a slice of its file."""
    return wanted.result.done() and not wanted.result.exception() and isinstance(wanted.result.result(), Slice)
