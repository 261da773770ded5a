"""Read selected frames from a video file, without decoding the rest of it.

Two ways to read from a file, for a thread that keeps it open:
- `FrameReader.read` decodes with PyAV (any codec) and returns pictures;
- `FrameReader.slice` returns a small file of the packets from a key frame on, for DALI's decoder (see `byte_slice`,
  and `remux` for containers whose index has no places).
"""

import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from eruv_dali.video.byte_reader import SKIP_CODECS, ByteReader
from eruv_dali.video.byte_slice import cut_bytes, stream_header
from eruv_dali.video.frames import rgb_picture
from eruv_dali.video.index import FrameIndex
from eruv_dali.video.open import UnusableVideo, libav_words, open_video, packets_of
from eruv_dali.video.place import Location
from eruv_dali.video.remux import cut_slice
from eruv_dali.video.video_slice import VideoSlice

OPEN_FILES = 8  # containers that a reader keeps open: opening one costs 1-5 ms, much of it probing


class FrameNotFound(Exception):
    """The file does not yield frames that are in its index; `frames` are the numbers of the wanted ones."""

    def __init__(self, message: str, frames: np.ndarray) -> None:
        super().__init__(message)
        self.frames = frames


class FrameReader:
    """Reads selected frames from video files, keeping the last few files open. One per thread; `close` when done.

    Attributes:
        seconds: spent so far in "read" (opening, seeking), "demux" (reading packets) and "decode" (decoding, scaling).
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Location, tuple] = OrderedDict()
        self._primed: set[Location] = set()
        self._byte_reader = ByteReader()
        self._scaler = VideoReformatter()
        self.seconds = {"read": 0.0, "demux": 0.0, "decode": 0.0}
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """Bytes of packets read so far."""
        return self._bytes + self._byte_reader.bytes

    def close(self) -> None:
        """Close the files."""
        while self._open:
            self._forget(next(iter(self._open)))

    def read(
        self, path: Location, index: FrameIndex, wanted: Sequence[int] | np.ndarray, height: int, width: int
    ) -> np.ndarray:
        """Decode frames `wanted` (ascending, no repeats) with PyAV: (len(wanted), height, width, 3) uint8 RGB.

        Raises:
            FrameNotFound: the file does not match the index (it was changed, or can no longer be decoded).
        """
        wanted = np.asarray(wanted)
        pictures = np.empty((len(wanted), height, width, 3), np.uint8)
        failure, most = "", 0
        if self._read_bytes(path, index, wanted, pictures) == len(wanted):
            return pictures
        # Normally the first try succeeds. If a container's seek lands late, try one key frame earlier, and as the last
        # resort from the start of the file (None), which is slow but always right.
        starts = [*index.keys[index.keys <= wanted[0]][::-1][:2], None] if index.tagged else [None]
        for start in starts:
            filled = 0
            try:
                for picture in self._decode_from(start, path, index, wanted):
                    rgb_picture(picture, height, width, self._scaler, pictures[filled])
                    filled += 1
            except (av.error.FFmpegError, UnusableVideo) as error:
                failure = f" ({libav_words(error)})"
                self._forget(path)
            if filled == len(wanted):
                return pictures
            most = max(most, filled)
        missing = wanted[most:]
        raise FrameNotFound(f"{path}: frames {missing[0]}..{missing[-1]} cannot be decoded{failure}; run prepare again",
                            missing)

    def _read_bytes(self, path: Location, index: FrameIndex, wanted: np.ndarray, pictures: np.ndarray) -> int:
        """Fill `pictures` from byte ranges, if the index has the packets' places; returns how many it could."""
        filled, started = 0, time.perf_counter()
        try:
            frames = self._byte_reader.frames(path, index, wanted)
            begun, started = started, time.perf_counter()
            self.seconds["read"] += started - begun
            height, width = pictures.shape[1:3]
            for frame in frames or ():
                rgb_picture(frame, height, width, self._scaler, pictures[filled])
                filled += 1
        except (av.error.FFmpegError, UnusableVideo):
            pass  # reading through the container finds out what is wrong
        self.seconds["decode"] += time.perf_counter() - started
        return filled

    def _decode_from(
        self, start: int | None, path: Location, index: FrameIndex, wanted: np.ndarray
    ) -> Iterator[av.VideoFrame]:
        """Decode from key frame `start` (None: the start of the file) and yield the wanted frames until one fails."""
        opened = time.perf_counter()
        if start is None:
            self._forget(path)  # only a newly opened container is sure to start at its first packet
        container, stream = self._container(path)
        if start is not None:
            self._prime(path)
            container.seek(int(index.pts[start]), stream=stream, backward=True)
        self.seconds["read"] += time.perf_counter() - opened
        codec = stream.codec_context
        can_skip = start is not None and index.ordered and codec.name in SKIP_CODECS
        tags = set(index.pts[wanted].tolist())
        # Without time stamps, frames are counted from the file's start. After a seek, frames shown before the key frame
        # may lack their references; a wanted frame is never among them, because `start` is at or before the first.
        begun, count, left = start is None, 0, deque(wanted.tolist())
        for packet in self._packets(container, stream):
            codec.skip_frame = "NONREF" if can_skip and packet.pts is not None and packet.pts not in tags else "DEFAULT"
            started = time.perf_counter()
            for frame in packet.decode():
                number = index.locate(frame.pts) if index.tagged else count
                count += 1
                begun = begun or number in index.keys
                if not begun or number < left[0]:
                    continue
                if number > left.popleft():
                    return
                yield frame
                if not left:
                    self.seconds["decode"] += time.perf_counter() - started
                    return
            self.seconds["decode"] += time.perf_counter() - started

    def _prime(self, path: Location) -> None:
        """Pass the first packet of an H.264 file to the decoder, once.

        Only there does x264 write its version, and libav has a special case for the 4:4:4 of old versions, which had a
        bug: a decoder that starts later outputs noise.
        """
        container, stream = self._open[path]
        if path in self._primed or stream.codec_context.name != "h264":
            return
        self._primed.add(path)
        with contextlib.suppress(av.error.FFmpegError):  # damage there need not affect the rest
            next(packets_of(container, stream)).decode()

    def _packets(self, container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> Iterator:
        """The packets from the container's current position, timed; the last one is empty and flushes the decoder."""
        packets = packets_of(container, stream)
        while True:
            started = time.perf_counter()
            packet = next(packets, None)
            self.seconds["demux"] += time.perf_counter() - started
            if packet is None:
                return
            self._bytes += packet.size
            yield packet

    def slice(self, path: Location, index: FrameIndex, wanted: Sequence[int] | np.ndarray) -> VideoSlice | None:
        """A slice of the packets that frames `wanted` (ascending) need.

        None if the container's own order of packets does not reliably tell which frame is which, or DALI would show
        other pictures than the video's; use `read` for those.
        """
        wanted = np.asarray(wanted)
        before = index.keys[index.keys <= wanted[0]]
        if not index.ordered or len(before) == 0:
            return None
        try:
            if index.offset is not None:
                started = time.perf_counter()
                cut = cut_bytes(path, stream_header(path), index, wanted)
                self.seconds["read"] += time.perf_counter() - started
                if cut is not None:
                    self._bytes += len(cut.data)
                    return cut
            container, stream = self._container(path)
            container.seek(int(index.pts[before[-1]]), stream=stream, backward=True)
            return cut_slice(stream, self._packets(container, stream), index, wanted, int(before[-1]))
        except (av.error.FFmpegError, UnusableVideo):
            self._forget(path)  # `read` will find out which frames can be read, or report why none can
            return None

    def _container(self, path: Location) -> tuple:
        if path in self._open:
            self._open.move_to_end(path)
        else:
            self._open[path] = open_video(path)
            while len(self._open) > OPEN_FILES:
                self._forget(next(iter(self._open)))
        return self._open[path]

    def _forget(self, path: Location) -> None:
        if path in self._open:
            self._open.pop(path)[0].close()
            self._primed.discard(path)
