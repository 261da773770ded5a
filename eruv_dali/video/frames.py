"""A decoded frame: the properties that its file gives, and its RGB picture, upright and resized."""

from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

FRAME_SIZE = (128, 171)  # height, width of the frames that clips are cropped from (the paper's)

# swscale's bilinear filter widens with the reduction, so it averages (anti-aliases) when downscaling: the
# same as DALI's INTERP_LINEAR with antialias and PyTorch's bilinear with antialias=True. Without the other two
# flags some widths use a fast path that darkens every pixel by 1 to 2 levels; PyAV 17, the last one for Python 3.10,
# does not offer them.
ACCURATE = hasattr(Interpolation, "ACCURATE_RND")
SCALING = Interpolation.BILINEAR
if ACCURATE:
    SCALING = SCALING | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


@dataclass(frozen=True)
class VideoFacts:
    """A file's own properties of its video.

    Attributes:
        fps: frames per second as text, "" where the file does not say.
        width, height: of the frames as shown, upright.
        codec: libav's name of it; `rotation`: degrees (0, 90, 180, 270).
        time_base: time stamps are in units of so many seconds, a fraction as text; `start_time`: the second of its
            clock at which the file starts.
    """

    fps: str
    width: int
    height: int
    codec: str
    rotation: int
    time_base: str
    start_time: float

    @property
    def rate(self) -> float:
        """Frames per second; 25 where the file does not say."""
        return float(self.fps or 0) or 25.0


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames of a video.

    Attributes:
        pictures: for each requested size, (T, height, width, 3) uint8 RGB, NumPy; the first size's may be CuPy, or lie
            in memory as (T, 3, height, width), which describing them takes less time for.
        pts: (T,) int64 time stamps in the stream's time base, NO_PTS if there is none.
        key: (T,) bool, the frame can be decoded without any other.
        offset, size: (T,) int64, where the frame's packet lies in the file; size 0: not known.
        facts: the file's own properties.
    """

    pictures: list
    pts: np.ndarray
    key: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    facts: VideoFacts

    def part(self, frames: slice) -> "Chunk":
        """These frames alone."""
        return Chunk([p[frames] for p in self.pictures], self.pts[frames], self.key[frames], self.offset[frames],
                     self.size[frames], self.facts)


def describe(stream: av.video.stream.VideoStream, frame: av.VideoFrame) -> VideoFacts:
    """The facts of a video, from its stream and its first frame."""
    turns = _turns(frame)
    width, height = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
    rate = stream.average_rate or stream.guessed_rate
    begins = stream.container.start_time if isinstance(stream.container, av.container.InputContainer) else None
    return VideoFacts(f"{float(rate):.6g}" if rate else "", width, height,
                      stream.codec_context.codec.canonical_name, 90 * turns, str(stream.time_base or 0),
                      (begins or 0) / 1e6)


def rgb_picture(
    frame: av.VideoFrame, height: int, width: int, scaler: VideoReformatter | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A decoded frame, upright, scaled to (height, width, 3) uint8 RGB; reusing a `scaler` halves the time.

    Scaling inside the conversion from YUV is several times faster than scaling RGB afterwards, and libav converts to
    planes (GBRP) in half the time that it takes for interleaved RGB, to the same values (enlarging: to within 1).

    Args:
        out: where to put it, in any memory layout; by default a new array.
    """
    turns = _turns(frame)
    if out is None:
        out = np.empty((height, width, 3), np.uint8)
    if turns % 2:
        height, width = width, height
    # One thread: videos are already processed in parallel.
    scaler = scaler or VideoReformatter()
    scaled = scaler.reformat(frame, width, height, "gbrp", interpolation=SCALING, threads=1)
    for channel, plane in zip((1, 2, 0), scaled.planes, strict=True):
        picture = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height, :width]
        out[..., channel] = np.rot90(picture, turns) if turns else picture
    return out


def _turns(frame: av.VideoFrame) -> int:
    """Counter-clockwise quarter turns that make the picture upright."""
    return round(frame.rotation / 90) % 4
