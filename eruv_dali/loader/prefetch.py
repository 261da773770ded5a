"""The engine under both loaders: lists of clip requests in, dense batches of clips out, some batches ahead."""

import contextlib
import ctypes
import functools
import logging
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import nvidia.dali as dali
import torch

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.video_set import VideoSet
from eruv_dali.errors import EruvError
from eruv_dali.loader.bad_clips import Unreadable, UnreadableClips
from eruv_dali.loader.clip_reader import ClipReader
from eruv_dali.loader.clip_source import Begun, ClipSource, Unfinished
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.loader.read_jpeg_pack import JpegPackReader
from eruv_dali.loader.read_originals import OriginalsReader
from eruv_dali.loader.read_raw_pack import RawPackReader
from eruv_dali.loader.read_video_pack import VideoPackReader
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.video.decode_nvdec import DECODERS

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

IN_DALI = 2  # batches that DALI works on at a time
# Clips requested ahead where clips in the same group of pictures can be decoded together, or a store is waited for. A
# waiting clip takes 0.6 MB, of a raw pack 1 MB.
CLIPS_AHEAD = 128
STORE_READERS = 32  # threads, where each clip waits for a store; they share the cores
PACK_READERS: dict[str, Callable[[Dataset, ClipFormat], ClipReader]] = {
    "video": VideoPackReader, "jpeg": JpegPackReader, "raw": RawPackReader}


@dataclass(eq=False)
class Batch:
    """A batch in flight: its requests, the clips being read for them, the memory they are read into, and DALI's inputs,
    which DALI reads in place."""

    requests: list[ClipRequest]
    begun: list[Begun]
    memory: np.ndarray
    unfinished: Unfinished
    inputs: dict | None = None
    suspect: str = field(default="", kw_only=True)  # what DALI said when it died over this batch


