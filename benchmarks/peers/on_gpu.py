"""Peers that decode on a GPU by NVDEC. Written after their documentation; they have not been run on a GPU yet.

    torchcodec-cuda   VideoDecoder(device="cuda"), one thread: a decoder is not made for several
    spdl-nvdec        decode_packets_nvdec, on four threads
    pynvvideocodec    SimpleDecoder, one thread, for the same reason
    dali-reader       fn.experimental.readers.video, told the wanted frames by a file list; made anew for each run,
                      before the clock starts. On a CPU it reads VP8, VP9 and MJPEG alone.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from race.clips import BATCH, CROP, FRAME_SIZE, T

from eruv_dali.device import cores, gpu_problem
from eruv_dali.errors import EruvError
from eruv_dali.loader.requests import ClipRequest
from peers.files import Files, PeerClip
from peers.spdl_video import wider

OPEN_FILES = 16  # an open file holds a decoder, which holds GPU memory

GpuDecode = Callable[[PeerClip], torch.Tensor]  # to (16, H, W, 3) uint8 on the GPU


class GpuPeer:
    """Decodes on threads and batches in order; `batches` gives (16, 16, 112, 112, 3) float32 on the GPU."""

    def __init__(self, make: Callable[[], GpuDecode], threads: int, files: Files, device: str) -> None:
        if problem := gpu_problem():
            raise EruvError(problem)
        self.files, self._decode, self._ahead = files, make(), 2 * BATCH
        self._pool = ThreadPoolExecutor(threads)

    def batches(self, requests: list[ClipRequest]) -> Iterator[torch.Tensor]:
        return self._run(iter([self.files.clip(request) for request in requests]))

    def _run(self, todo: Iterator[PeerClip]) -> Iterator[torch.Tensor]:
        running = [self._pool.submit(self._clip, clip) for clip in itertools.islice(todo, self._ahead)]
        while running:
            batch = torch.stack([clip.result() for clip in running[:BATCH]])
            running = running[BATCH:] + [self._pool.submit(self._clip, clip) for clip in itertools.islice(todo, BATCH)]
            yield batch

    def close(self) -> None:
        self._pool.shutdown()

    def _clip(self, clip: PeerClip) -> torch.Tensor:
        frames, (top, left) = self._decode(clip), clip.crop
        pictures = frames.permute(0, 3, 1, 2).float()
        if self.files.form == "originals":
            pictures = torch.nn.functional.interpolate(pictures, FRAME_SIZE, mode="bilinear", antialias=True)
        pictures = pictures[..., top : top + CROP, left : left + CROP].permute(0, 2, 3, 1).div(255).contiguous()
        torch.cuda.current_stream().synchronize()  # it may be used on another thread's stream
        return pictures


def torchcodec_cuda() -> GpuDecode:
    from torchcodec.decoders import VideoDecoder

    @lru_cache(OPEN_FILES)
    def opened(path: str):
        return VideoDecoder(path, device="cuda", seek_mode="approximate", dimension_order="NHWC")

    return lambda clip: opened(clip.path).get_frames_in_range(int(clip.frames[0]), int(clip.frames[-1]) + 1).data


def spdl_nvdec() -> GpuDecode:
    import spdl.io

    device = spdl.io.cuda_config(device_index=torch.cuda.current_device(), allocator=(
        torch.cuda.caching_allocator_alloc, torch.cuda.caching_allocator_delete))

    def decode(clip: PeerClip) -> torch.Tensor:
        packets = spdl.io.demux_video(clip.path, timestamp=wider(clip))
        times = sorted(packets.get_timestamps(raw=True))
        frames = spdl.io.to_torch(spdl.io.decode_packets_nvdec(packets, device_config=device))
        first = next(n for n, time in enumerate(times) if time >= float(clip.window[0]) - 1e-4)
        frames = frames[first : first + T] if len(frames) == len(times) else frames[:T]  # all from the key frame on
        return frames.permute(0, 2, 3, 1)

    return decode


def pynvvideocodec() -> GpuDecode:
    import PyNvVideoCodec as nvc

    @lru_cache(OPEN_FILES)
    def opened(path: str):
        return nvc.SimpleDecoder(path, gpu_id=torch.cuda.current_device(), use_device_memory=True,
                                 output_color_type=nvc.OutputColorType.RGB)

    def decode(clip: PeerClip) -> torch.Tensor:
        frames = opened(clip.path).get_batch_frames_by_index(clip.frames.tolist())
        return torch.stack([torch.from_dlpack(frame) for frame in frames])

    return decode


class DaliReaderPeer:
    """DALI's reader; `batches` gives (16, 16, 112, 112, 3) float32."""

    def __init__(self, files: Files, device: str) -> None:
        if problem := gpu_problem():
            raise EruvError(problem)
        self.files, self.device = files, device

    def batches(self, requests: list[ClipRequest]) -> Iterator[torch.Tensor]:
        clips = [self.files.clip(request) for request in requests]
        with tempfile.TemporaryDirectory() as folder:
            listed = Path(folder) / "clips.txt"
            listed.write_text("".join(f"{clip.path} 0 {clip.frames[0]} {clip.frames[-1] + 1}\n" for clip in clips))
            pipeline = self._pipeline(str(listed), [clip.crop for clip in clips])
        return self._run(pipeline, len(clips))

    def close(self) -> None:
        """A pipeline ends with its run."""

    def _pipeline(self, listed: str, crops: list[tuple[int, int]]):
        import nvidia.dali as dali
        from nvidia.dali import fn, types

        @dali.pipeline_def(batch_size=BATCH, num_threads=cores(), exec_dynamic=True, prefetch_queue_depth=2,
                           device_id=torch.cuda.current_device() if self.device == "gpu" else None)
        def pipeline():
            frames, _ = fn.experimental.readers.video(
                device=self.device, file_list=listed, file_list_format="frames", file_list_include_end=False,
                sequence_length=T, name="reader", prefetch_queue_depth=2)
            if self.files.form == "originals":
                frames = fn.resize(frames, size=FRAME_SIZE, interp_type=types.INTERP_LINEAR, antialias=True)
            corner = fn.external_source(source=lambda sample: np.array(crops[sample.idx_in_epoch % len(crops)],
                                                                       np.int32), batch=False, ndim=1)
            cropped = fn.slice(frames, corner, (CROP, CROP), axes=(1, 2))
            return fn.cast(cropped, dtype=types.FLOAT) / np.float32(255)

        built = pipeline()
        built.build()
        return built

    @staticmethod
    def _run(pipeline, count: int) -> Iterator[torch.Tensor]:
        for first in range(0, count, BATCH):
            (batch,) = pipeline.run()
            yield torch.from_dlpack(batch.as_tensor())[: count - first]
