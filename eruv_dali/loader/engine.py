"""The engine under both loaders: lists of clip requests in, dense batches of clips out, a few batches ahead."""

import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.loader.pipelines import ClipFormat, direct_pipeline, packed_pipeline
from eruv_dali.relations import ClipRequest
from eruv_dali.slices import DALI_CODECS, FrameReader

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class ClipEngine:
    """Reads, decodes and transforms clips of a dataset, `depth` batches ahead of whoever collects them.

    `submit` starts a batch and returns at once; `collect` waits for the oldest one. From a pack the bytes go straight
    from the mapped file into DALI. From original files, threads cut slices for DALI or decode with PyAV, which lets go
    of Python's lock meanwhile.

    Args:
        dataset: where the clips come from.
        clip: what they shall look like.
        max_clips: the largest batch that will be submitted.
        threads: of DALI, and as many more for reading original files.
        depth: batches that DALI works on at a time.
    """

    def __init__(self, dataset: Dataset, clip: ClipFormat, *, max_clips: int, threads: int, depth: int = 2) -> None:
        self.dataset, self.clip, self.depth = dataset, clip, depth
        self._packed = dataset.pack != "none"
        settings = dict(
            batch_size=max_clips * (clip.clip_length if self._packed else 1), num_threads=threads,
            device_id=torch.cuda.current_device() if clip.device == "gpu" else None,
            # A depth above 1 makes DALI's first run wait for as many inputs; the dynamic executor takes any number of
            # runs ahead all the same, so the depth is kept here.
            exec_dynamic=True, prefetch_queue_depth=1,
        )
        if self._packed:
            self._pipeline = packed_pipeline(dataset.pack, clip, **settings)
        else:
            self._sliced = np.array([self._can_slice(video) for video in dataset.videos])
            self._pipeline = direct_pipeline(bool(self._sliced.any()), clip, **settings)
            self._threads = ThreadPoolExecutor(threads, thread_name_prefix="eruv-read")
            self._readers = threading.local()
            self._all_readers: list[FrameReader] = []
        self._waiting: deque[list] = deque()  # submitted, not yet given to DALI
        self._running: deque[list] = deque()  # in DALI, with the arrays that it reads from

    def submit(self, requests: Sequence[ClipRequest]) -> None:
        """Start loading a batch of clips."""
        if self._packed:
            self._waiting.append([requests, None])
        else:
            self._waiting.append([requests, [self._threads.submit(self._read, request) for request in requests]])
        self._advance()

    def collect(self) -> torch.Tensor:
        """The oldest batch: (N, …) with each clip in the memory order of `clip.layout`."""
        self._advance(at_least=1)
        requests, _ = self._running[0]
        (clips,) = self._pipeline.outputs()
        self._running.popleft()
        self._advance()
        tensor = torch.from_dlpack(clips.as_tensor())
        if self.clip.dtype == "bfloat16":
            tensor = tensor.view(torch.bfloat16)  # DALI knows no bfloat16: the bits came as int16
        return tensor.view(len(requests), self.clip.clip_length, *tensor.shape[1:]) if self._packed else tensor

    def drop(self) -> None:
        """Forget everything submitted and not yet collected."""
        for _, futures in self._waiting:
            for future in futures or ():
                future.cancel()
        self._waiting.clear()
        while self._running:
            self._pipeline.outputs()
            self._running.popleft()

    def close(self) -> None:
        """Stop the threads, let go of memory and files."""
        if self._pipeline is None:
            return
        self.drop()
        self._pipeline = None
        if not self._packed:
            self._threads.shutdown()
            for reader in self._all_readers:
                reader.close()

    def _advance(self, at_least: int = 0) -> None:
        """Give DALI the next batches: those that are ready, and in any case until it works on `at_least`."""
        while self._waiting and len(self._running) < self.depth:
            requests, futures = self._waiting[0]
            if futures and len(self._running) >= at_least and not all(future.done() for future in futures):
                return
            self._waiting.popleft()
            inputs = self._packed_inputs(requests) if self._packed else self._direct_inputs(requests, futures)
            for name, value in inputs.items():
                self._pipeline.feed_input(name, value)
            self._pipeline.schedule_run()
            self._running.append([requests, inputs])

    def _packed_inputs(self, requests: Sequence[ClipRequest]) -> dict:
        """One sample a frame: views into the mapped pack."""
        dataset, T = self.dataset, self.clip.clip_length
        data = []
        for request in requests:
            file = dataset.videos[request.video].pack
            records = dataset.frames_of(request.video)[request.frames]
            for offset, size in zip(records["offset"].tolist(), records["size"].tolist(), strict=True):
                data.append(dataset.packed.bytes_at(file, offset, size))
        if dataset.pack == "raw":
            data = [picture.reshape(*self.clip.frame_size, 3) for picture in data]
        return {
            "data": data,
            "crop_pos": np.repeat(np.array([request.crop for request in requests], np.int32), T, axis=0),
            "rotation": np.repeat(np.array([request.rotation for request in requests], np.int32), T),
        }

    def _direct_inputs(self, requests: Sequence[ClipRequest], futures: Sequence[Future]) -> dict:
        read = [future.result() for future in futures]
        inputs = {
            "data": [data for data, _, _, _ in read],
            "shape": np.array([shape for _, shape, _, _ in read], np.int32),
            "index": np.array([index for _, _, _, index in read], np.int32),
            "crop_pos": np.array([request.crop for request in requests], np.int32),
            "rotation": np.array([request.rotation for request in requests], np.int32),
        }
        if self._sliced.any():
            inputs["is_slice"] = np.array([positions is not None for _, _, positions, _ in read])
            inputs["positions"] = [np.zeros(1, np.int32) if p is None else p for _, _, p, _ in read]
        return inputs

    def _read(self, request: ClipRequest) -> tuple:
        """A clip out of its original file: flat bytes, shape, positions in the slice or None, order of showing."""
        if not hasattr(self._readers, "reader"):
            self._readers.reader = FrameReader()
            self._all_readers.append(self._readers.reader)
        reader, path = self._readers.reader, self.dataset.videos[request.video].path
        video_index = self.dataset.index(request.video)
        wanted, order = np.unique(request.frames, return_inverse=True)
        size = self.clip.frame_size
        if self._sliced[request.video]:
            cut = reader.slice(path, video_index, wanted)
            if cut is not None:
                return np.frombuffer(cut[0], np.uint8), (0, 0, 0, 0), cut[1], order
        pictures = reader.read(path, video_index, wanted, *size)
        return pictures.reshape(-1), pictures.shape, None, order

    def _can_slice(self, video) -> bool:
        """DALI decodes this codec here, and shows it as it is (it knows nothing of rotation)."""
        return video.codec in DALI_CODECS[self.clip.device] and video.rotation == 0


def default_threads() -> int:
    """Threads for decoding: the cores this process may use."""
    return len(os.sched_getaffinity(0))


def dtype_name(dtype: str | torch.dtype) -> str:
    """ "float32", "float16" or "bfloat16", from that name or torch's dtype.

    Raises:
        EruvError: any other dtype.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise EruvError(f"dtype {dtype} is not one of {', '.join(DTYPES)}")
    return name