class ClipEngine:
    """Reads, decodes and transforms clips, ahead of the code that collects them.

    `submit` starts a batch and returns at once; `collect` waits for the oldest one. Threads read the clips, and decode
    them or leave that to DALI; if DALI's pipeline dies, it is rebuilt and its unfinished batches are submitted again.

    Args:
        videos: where the clips come from: a dataset, or videos indexed on the fly.
        clip: the format of the delivered clips.
        max_clips: the largest batch that will be submitted.
        threads: number of DALI threads; the same number again read clips, more from a store. Where DALI decodes videos
            on a GPU, it has at least DECODERS.

    Attributes:
        ahead: batches worth submitting before the first one is collected.
        waited: seconds spent in `collect` so far.
    """

    def __init__(self, videos: VideoSet, clip: ClipFormat, *, max_clips: int, threads: int) -> None:
        _ENGINES.add(self)
        self.clip, self._max_clips = clip, max_clips
        shared = videos.pack in ("none", "video") or videos.in_store
        self.ahead = max(2 * IN_DALI, CLIPS_AHEAD // max_clips) if shared else 2 * IN_DALI
        self.waited = 0.0
        # A depth above 1 makes DALI's first run wait for that number of inputs; the dynamic executor accepts any number
        # of runs ahead anyway, so this class limits the depth itself (IN_DALI).
        self.source = ClipSource(videos, clip, functools.partial(_reader, videos, clip),
                                 max(threads, STORE_READERS) if videos.in_store else threads)
        decoding = clip.device == "gpu" and self.source.any_sliced
        self._settings = dict(num_threads=max(threads, DECODERS) if decoding else threads, exec_dynamic=True,
                              prefetch_queue_depth=1, device_id=clip.device_id)
        self._pipeline = self._build(max_clips)
        self._waiting: deque[Batch] = deque()  # submitted, not yet given to DALI
        self._running: deque[Batch] = deque()  # in DALI
        self._interrupted = False  # an exception broke into the work: queues and pipeline may be out of step

    def _build(self, max_clips: int) -> dali.Pipeline:
        return self.source.pipeline(max_clips, **self._settings)

    @property
    def queued(self) -> int:
        """Batches submitted and not yet collected."""
        return len(self._waiting) + len(self._running)

    def submit(self, requests: Sequence[ClipRequest]) -> None:
        """Start loading a batch of clips."""
        with self._uninterrupted():
            memory = self.source.memory(len(requests))
            unfinished = Unfinished()
            begun = self.source.begin(requests, memory, unfinished)
            self._waiting.append(Batch(list(requests), begun, memory, unfinished))
            self._advance()

    def collect(self) -> torch.Tensor:
        """The oldest batch: (N, …) with each clip in the memory order of `clip.layout`.

        Raises:
            UnreadableClips: clips of that batch that cannot be read. `replace` them and collect again.
            EruvError: DALI failed twice on the same batch.
        """
        started = time.perf_counter()
        try:
            with self._uninterrupted():
                clips = self._oldest()
        finally:
            self.waited += time.perf_counter() - started
        tensor = torch.from_dlpack(clips.as_tensor())
        if self.clip.dtype == "bfloat16":
            tensor = tensor.view(torch.bfloat16)  # DALI has no bfloat16: its bits arrive as int16
        # From a JPEG pack, one sample is one frame.
        return tensor if tensor.dim() == 5 else tensor.unflatten(0, (-1, self.clip.clip_length))

    def replace(self, position: int, request: ClipRequest) -> None:
        """Replace an unreadable clip of the oldest batch by another clip."""
        batch = self._waiting[0]
        batch.requests[position] = request
        batch.begun[position : position + 1] = self.source.begin(
            [request], batch.memory[position : position + 1], batch.unfinished)

    def drop(self) -> None:
        """Forget everything submitted and not yet collected."""
        broken = self._interrupted
        with self._uninterrupted():
            self.source.drop()
            self._waiting.clear()
            try:
                while self._running and not broken:
                    self._pipeline.outputs()
                    self._running.popleft()
            except RuntimeError:  # the batches it failed on are being dropped anyway
                broken = True
            if broken:  # a batch that is still in DALI would be taken for a later one
                self._pipeline = None  # before releasing the inputs that it reads in place
                self._running.clear()
                self._pipeline = self._build(self._max_clips)

    @contextlib.contextmanager
    def _uninterrupted(self) -> Iterator[None]:
        """Note when an exception, such as Ctrl-C, breaks into the work, so that `drop` rebuilds the pipeline."""
        self._interrupted = True
        try:
            yield
        except UnreadableClips:  # raised where queues and pipeline are consistent
            self._interrupted = False
            raise
        self._interrupted = False

    def close(self) -> None:
        """Stop the threads, release memory and files."""
        self._pipeline = None  # ends DALI's work, before releasing the inputs that it reads in place
        self._waiting.clear()
        self._running.clear()
        self.source.close()

    def _oldest(self) -> Any:
        """The oldest batch, as DALI's output."""
        while True:
            self._advance(wait=True)
            try:
                (clips,) = self._pipeline.outputs()
            except RuntimeError as error:
                self._revive(error)
            else:
                break
        self.source.give_back(self._running.popleft().memory)
        self._advance()
        return clips

    def _advance(self, wait: bool = False) -> None:
        """Give DALI the next batches that are ready; with `wait`, if DALI is idle, wait for one.

        A batch that cannot be read stays in the queue until it is the oldest one and is waited for.
        """
        while self._waiting and len(self._running) < IN_DALI:
            batch = self._waiting[0]
            needed = wait and not self._running
            if not needed and batch.unfinished.count:
                return
            try:
                batch.inputs = self.source.inputs(batch.begun, batch.memory, batch.unfinished)
                if batch.suspect:
                    self._find_culprits(batch)
            except UnreadableClips:
                if needed:
                    raise
                return
            try:
                for name, value in batch.inputs.items():
                    self._pipeline.feed_input(name, value)
                self._pipeline.schedule_run()
            except RuntimeError:
                if not self._running:
                    raise
                return  # it died on an earlier batch: collecting that one will raise the error
            self._running.append(self._waiting.popleft())

    def _revive(self, error: RuntimeError) -> None:
        """DALI's pipeline died on the oldest batch: rebuild it, and submit all running batches again."""
        reason = str(error).strip().splitlines()[0]
        batch = self._running[0]
        if batch.suspect:
            raise EruvError(f"DALI failed twice on one batch, though each of its clips is sound: {reason}") from error
        log.warning("DALI's pipeline died and is being rebuilt (%s)", reason)
        batch.suspect = reason
        self._waiting.extendleft(reversed(self._running))
        self._running.clear()
        self._pipeline = self._build(self._max_clips)

    def _find_culprits(self, batch: Batch) -> None:
        """Run the clips of a batch that DALI died on one at a time, and have the source deal with those that fail.

        One pipeline serves them all; only after a failure is it useless, and another one is built. Further clips of a
        video that failed are not tried: the source has them read in another way.
        """
        lost: dict[int, Unreadable] = {}
        pipeline = None
        for position, begun in enumerate(batch.begun):
            if self.source.outdated(begun):
                continue
            pipeline = pipeline or self._build(max_clips=1)
            inputs = self.source.inputs([begun], batch.memory[position:], batch.unfinished)
            try:
                for name, value in inputs.items():  # which DALI reads in place, until it has delivered
                    pipeline.feed_input(name, value)
                pipeline.run()
            except RuntimeError as error:
                pipeline = None
                reason = str(error).strip().splitlines()[0]
                unreadable = self.source.blame(begun, f"DALI: {reason}")
                if unreadable is not None:
                    lost[position] = unreadable
        if lost:
            raise UnreadableClips(lost)
        batch.inputs = self.source.inputs(batch.begun, batch.memory, batch.unfinished)


def _reader(videos: VideoSet, clip: ClipFormat) -> ClipReader:
    if videos.pack == "none":
        return OriginalsReader(videos, clip)
    assert isinstance(videos, Dataset)
    return PACK_READERS[videos.pack](videos, clip)


_ENGINES: weakref.WeakSet[ClipEngine] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """In a forked child, DALI's threads do not exist, and destroying a pipeline without them crashes the child, at exit
    at the latest. So the child drops its references to the pipelines and never frees them."""
    for engine in _ENGINES:
        pipeline = engine._pipeline
        if getattr(pipeline, "_pipe", None) is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(pipeline._pipe))
            pipeline._pipe = None


os.register_at_fork(after_in_child=_leave_to_parent)


def dtype_name(dtype: str | torch.dtype) -> str:
    """ "float32", "float16" or "bfloat16", from that name or torch's dtype.

    Raises:
        EruvError: any other dtype.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise EruvError(f"dtype {dtype} is not one of {', '.join(DTYPES)}")
    return name
