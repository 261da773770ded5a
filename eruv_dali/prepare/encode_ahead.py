"""Encode ahead: frames are encoded for the pack on threads while the next ones are decoded and described.

The encoders, libjpeg's in PIL and x264 in PyAV, let go of Python's lock while they work.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from eruv_dali.dataset.pack import PackWriter

CHUNKS_WAITING = 2  # at most: their pictures stay in memory
PICTURES_A_JOB = 16


class EncodeAhead:
    """Appends frames to the video that a PackWriter has begun, the same bytes in the same order as `PackWriter.add`.

    As a context manager it ends its threads, and leaves unwritten what was not finished.

    Args:
        writer: the pack.
        threads: that may work at a time. With one, frames are encoded at once, by the caller: where as many processes
            as cores prepare videos, nothing is gained by more.
    """

    def __init__(self, writer: PackWriter, threads: int) -> None:
        self._writer = writer
        # The frames of a video pack refer to those before them: one thread, one after another.
        self._pool = ThreadPoolExecutor(threads if writer.independent else 1) if threads > 1 else None
        self._waiting: deque[list[Future]] = deque()  # the jobs of each chunk
        self._written: list[tuple[int, int]] = []

    def __enter__(self) -> "EncodeAhead":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def add(self, pictures: Sequence[np.ndarray]) -> None:
        """Append these frames, each (H, W, 3) uint8, which must not be changed any more."""
        if self._pool is None:
            self._written += map(self._writer.add, pictures)
            return
        self._waiting.append([self._pool.submit(self._encode, pictures[first : first + PICTURES_A_JOB])
                              for first in range(0, len(pictures), PICTURES_A_JOB)])
        while len(self._waiting) > CHUNKS_WAITING:
            self._write_oldest()

    def finish(self) -> list[tuple[int, int]]:
        """Write what still waits; the size in bytes and the CRC-32 of each frame appended."""
        while self._waiting:
            self._write_oldest()
        return self._written

    def _encode(self, pictures: Sequence[np.ndarray]) -> list[bytes]:
        return [self._writer.encode(picture) for picture in pictures]

    def _write_oldest(self) -> None:
        for job in self._waiting.popleft():
            self._written += map(self._writer.append, job.result())
