"""Threads that read clips ahead of DALI, from whichever form the frames are kept in.

Whether DALI decodes a video or a thread does depends only on the video and the device, so that a clip has the same
pixels whenever it is read. Clips of one group of pictures that wait at the same time are decoded together, once: the
further ahead the loader requests clips, the more of them share a decode.
"""

import logging
import queue
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import nvidia.dali as dali
import torch

from eruv_dali.dataset.video_set import VideoSet
from eruv_dali.loader.bad_clips import Unreadable, UnreadableClips
from eruv_dali.loader.clip_reader import ClipReader, Slice, UnreadableFrames
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.loader.transform_inputs import check_transforms, transform_arrays

log = logging.getLogger(__name__)

NOTHING, SAME = np.zeros(4, np.int32), np.eye(3, dtype=np.float32)  # where DALI has no slice to crop and correct


class Unfinished:
    """How many clips of a batch the threads still work on. The last one wakes whoever waits for the batch."""

    def __init__(self) -> None:
        self.count = 0
        # A condition would do, but Ctrl-C within its Python code leaves its lock in disorder.
        self.finished: queue.SimpleQueue[None] = queue.SimpleQueue()


@dataclass(eq=False)
class Begun:
    """A clip that the threads read into `place`, or cut a `slice` for. `error`: why they could not."""

    request: ClipRequest
    place: np.ndarray
    unfinished: Unfinished
    slice: Slice | None = None
    error: BaseException | None = None


