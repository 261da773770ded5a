"""Where our time goes: milliseconds per clip in each stage, and of Python on the thread that trains.

Stages are measured on one thread, one at a time. Python on the training thread is that thread's processor time
(time.thread_time, so no waiting) inside `submit` and `collect` of the engine, and inside `next` of a RelationLoader,
which draws the samples and writes their infos too.
"""

import time

import numpy as np
import torch

from eruv_dali import RelationLoader
from eruv_dali.dataset import Dataset
from eruv_dali.device import cores
from eruv_dali.loader.clip_reader import ClipReader
from eruv_dali.loader.pipelines import ClipFormat, frames_pipeline, jpeg_pipeline
from eruv_dali.loader.prefetch import PACK_READERS, ClipEngine
from eruv_dali.loader.read_originals import OriginalsReader
from eruv_dali.loader.requests import ClipRequest
from race.clips import BATCH, CROP, T, clip_format, clip_requests
from race.groups import our_name


def profile(datasets: list[Dataset], videos: list[int], count: int, device: str) -> list[dict]:
    """A row for each dataset, `count` clips each."""
    requests = clip_requests(datasets[0], videos, count, 0, "random")
    pixels = np.full((12 * BATCH, T, *clip_format(device).frame_size, 3), 128, np.uint8)
    transform, hand_over = _run_pipeline("raw", pixels, np.zeros((len(pixels), 2), np.int32), device)
    rows = []
    for dataset in datasets:
        reader = _reader(dataset, clip_format(device))
        places = np.zeros((count, *reader.place), np.uint8)
        row = {"source": our_name(dataset.pack).removeprefix("ours, "), **_read(reader, dataset.pack, requests, places)}
        crops = np.array([reader.crop_left(request) for request in requests], np.int32)
        reader.close()
        if dataset.pack == "jpeg":  # DALI decodes: what it takes longer than with pixels
            inside, _ = _run_pipeline(dataset.pack, places, crops, device)
            row["decode"] = max(0.0, inside - transform)
        rows.append({**row, "transform": transform, "hand_over": hand_over,
                     "python_engine": _python_of_engine(dataset, requests, device),
                     "python_loader": _python_of_loader(dataset, count, device)})
    return rows


def _read(reader: ClipReader, pack: str, requests: list[ClipRequest], places: np.ndarray) -> dict[str, float]:
    """Milliseconds a clip of what a reading thread does, clip by clip; decoding a video pack includes reading it."""
    started = time.perf_counter()
    for request, place in zip(requests, places, strict=True):
        reader.read([request], [place])
    whole = time.perf_counter() - started
    own = dict.fromkeys(("read", "demux", "decode"), 0.0)
    seconds = reader.seconds if pack == "none" else {"decode" if pack == "video" else "read": whole}
    return {stage: 1000 * spent / len(requests) for stage, spent in {**own, **seconds}.items()}


def _python_of_engine(dataset: Dataset, requests: list[ClipRequest], device: str) -> float:
    engine = ClipEngine(dataset, clip_format(device), max_clips=BATCH, threads=cores())
    spent = 0.0
    for _ in range(2):  # the first opens, maps and allocates
        begun = time.thread_time()
        for first in range(0, len(requests), BATCH):
            engine.submit(requests[first : first + BATCH])
            if engine.queued > engine.ahead:
                engine.collect()
        while engine.queued:
            engine.collect()
        spent = time.thread_time() - begun
    engine.close()
    return 1000 * spent / len(requests)


def _python_of_loader(dataset: Dataset, count: int, device: str) -> float:
    with RelationLoader(dataset, batch_size=BATCH // 2, crop=CROP, device=device, pairs_per_epoch=count // 2) as loader:
        spent = 0.0
        for _ in range(2):
            batches, spent = iter(loader), 0.0
            for _ in range(len(loader)):
                begun = time.thread_time()
                batch = next(batches)
                spent += time.thread_time() - begun
                del batch
    return 1000 * spent / (2 * (count // 2))


def _run_pipeline(pack: str, places: np.ndarray, crops: np.ndarray, device: str) -> tuple[float, float]:
    """Milliseconds per clip inside DALI, with one thread, and from its output to a PyTorch tensor."""
    settings = dict(num_threads=1, device_id=torch.cuda.current_device() if device == "gpu" else None,
                    exec_dynamic=True, prefetch_queue_depth=1)
    step = 1
    if pack == "jpeg":  # a sample is a frame
        step, places, crops = T, places.reshape(-1, places.shape[2]), np.repeat(crops, T, axis=0)
        pipeline = jpeg_pipeline(clip_format(device), batch_size=BATCH * T, **settings)
    else:
        pipeline = frames_pipeline(clip_format(device), batch_size=BATCH, **settings)
    inside, after, clips = 0.0, 0.0, 0
    for first in range(0, len(places) - BATCH * step + 1, BATCH * step):
        part = slice(first, first + BATCH * step)
        started = time.perf_counter()
        pipeline.feed_input("data", places[part])
        pipeline.feed_input("crop_pos", crops[part])
        pipeline.feed_input("rotation", np.zeros(BATCH * step, np.int32))
        pipeline.schedule_run()
        (out,) = pipeline.outputs()
        if device == "gpu":
            torch.cuda.synchronize()
        done = time.perf_counter()
        tensor = torch.from_dlpack(out.as_tensor())
        after += time.perf_counter() - done
        if first >= 2 * BATCH * step:  # the first runs allocate the buffers
            inside, clips = inside + done - started, clips + BATCH
        del tensor
    return 1000 * inside / clips, 1000 * after / (clips + 2 * BATCH)


def _reader(dataset: Dataset, clip: ClipFormat) -> ClipReader:
    return OriginalsReader(dataset, clip) if dataset.pack == "none" else PACK_READERS[dataset.pack](dataset, clip)
