"""Decode whole videos through DALI: on a GPU by NVDEC, several runs of frames in parallel.

A video is cut at key frames into runs, each a slice (see `video_slice`), because DALI's decoder needs small streams
and an H200 has seven decoding engines to keep busy. PyAV decodes what DALI cannot decode correctly: unknown codecs,
files whose packets do not give the display order, rotated videos, and streams that are damaged in the middle.
"""

import contextlib
import functools
from collections import deque
from collections.abc import Iterator, Sequence

import av
import numpy as np
import nvidia.dali as dali
from nvidia.dali import fn, types

from eruv_dali.video.coding import read_coding
from eruv_dali.video.decoder_choice import capabilities, why_not_dali
from eruv_dali.video.frames import Chunk, VideoFacts, describe
from eruv_dali.video.index import FrameIndex
from eruv_dali.video.open import UnusableVideo, frames_of, open_video, packets_of
from eruv_dali.video.original_pictures import original_pictures
from eruv_dali.video.place import Location, locate
from eruv_dali.video.reader import FrameReader
from eruv_dali.video.video_slice import VideoSlice

# An H100 or H200 has 7 NVDEC engines. DALI decodes a run on one thread, which waits for each picture, and a batch
# of runs takes as long as its longest: so there are more runs than engines, and threads whatever the cores.
RUNS_AT_ONCE = 21
DECODERS = 24  # DALI's threads on a GPU
RUN_BYTES = 256 << 20  # decoded, at the video's own size; a single group of pictures may be larger
BATCH_BYTES = 1 << 30  # of the runs decoded at once, unless a single one is larger; on a GPU a sixteenth of its memory


class NotForDali(Exception):
    """DALI cannot decode (the rest of) this video reliably."""


def decode_with_dali(path: str | Location, sizes: Sequence[tuple[int, int]], *, device: str) -> Iterator[Chunk]:
    """Decode every frame of a video as `decode.decode_pictures` does, by DALI on `device` ("gpu" or "cpu").

    Programs use it on a GPU only: on a CPU, PyAV decodes more codecs, and faster. There it serves the tests, which
    check the cutting into runs without a GPU, on the codecs that DALI decodes there.

    On a GPU the first size's pictures are CuPy arrays, the others' NumPy.

    Raises:
        NotForDali: the frames from here on need another decoder; every chunk yielded before is correct.
    """
    path = locate(path)
    try:
        index, facts = _index_from_packets(path, device)
    except (UnusableVideo, av.error.FFmpegError) as error:
        raise NotForDali(str(error)) from None
    frame_bytes = facts.width * facts.height * 3
    batches = _batches(_cut_runs(index, frame_bytes), frame_bytes, _batch_bytes(device))
    reader = FrameReader()
    running: deque[tuple[list, list[VideoSlice]]] = deque()  # runs in DALI, and their slices, which it reads in place

    def start_next() -> None:
        runs, cuts = next(batches, []), []
        for start, end in runs:
            cut = reader.slice(path, index, np.arange(start, end))
            if cut is None or cut.positions[0] != 0:
                raise NotForDali("its packets do not give the order, the size or the colours of its frames")
            cuts.append(cut)
        if runs:
            running.append((runs, cuts))
            _start(cuts, tuple(sizes), device)

    try:
        start_next()
        while running:
            start_next()  # DALI goes on with these while the caller works on the pictures of those before
            runs, cuts = running[0]
            outputs = _outputs(len(cuts), tuple(sizes), device)
            running.popleft()
            for place, (start, end) in enumerate(runs):
                pictures = [output[place] for output in outputs]
                if len(pictures[0]) < end - start:
                    raise NotForDali(f"frames {start}..{end - 1}: DALI found {len(pictures[0])}")
                nowhere = np.zeros(end - start, np.int64)
                yield Chunk([picture[: end - start] for picture in pictures], index.pts[start:end],
                            index.key[start:end], nowhere, nowhere, facts)
    finally:
        if running:
            _pipeline.cache_clear()  # what it gives next would be taken for another video's
        reader.close()