class ClipSource:
    """Reads clips on threads, and makes DALI's inputs of them.

    Args:
        videos: where the clips come from; `clip`: the format of the delivered clips.
        make_reader: called once for this thread and once for each of the others.
        threads: their number.

    Attributes:
        any_sliced: DALI decodes some of the videos.
    """

    def __init__(
        self, videos: VideoSet, clip: ClipFormat, make_reader: Callable[[], ClipReader], threads: int
    ) -> None:
        self.videos, self.clip = videos, clip
        self._reader = make_reader()
        self._sliced = np.array([self._reader.slices(video) for video in range(len(videos.videos))], bool)
        self.any_sliced = bool(self._sliced.any())
        self._readers = [make_reader() for _ in range(threads)]  # here, so that an error comes from here
        self._waiting: dict[Hashable, list[Begun]] = {}  # by group
        self._jobs: queue.SimpleQueue[Hashable | Begun | None] = queue.SimpleQueue()
        # Guards `_waiting` and the counts of unfinished clips. The garbage collector may call `close` on a thread that
        # holds it.
        self._lock = threading.RLock()
        self._free: list[np.ndarray] = []  # memory of batches that were delivered
        self._threads = [threading.Thread(target=self._serve, args=(reader,), name=f"eruv-read-{number}", daemon=True)
                         for number, reader in enumerate(self._readers)]
        for thread in self._threads:
            thread.start()

    @property
    def bytes(self) -> int:
        """Bytes read so far."""
        return sum(reader.bytes for reader in self._readers)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds spent by all threads so far: "read", "demux" and "decode"."""
        return {stage: sum(reader.seconds[stage] for reader in self._readers) for stage in ("read", "demux", "decode")}

    def pipeline(self, max_clips: int, **settings) -> dali.Pipeline:
        return self._reader.pipeline(max_clips, **settings)

    def memory(self, clips: int) -> np.ndarray:
        """(clips, *place) uint8, for a batch; `give_back` it when DALI has delivered the batch."""
        while self._free:
            memory = self._free.pop()
            if len(memory) >= clips:
                return memory  # a smaller one, of an epoch's last batch, is let go
        shape = (clips, *self._reader.place)
        if self.clip.device == "gpu":  # pinned, which is copied to the GPU several times faster
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy()
        return np.empty(shape, np.uint8)

    def give_back(self, memory: np.ndarray) -> None:
        self._free.append(memory)

    def begin(self, requests: Sequence[ClipRequest], memory: np.ndarray, unfinished: Unfinished) -> list[Begun]:
        """Queue clips of one batch for the threads to read into the places of `memory`.

        Raises:
            EruvError: see `check_transforms`.
        """
        check_transforms(requests, self.clip.transforms)
        begun = [Begun(request, place, unfinished) for request, place in zip(requests, memory, strict=False)]
        groups = [self._reader.group(request) for request in requests]
        jobs: list[Hashable | Begun] = []
        with self._lock:
            unfinished.count += len(begun)
            for clip, group in zip(begun, groups, strict=True):
                if group is None:
                    jobs.append(clip)
                elif group in self._waiting:
                    self._waiting[group].append(clip)
                else:
                    self._waiting[group] = [clip]
                    jobs.append(group)
        for job in jobs:
            self._jobs.put(job)
        return begun

    def inputs(self, begun: list[Begun], memory: np.ndarray, unfinished: Unfinished) -> dict:
        """The inputs of DALI's pipeline for these clips, whose places are those of `memory`; waits until they are read.

        Clips that were sliced for DALI before it failed on their video are started again, and replaced in the list:
        they would end the pipeline once more.

        Raises:
            UnreadableClips: clips with frames that cannot be read.
            EruvError: DALI must not be given what was read.
        """
        self._wait(unfinished)
        if again := [position for position, clip in enumerate(begun) if self.outdated(clip)]:
            for position in again:
                clip = begun[position]
                begun[position : position + 1] = self.begin([clip.request], clip.place[None], unfinished)
            self._wait(unfinished)
        lost = {}
        for position, clip in enumerate(begun):
            if isinstance(clip.error, UnreadableFrames):
                lost[position] = Unreadable(clip.error.frames, str(clip.error))
            elif clip.error is not None:
                raise clip.error
        if lost:
            raise UnreadableClips(lost)
        crops = [clip.request.crop if clip.slice else self._reader.crop_left(clip.request) for clip in begun]
        placing = {"crop_pos": np.array(crops, np.int32),
                   "rotation": np.array([clip.request.rotation for clip in begun], np.int32),
                   **transform_arrays([clip.request for clip in begun], self.clip.transforms)}
        T = self.clip.clip_length
        if self._reader.by_frame:
            return {"data": memory[: len(begun)].reshape(-1, *memory.shape[2:]),
                    **{name: np.repeat(value, T, axis=0) for name, value in placing.items()}}
        if not self.any_sliced:
            return {"data": memory[: len(begun)], **placing}
        order = [np.unique(clip.request.frames, return_inverse=True)[1] if clip.slice else np.arange(T)
                 for clip in begun]
        if self._reader.original:
            slices = [clip.slice for clip in begun]
            placing |= {"shown": np.array([NOTHING if cut is None else cut.shown for cut in slices]),
                        "correction": np.array([SAME if cut is None else cut.correction for cut in slices])}
        return {
            "data": [clip.slice.data if clip.slice else clip.place.reshape(-1) for clip in begun],
            "is_slice": np.array([clip.slice is not None for clip in begun]),
            "positions": [clip.slice.positions if clip.slice else np.zeros(1, np.int32) for clip in begun],
            "index": np.array(order, np.int32), **placing,
        }

    def outdated(self, begun: Begun) -> bool:
        """Whether a clip was sliced for DALI before it failed on its video."""
        return begun.slice is not None and not self._sliced[begun.request.video]

    def _wait(self, unfinished: Unfinished) -> None:
        """Until the threads have read all the clips of a batch."""
        while unfinished.count:
            unfinished.finished.get()

    def blame(self, begun: Begun, reason: str) -> Unreadable | None:
        """DALI could not decode this clip: from now on a thread decodes its video; only if that fails is it
        unreadable."""
        request = begun.request
        path, frames = self.videos.videos[request.video].path, np.unique(request.frames)
        if begun.slice is None:
            return Unreadable(frames, f"{path}: frames {frames[0]}..{frames[-1]} cannot be decoded ({reason})")
        if self._sliced[request.video]:
            self._sliced[request.video] = False
            log.warning("%s: DALI cannot decode it; PyAV will from now on (%s)", path, reason)
        return None

    def drop(self) -> None:
        """Forget the clips that no thread has started on."""
        with self._lock:
            self._waiting.clear()
        while not self._jobs.empty():
            try:
                self._jobs.get_nowait()
            except queue.Empty:  # a thread was faster
                return

    def close(self) -> None:
        """Stop the threads and close the files."""
        self.drop()
        for _ in self._threads:
            self._jobs.put(None)
        # The garbage collector may close an abandoned loader on one of these threads, which cannot wait for itself.
        if threading.current_thread() not in self._threads:
            for thread in self._threads:
                thread.join()

    def _serve(self, reader: ClipReader) -> None:
        """A thread's work: read what waits, until told to stop."""
        while (job := self._jobs.get()) is not None:
            if isinstance(job, Begun):
                clips = [job]
            else:
                with self._lock:
                    clips = self._waiting.pop(job, [])
            try:
                self._read(reader, clips)
            except BaseException as error:  # passed on to the thread that waits for the clips
                for clip in clips:
                    clip.error = clip.error or error
            with self._lock:
                for clip in clips:
                    clip.unfinished.count -= 1
                    if not clip.unfinished.count:
                        clip.unfinished.finished.put(None)
        reader.close()

    def _read(self, reader: ClipReader, clips: Sequence[Begun]) -> None:
        if clips and self._sliced[clips[0].request.video]:
            for clip in clips:
                try:
                    clip.slice = reader.slice(clip.request)
                except UnreadableFrames as error:  # of this clip alone, whichever others wait with it
                    clip.error = error
            clips = [clip for clip in clips if clip.slice is None and clip.error is None]
        if not clips:
            return
        try:
            reader.read([clip.request for clip in clips], [clip.place for clip in clips])
        except UnreadableFrames as error:
            if len(clips) == 1:
                clips[0].error = error
            else:  # some of the clips may be intact
                for clip in clips:
                    self._read(reader, [clip])
