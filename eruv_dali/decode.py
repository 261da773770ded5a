"""Decode: every frame of a video, once, in display order, as RGB pictures of the sizes asked for.

Frame n of a video is the n-th picture shown, counting from 0, whatever the time stamps say; every other module counts
the same way. Pictures stand upright: a rotation that the file asks players for (phone videos) is applied.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from eruv_dali.videos import NO_PTS, DamagedVideo, UnusableVideo, libav_words, open_video

log = logging.getLogger("eruv_dali")

CHUNK = 128  # frames handed over at a time

# swscale's bilinear filter widens with the reduction, so it averages (anti-aliases) when it makes pictures smaller: the
# same meaning as DALI's INTERP_LINEAR with antialias and PyTorch's bilinear with antialias=True. Without the other two
# flags some widths take a short cut that darkens every pixel by 1 to 2 levels; PyAV 17, the last one for Python 3.10,
# does not offer them.
ACCURATE = hasattr(Interpolation, "ACCURATE_RND")
SCALING = Interpolation.BILINEAR
if ACCURATE:
    SCALING = SCALING | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames of a video.

    Attributes:
        pictures: for each size asked for, (T, height, width, 3) uint8 RGB, NumPy; the first size's may be CuPy.
        pts: (T,) int64 time stamps in the stream's time base, NO_PTS where there is none.
        key: (T,) bool, the frame can be decoded without any other.
        stream: what the file says of itself: fps, width, height (upright), codec, rotation (degrees).
    """

    pictures: list
    pts: np.ndarray
    key: np.ndarray
    stream: dict


def decode_pictures(
    path: str | Path, sizes: Sequence[tuple[int, int]], *, device: str = "cpu", threads: int = 1
) -> Iterator[Chunk]:
    """Decode every frame of a video, in chunks, each frame scaled to every one of `sizes` (height, width).

    On a GPU the frames come from NVDEC where it knows the codec and from PyAV otherwise.

    Raises:
        UnusableVideo: no frame can be had from the file.
        DamagedVideo: decoding broke off after some good frames; raised after the last of them was yielded.
    """
    done = 0
    if device == "gpu":
        from eruv_dali.decode_dali import NotForDali, decode_with_dali

        try:
            for chunk in decode_with_dali(path, sizes, device=device):
                yield chunk
                done += len(chunk.pts)
            return
        except NotForDali as reason:
            log.info("%s: decoded on the CPU from frame %d on (%s)", path, done, reason)
    for chunk in _decode_with_pyav(path, sizes, threads):
        skip = min(done, len(chunk.pts))
        done -= skip
        if skip < len(chunk.pts):
            yield Chunk([p[skip:] for p in chunk.pictures], chunk.pts[skip:], chunk.key[skip:], chunk.stream)


def _decode_with_pyav(path: str | Path, sizes: Sequence[tuple[int, int]], threads: int) -> Iterator[Chunk]:
    container, stream = open_video(path, threads=threads)
    count, damage = 0, None
    with container:
        frames = container.decode(stream)
        scalers = [VideoReformatter() for _ in sizes]  # each keeps its scaler from frame to frame
        while damage is None:
            pictures, pts, key, facts = [[] for _ in sizes], [], [], {}
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
            if not pts:
                break
            count += len(pts)
            yield Chunk([np.stack(column) for column in pictures], np.array(pts), np.array(key), facts)
    if damage and not count:
        raise UnusableVideo(f"no frame could be decoded ({damage})")
    if damage:
        raise DamagedVideo(f"damaged after frame {count - 1} ({damage})")
    if not count:
        raise UnusableVideo("no frame in its video stream")


def describe(stream: av.video.stream.VideoStream, frame: av.VideoFrame) -> dict:
    """What a file says of its video: frames per second, size as shown, codec, rotation in degrees (0, 90, 180, 270).

    And its clock: time stamps count in units of `time_base` seconds, and the file begins at second `start_time` of it.
    """
    turns = _turns(frame)
    width, height = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
    rate = stream.average_rate or stream.guessed_rate
    return {"fps": f"{float(rate):.6g}" if rate else "", "width": width, "height": height,
            "codec": stream.codec_context.codec.canonical_name, "rotation": 90 * turns,
            "time_base": str(stream.time_base or 0), "start_time": (stream.container.start_time or 0) / 1e6}


def rgb_picture(
    frame: av.VideoFrame, height: int, width: int, scaler: VideoReformatter | None = None
) -> np.ndarray:
    """A decoded frame, upright, scaled to (height, width, 3) uint8 RGB; a `scaler` kept between frames saves half.

    Scaling inside the conversion from YUV is several times faster than scaling RGB afterwards.
    """
    turns = _turns(frame)
    if turns % 2:
        height, width = width, height
    # One thread: videos run side by side already.
    scaler = scaler or VideoReformatter()
    picture = scaler.reformat(frame, width, height, "rgb24", interpolation=SCALING, threads=1).to_ndarray()
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _turns(frame: av.VideoFrame) -> int:
    """Counter-clockwise quarter turns that set the picture upright."""
    return round(frame.rotation / 90) % 4