def _index_from_packets(path: Location, device: str) -> tuple[FrameIndex, VideoFacts]:
    """The order of the frames from the packets alone, without decoding; and the properties of the first frame."""
    container, stream = open_video(path)
    with container:
        facts = describe(stream, next(frames_of(container, stream)))
    if reason := why_not_dali(facts.codec, facts.rotation, read_coding(path), capabilities(device)):
        raise NotForDali(reason)
    container, stream = open_video(path)
    with container:
        packets = [(p.pts, p.is_keyframe, p.is_discard) for p in packets_of(container, stream) if p.size]
    if any(pts is None or discard for pts, _, discard in packets):
        raise NotForDali("packets without time stamps, or hidden by an edit list")
    packets.sort()
    index = FrameIndex(np.array([pts for pts, _, _ in packets]), np.array([key for _, key, _ in packets]))
    if not index.ordered or not index.key[0]:
        raise NotForDali("time stamps that repeat, or no key frame at the start")
    return index, facts


def _cut_runs(index: FrameIndex, frame_bytes: int) -> list[tuple[int, int]]:
    """(start, end) of runs of whole groups of pictures, each as long as RUN_BYTES allows."""
    longest = max(1, RUN_BYTES // frame_bytes)
    bounds = [*index.keys.tolist(), len(index.pts)]
    runs, start = [], 0
    for group, following in zip(bounds, bounds[1:], strict=False):
        if following - start > longest and group > start:
            runs.append((start, group))
            start = group
    return [*runs, (start, len(index.pts))]


def _batches(runs: list[tuple[int, int]], frame_bytes: int, batch_bytes: int) -> Iterator[list[tuple[int, int]]]:
    """The runs that are decoded at once: RUNS_AT_ONCE, or as many as fit into `batch_bytes`, but at least one."""
    batch: list[tuple[int, int]] = []
    for run in runs:
        frames = sum(end - start for start, end in [*batch, run])
        if batch and (len(batch) == RUNS_AT_ONCE or frames * frame_bytes > batch_bytes):
            yield batch
            batch = []
        batch.append(run)
    yield batch


def _batch_bytes(device: str) -> int:
    if device == "cpu":
        return BATCH_BYTES
    import torch

    return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory // 16


def _start(cuts: list[VideoSlice], sizes: tuple, device: str) -> None:
    """Have DALI decode these slices next."""
    pipeline = _pipeline(sizes, device)
    with _dead_after_errors():
        pipeline.feed_input("data", [np.frombuffer(cut.data, np.uint8) for cut in cuts])
        pipeline.feed_input("shown", np.array([cut.shown for cut in cuts]))
        pipeline.feed_input("correction", np.array([cut.correction for cut in cuts]))
        pipeline.schedule_run()


def _outputs(count: int, sizes: tuple, device: str) -> list[list]:
    """For each size, the resized pictures of each of the `count` slices that were started first."""
    with _dead_after_errors():
        outputs = _pipeline(sizes, device).outputs()
    if device == "cpu":
        return [[np.array(output[place]) for place in range(count)] for output in outputs]
    import cupy

    described, *kept = outputs
    # CuPy does not tell DALI when it has done with an array: whoever reads one ends with a copy to the host.
    return [
        [cupy.asarray(described[place]) for place in range(count)],
        *([np.array(output[place]) for place in range(count)] for output in (o.as_cpu() for o in kept)),
    ]


@contextlib.contextmanager
def _dead_after_errors() -> Iterator[None]:
    """A pipeline cannot be used after an error: the next video gets another."""
    try:
        yield
    except (RuntimeError, IndexError) as error:
        _pipeline.cache_clear()
        raise NotForDali(str(error).splitlines()[0]) from None


@functools.cache
def _pipeline(sizes: tuple, device: str) -> dali.Pipeline:
    device_id = None
    if device == "gpu":
        import torch

        device_id = torch.cuda.current_device()

    @dali.pipeline_def(batch_size=RUNS_AT_ONCE, num_threads=DECODERS if device == "gpu" else 2, device_id=device_id,
                       exec_dynamic=True, prefetch_queue_depth=1)
    def pipeline():
        data = fn.external_source(name="data", no_copy=True, ndim=1, dtype=types.UINT8)
        shown = fn.external_source(name="shown", ndim=1, dtype=types.INT32)
        correction = fn.external_source(name="correction", ndim=2, dtype=types.FLOAT)
        frames = fn.decoders.video(data, device="mixed" if device == "gpu" else "cpu")
        return original_pictures(frames, shown, correction, *sizes)

    built = pipeline()
    built.build()
    return built
