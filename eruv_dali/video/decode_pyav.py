"""Decode whole videos with PyAV: any codec, on the CPU."""

from collections.abc import Iterator, Sequence

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from eruv_dali.video.frames import Chunk, describe, rgb_picture
from eruv_dali.video.mp4 import is_mp4
from eruv_dali.video.open import NO_PTS, DamagedVideo, UnusableVideo, libav_words, open_video, packets_of
from eruv_dali.video.place import Location

CHUNK = 128  # frames yielded at a time


def decode_with_pyav(path: str | Location, sizes: Sequence[tuple[int, int]], threads: int) -> Iterator[Chunk]:
    """Decode every frame of a video as `decode.decode_pictures` does; raises the same exceptions."""
    container, stream = open_video(path, threads=threads)
    count, damage, facts = 0, None, None
    with container:
        places: dict[int, tuple[int, int]] = {}
        frames = _decode(container, stream, places)
        scalers = [VideoReformatter() for _ in sizes]  # each reuses its scaler from frame to frame
        while damage is None:
            pictures = [_empty(size, planes=number == 0) for number, size in enumerate(sizes)]
            pts: list[int] = []
            key: list[bool] = []
            place: list[tuple[int, int]] = []
            try:
                for frame in frames:
                    facts = facts or describe(stream, frame)
                    for column, size, scaler in zip(pictures, sizes, scalers, strict=True):
                        rgb_picture(frame, *size, scaler, column[len(pts)])
                    pts.append(NO_PTS if frame.pts is None else frame.pts)
                    key.append(frame.key_frame)
                    place.append(places.pop(pts[-1], (0, 0)))
                    if len(pts) == CHUNK:
                        break
            except av.error.FFmpegError as error:
                damage = libav_words(error)
            if not pts or facts is None:
                break
            count += len(pts)
            offset, size = np.array(place, np.int64).T
            yield Chunk([column[: len(pts)] for column in pictures], np.array(pts), np.array(key), offset, size, facts)
    if damage and not count:
        raise UnusableVideo(f"no frame could be decoded ({damage})")
    if damage:
        raise DamagedVideo(f"damaged after frame {count - 1} ({damage})")
    if not count:
        raise UnusableVideo("no frame in its video stream")


def _decode(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, places: dict[int, tuple[int, int]]
) -> Iterator[av.VideoFrame]:
    """The frames of a video, as `container.decode` gives them.

    In `places` goes where the packets of an MP4 or MOV file lie in it, (offset, size) by time stamp; (0, 0) if several
    waiting packets have the same.
    """
    placed = is_mp4(container)
    for packet in packets_of(container, stream):
        if placed and packet.size and packet.pos is not None and packet.pts is not None:
            places[packet.pts] = (0, 0) if packet.pts in places else (packet.pos, packet.size)
        yield from packet.decode()


def _empty(size: tuple[int, int], *, planes: bool) -> np.ndarray:
    """(CHUNK, height, width, 3) uint8 for pictures, in memory in planes or interleaved."""
    height, width = size
    if planes:
        return np.empty((CHUNK, 3, height, width), np.uint8).transpose(0, 2, 3, 1)
    return np.empty((CHUNK, height, width, 3), np.uint8)
