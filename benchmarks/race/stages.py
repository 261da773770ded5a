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
from eruv_dali.loader.pipelines import jpeg_pipeline, raw_pipeline
from eruv_dali.loader.prefetch import ClipEngine
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.video.reader import FrameReader
from race.clips import BATCH, CROP, FRAME_SIZE, T, clip_format, clip_requests
from race.groups import our_name


def profile(datasets: list[Dataset], videos: list[int], count: int, device: str) -> list[dict]:
    """A row for each dataset, `count` clips each."""
    clip = clip_format(device)
    settings = dict(num_threads=1, device_id=torch.cuda.current_device() if device == "gpu" else None,
                    exec_dynamic=True, prefetch_queue_depth=1)
    requests = clip_requests(datasets[0], videos, count, 0, "random")
    crops = np.array([request.crop for request in requests], np.int32)
    reader, pictures = FrameReader(), []
    for request in requests:
        pictures.append(reader.read(datasets[0].videos[request.video].path, datasets[0].index(request.video),
                                    request.frames, *FRAME_SIZE))
    reader.close()
    whole = np.tile(np.arange(T, dtype=np.int32), (count, 1))
    raw = raw_pipeline(clip, batch_size=BATCH, **settings)
    transform, hand_over = _run_pipeline(raw, pictures, crops, device, index=whole)
    rows = []
    for dataset in datasets:
        row = {"source": our_name(dataset.pack).removeprefix("ours, "), "read": 0.0, "demux": 0.0, "decode": 0.0,
               "transform": transform, "hand_over": hand_over}
        if dataset.pack == "none":
            row |= {stage: 1000 * seconds / count for stage, seconds in reader.seconds.items()}
        elif dataset.pack in ("jpeg", "raw"):
            row["read"], data = _read(dataset, requests)
            if dataset.pack == "jpeg":
                jpeg = jpeg_pipeline(clip, batch_size=BATCH * T, **settings)
                both, _ = _run_pipeline(jpeg, data, np.repeat(crops, T, axis=0), device)
                row["decode"] = max(0.0, both - transform)
        else:
            row |= _source_seconds(dataset, requests, device)
        row["python_engine"] = _python_of_engine(dataset, requests, device)
        row["python_loader"] = _python_of_loader(dataset, count, device)
        rows.append(row)
    return rows


def _read(dataset: Dataset, requests: list[ClipRequest]) -> tuple[float, list[np.ndarray]]:
    """Milliseconds to find a clip's frames in the pack and fetch their bytes; the bytes of each frame."""
    started, data = time.perf_counter(), []
    for request in requests:
        records = dataset.frames_of(request.video)[request.frames]
        for _, offset, size, *_ in records.tolist():
            data.append(dataset.packed.bytes_at(dataset.videos[request.video].pack_file, offset, size))
            data[-1][::4096].sum()  # touch each page, so that it is read from the disk
    return 1000 * (time.perf_counter() - started) / len(requests), data


def _source_seconds(dataset: Dataset, requests: list[ClipRequest], device: str) -> dict[str, float]:
    """What the source itself says of its stages, with one thread."""
    engine = ClipEngine(dataset, clip_format(device), max_clips=BATCH, threads=1)
    for first in range(0, len(requests), BATCH):
        engine.submit(requests[first : first + BATCH])
        engine.collect()
    seconds = dict(engine.source.seconds)
    engine.close()
    return {stage: 1000 * seconds.get(stage, 0.0) / len(requests) for stage in ("read", "demux", "decode")}


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


def _run_pipeline(pipeline, data: list, crops: np.ndarray, device: str, **more: np.ndarray) -> tuple[float, float]:
    """Milliseconds per clip inside DALI, and from its output to a PyTorch tensor."""
    step = BATCH if data[0].ndim == 4 else BATCH * T  # a sample is a clip's frames, or one JPEG
    inside, after, clips = 0.0, 0.0, 0
    for first in range(0, len(data) - step + 1, step):
        part = slice(first, first + step)
        started = time.perf_counter()
        pipeline.feed_input("data", data[part])
        pipeline.feed_input("crop_pos", crops[part])
        pipeline.feed_input("rotation", np.zeros(step, np.int32))
        for name, value in more.items():
            pipeline.feed_input(name, value[part])
        pipeline.schedule_run()
        (out,) = pipeline.outputs()
        if device == "gpu":
            torch.cuda.synchronize()
        done = time.perf_counter()
        tensor = torch.from_dlpack(out.as_tensor())
        after += time.perf_counter() - done
        if first:  # the first run allocates the buffers
            inside, clips = inside + done - started, clips + BATCH
        del tensor
    return 1000 * inside / clips, 1000 * after / (clips + BATCH)
