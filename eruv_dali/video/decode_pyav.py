"""Decode whole videos with PyAV: any codec, on the CPU."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from eruv_dali.video.frames import Chunk, describe, rgb_picture
from eruv_dali.video.open import NO_PTS, DamagedVideo, UnusableVideo, libav_words, open_video

CHUNK = 128  # frames yielded at a time


def decode_with_pyav(path: str | Path, sizes: Sequence[tuple[int, int]], threads: int) -> Iterator[Chunk]:
    """Decode every frame of a video as `decode.decode_pictures` does; raises the same exceptions."""
    container, stream = open_video(path, threads=threads)
    count, damage, facts = 0, None, None
    with container:
        frames = container.decode(stream)
        scalers = [VideoReformatter() for _ in sizes]  # each reuses its scaler from frame to frame
        while damage is None:
            pictures: list[list[np.ndarray]] = [[] for _ in sizes]
            pts, key = [], []
            try:
                for frame in frames:
                    facts = facts or describe(stream, frame)
                    for column, (height, width), scaler in zip(pictures, sizes, scalers, strict=True):
                        column.append(rgb_picture(frame, height, width, scaler))
                    pts.append(NO_PTS if frame.pts is None else frame.pts)
                    key.append(frame.key_frame)
                    if len(pts) == CHUNK:
                        break
            except av.error.FFmpegError as error:
                damage = libav_words(error)
            if not pts or facts is None:
                break
            count += len(pts)
            yield Chunk([np.stack(column) for column in pictures], np.array(pts), np.array(key), facts)
    if damage and not count:
        raise UnusableVideo(f"no frame could be decoded ({damage})")
    if damage:
        raise DamagedVideo(f"damaged after frame {count - 1} ({damage})")
    if not count:
        raise UnusableVideo("no frame in its video stream")
