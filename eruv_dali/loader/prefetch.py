"""The engine under both loaders: lists of clip requests in, dense batches of clips out, some batches ahead."""

import contextlib
import ctypes
import logging
import os
import time
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import nvidia.dali as dali
import torch

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.indexed import IndexedVideos
from eruv_dali.errors import EruvError
from eruv_dali.loader.bad_clips import UnreadableClips
from eruv_dali.loader.file_source import FileSource
from eruv_dali.loader.pack_source import PackSource
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.loader.requests import ClipRequest

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

IN_DALI = 2  # batches that DALI works on at a time
# Clips asked for ahead from original files, so that those of one group of pictures meet. A waiting clip takes 1 MB.
CLIPS_AHEAD = 128


@dataclass(eq=False)
class Batch:
    """Clips on their way: asked of the source, and with what DALI was fed, which it reads in place."""

    requests: list[ClipRequest]
    begun: list[Any]
    inputs: dict | None = None
    suspect: str = field(default="", kw_only=True)  # what DALI said when it died over this batch


class ClipEngine:
    """Reads, decodes and transforms clips, ahead of whoever collects them.

    `submit` starts a batch and returns at once; `collect` waits for the oldest one. From a pack the bytes go straight
    from the mapped file into DALI. From original files, threads cut slices for DALI or decode with PyAV, which lets go
    of Python's lock meanwhile. If DALI's pipeline dies, it is built anew, and what it had to do is given to it again.

    Args:
        videos: where the clips come from, a dataset or videos indexed for the occasion.
        clip: what they shall look like.
        max_clips: the largest batch that will be submitted.
        threads: of DALI, and as many more for reading original files.

    Attributes:
        ahead: batches worth submitting before the first one is collected.
        waited: seconds spent in `collect` so far.
    """

    def __init__(self, videos: Dataset | IndexedVideos, clip: ClipFormat, *, max_clips: int, threads: int) -> None:
        _ENGINES.add(self)
        self.clip, self._max_clips = clip, max_clips
        packed = videos if isinstance(videos, Dataset) and videos.pack != "none" else None
        self.ahead = 2 * IN_DALI if packed is not None else max(2 * IN_DALI, CLIPS_AHEAD // max_clips)
        self.waited = 0.0
        # A depth above 1 makes DALI's first run wait for as many inputs; the dynamic executor takes any number of runs
        # ahead all the same, so the depth is kept here.
        self._settings = dict(num_threads=threads, exec_dynamic=True, prefetch_queue_depth=1,
                              device_id=clip.device_id)
        self.source = PackSource(packed, clip) if packed is not None else FileSource(videos, clip, threads)
        self._pipeline = self._build(max_clips)
        self._waiting: deque[Batch] = deque()  # submitted, not yet given to DALI
        self._running: deque[Batch] = deque()  # in DALI
        self._interrupted = False  # in the middle of its work: queues and pipeline may not fit together

    def _build(self, max_clips: int) -> dali.Pipeline:
        return self.source.pipeline(max_clips, **self._settings)

    @property
    def queued(self) -> int:
        """Batches submitted and not yet collected."""
        return len(self._waiting) + len(self._running)

    def submit(self, requests: Sequence[ClipRequest]) -> None:
        """Start loading a batch of clips."""
        with self._uninterrupted():
            self._waiting.append(Batch(list(requests), [self.source.begin(request) for request in requests]))
            self._advance()

    def collect(self) -> torch.Tensor:
        """The oldest batch: (N, …) with each clip in the memory order of `clip.layout`.

        Raises:
            UnreadableClips: clips of that batch that cannot be had. `replace` them and collect again.
            EruvError: DALI fails over and over.
        """
        started = time.perf_counter()
        try:
            with self._uninterrupted():
                clips = self._oldest()
        finally:
            self.waited += time.perf_counter() - started
        tensor = torch.from_dlpack(clips.as_tensor())
        if self.clip.dtype == "bfloat16":
            tensor = tensor.view(torch.bfloat16)  # DALI knows no bfloat16: the bits came as int16
        # A JPEG pack comes frame by frame.
        return tensor if tensor.dim() == 5 else tensor.unflatten(0, (-1, self.clip.clip_length))

    def replace(self, position: int, request: ClipRequest) -> None:
        """Put another clip in the place of an unreadable one of the oldest batch."""
        batch = self._waiting[0]
        batch.requests[position], batch.begun[position] = request, self.source.begin(request)

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
            except RuntimeError:  # what it died of is forgotten with the rest
                broken = True
            if broken:  # a batch that is still in DALI would come out under another's name
                self._pipeline = None  # before what it reads in place is let go
                self._running.clear()
                self._pipeline = self._build(self._max_clips)

    @contextlib.contextmanager
    def _uninterrupted(self) -> Iterator[None]:
        """Note when an exception, such as Ctrl-C, breaks into the work, so that `drop` trusts nothing that is left."""
        self._interrupted = True
        try:
            yield
        except UnreadableClips:  # raised where all fits together
            self._interrupted = False
            raise
        self._interrupted = False

    def close(self) -> None:
        """Stop the threads, let go of memory and files."""
        self._pipeline = None  # ends what DALI was at, before what it reads in place is let go
        self._waiting.clear()
        self._running.clear()
        self.source.close()

    def _oldest(self) -> Any:
        """The oldest batch as DALI gives it."""
        while True:
            self._advance(wait=True)
            try:
                (clips,) = self._pipeline.outputs()
            except RuntimeError as error:
                self._revive(error)
            else:
                break
        self._running.popleft()
        self._advance()
        return clips

    def _advance(self, wait: bool = False) -> None:
        """Give DALI the next batches that are ready, and if it is idle wait for one.

        A batch that cannot be read stays where it is until it is its turn to be waited for.
        """
        while self._waiting and len(self._running) < IN_DALI:
            batch = self._waiting[0]
            needed = wait and not self._running
            if not needed and not all(map(self.source.ready, batch.begun)):
                return
            try:
                batch.inputs = self.source.inputs(batch.begun)
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
                return  # it died over an earlier batch: whoever collects that one will see
            self._running.append(self._waiting.popleft())

    def _revive(self, error: RuntimeError) -> None:
        """DALI's pipeline died over the oldest batch: build another, and give it everything again."""
        reason = str(error).strip().splitlines()[0]
        batch = self._running[0]
        if batch.suspect:
            raise EruvError(f"DALI failed twice over one batch, though each of its clips is sound: {reason}") from error
        log.warning("DALI's pipeline died and is built anew (%s)", reason)
        batch.suspect = reason
        self._waiting.extendleft(reversed(self._running))
        self._running.clear()
        self._pipeline = self._build(self._max_clips)

    def _find_culprits(self, batch: Batch) -> None:
        """Run the clips of a batch that DALI died over one at a time; another way is found for those that fail."""
        lost = {}
        for position, request in enumerate(batch.requests):
            pipeline = self._build(max_clips=1)
            try:
                for name, value in self.source.inputs([batch.begun[position]]).items():
                    pipeline.feed_input(name, value)
                pipeline.run()
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[0]
                unreadable = self.source.blame(batch.begun[position], f"DALI: {reason}")
                if unreadable is None:
                    batch.begun[position] = self.source.begin(request)
                else:
                    lost[position] = unreadable
        if lost:
            raise UnreadableClips(lost)
        batch.inputs = self.source.inputs(batch.begun)


_ENGINES: weakref.WeakSet[ClipEngine] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """In a forked child: DALI's threads are the parent's, and taking a pipeline down without them crashes the child, at
    its end at the latest. So the child forgets the pipelines and never frees them."""
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
