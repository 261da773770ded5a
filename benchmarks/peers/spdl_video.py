"""SPDL: its own pipeline of threads, which demux a time window and decode it, scale and crop in FFmpeg's filters.

As many threads decode as there are cores; another two demux and put batches together. Of the originals more packets are
demuxed than the window needs: SPDL stops at the first packet beyond it, where B-pictures of the window may follow.
Frames outside the window are dropped before they are scaled, which makes SPDL a third faster.
"""

import threading
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from race.clips import BATCH, CROP

from eruv_dali.device import cores
from eruv_dali.loader.requests import ClipRequest
from peers.files import Files, PeerClip
from peers.video import HEIGHT, WIDTH, Decode

OPEN_FILES = 64  # that the demuxing thread keeps open
BEYOND = 8  # frames demuxed beyond the window; with 4, some clips of real videos lacked a frame


def frame_step(clip: PeerClip) -> Fraction:
    """Seconds from one frame to the next, on average."""
    return (clip.window[1] - clip.window[0]) / (len(clip.frames) - Fraction(1, 2))


def wider(clip: PeerClip) -> tuple[Fraction, Fraction]:
    """The clip's window, and BEYOND frames more."""
    return clip.window[0], clip.window[1] + BEYOND * frame_step(clip)


class SpdlPeer:
    """`batches` gives (16, 16, 112, 112, 3) float32."""

    def __init__(self, resize: bool, files: Files, device: str) -> None:
        import spdl.io

        self.files, self.device, self._resize = files, device, resize
        self._own = threading.local()
        self._io = spdl.io

    def batches(self, requests: list[ClipRequest]) -> Iterator[torch.Tensor]:
        return self._run([self.files.clip(request) for request in requests])

    def _run(self, clips: list[PeerClip]) -> Iterator[torch.Tensor]:
        from spdl.pipeline import PipelineBuilder

        pipeline = (
            PipelineBuilder()
            .add_source(clips)
            .pipe(self._demux, concurrency=1, output_order="input")
            .pipe(self._decode, concurrency=cores(), output_order="input")
            .aggregate(BATCH)
            .pipe(self._batch, concurrency=1, output_order="input")
            .add_sink(2)
            .build(num_threads=cores() + 2, max_failures=0)
        )
        with pipeline.auto_stop():
            yield from pipeline

    def close(self) -> None:
        """Files are closed with the threads that hold them."""

    def _demux(self, clip: PeerClip) -> tuple:
        if not hasattr(self._own, "opened"):
            self._own.opened = lru_cache(OPEN_FILES)(self._io.Demuxer)
        window = wider(clip) if self._resize else clip.window
        return self._own.opened(clip.path).demux_video(window=window), clip

    def _decode(self, demuxed: tuple):
        packets, clip = demuxed
        top, left = clip.crop
        (begin, end), step = clip.window, frame_step(clip)
        trim = f"trim=start={float(begin - step / 2)}:end={float(end)},"
        scale = f"scale={WIDTH}:{HEIGHT}:flags=bilinear," if self._resize else ""
        frames = self._io.decode_packets(
            packets, filter_desc=f"{trim}{scale}format=rgb24,crop={CROP}:{CROP}:{left}:{top}")
        if len(frames) != len(clip.frames):
            raise RuntimeError(f"{clip.path}: {len(frames)} of {len(clip.frames)} frames came")
        return frames

    def _batch(self, clips: list) -> torch.Tensor:
        batch = self._io.to_torch(self._io.convert_frames(clips))
        return (batch.to("cuda") if self.device == "gpu" else batch).float().div_(255)


def spdl_decoder(resize: bool) -> Decode:
    """One clip by the same calls, as the other peers' decoders give it; used to find videos that SPDL cannot read."""
    peer = SpdlPeer(resize, None, "cpu")

    def decode(clip: PeerClip) -> np.ndarray:
        return peer._io.to_numpy(peer._io.convert_frames(peer._decode(peer._demux(clip))))

    return decode
