"""Slices: the frames that a clip wants, straight from the original file, without decoding the rest of it.

`FrameIndex` is what `prepare` learnt about a video when it decoded all of it: the time stamp of each frame in display
order, which frames are keys. A time stamp is used only as a name tag: the frame that carries tag `pts[n]` is frame n.

Two ways out of a file:
- `FrameReader.read` decodes with PyAV (any codec) and returns pictures;
- `FrameReader.slice` returns a small Matroska file of the packets from a key frame on, remuxed without re-encoding,
  for DALI's decoder (which seeks linearly, so it must never be given a whole long file).
"""

import io
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from eruv_dali.decode import rgb_picture
from eruv_dali.videos import NO_PTS, UnusableVideo, libav_words, open_video

# DALI's CPU decoder takes these; its GPU decoder (NVDEC) takes more. Hopper's NVDEC has no AV1.
DALI_CODECS = {"cpu": ("vp8", "vp9", "mjpeg"), "gpu": ("vp8", "vp9", "mjpeg", "h264", "hevc", "mpeg4")}

# Decoders that can pass over a picture which no other needs (a B-frame, mostly) without decoding it, and lose nothing.
# Not HEVC: what it calls a non-reference picture may still serve a higher temporal layer.
SKIP_CODECS = ("h264", "mpeg4", "mpeg2video", "vp8")

OPEN_FILES = 8  # containers a reader keeps open: opening one costs 1-5 ms, much of it probing


class FrameNotFound(Exception):
    """The file does not yield frames that the index names; `frames` are the numbers of those that were wanted."""

    def __init__(self, message: str, frames: np.ndarray) -> None:
        super().__init__(message)
        self.frames = frames


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """What `prepare` noted of each frame of one video, in display order.

    Attributes:
        pts: (N,) int64 time stamps in the stream's time base; NO_PTS where the file gives none.
        key: (N,) bool, the frame can be decoded without any other.
    """

    pts: np.ndarray
    key: np.ndarray

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.pts, kind="stable")
        return self.pts[order], order

    @cached_property
    def tagged(self) -> bool:
        """Every frame carries a time stamp of its own, so that it can be recognised after a seek."""
        tags = self._sorted[0]
        return len(tags) > 0 and tags[0] != NO_PTS and bool(np.all(tags[1:] > tags[:-1]))

    @cached_property
    def ordered(self) -> bool:
        """Time stamps rise with the frame number. (Not so in AVI files with B-frames: they tag in coding order.)"""
        return self.tagged and bool(np.all(self.pts[1:] > self.pts[:-1]))

    @cached_property
    def keys(self) -> np.ndarray:
        """Frame numbers of the key frames, ascending."""
        return np.flatnonzero(self.key)

    def locate(self, pts: int | None) -> int:
        """The frame that carries this time stamp, or -1."""
        tags, order = self._sorted
        if pts is None:
            return -1
        at = int(np.searchsorted(tags, pts))
        return int(order[at]) if at < len(tags) and tags[at] == pts else -1


class FrameReader:
    """Reads wanted frames out of video files, keeping the last few files open. One per thread; `close` when done.

    Attributes:
        seconds: spent so far in "read" (opening, seeking), "demux" (taking packets) and "decode" (pictures, scaled).
        bytes: of packets taken so far.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Path, tuple] = OrderedDict()
        self._scaler = VideoReformatter()
        self.seconds = {"read": 0.0, "demux": 0.0, "decode": 0.0}
        self.bytes = 0

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1][0].close()

    def read(self, path: Path, index: FrameIndex, wanted: Sequence[int], height: int, width: int) -> np.ndarray:
        """Decode frames `wanted` (ascending, no repeats) with PyAV: (len(wanted), height, width, 3) uint8 RGB.

        Raises:
            FrameNotFound: the file does not hold what the index says (it was changed, or cannot be decoded any more).
        """
        wanted = np.asarray(wanted)
        pictures = np.empty((len(wanted), height, width, 3), np.uint8)
        failure, most = "", 0
        # Normally the first try succeeds. A container whose seek lands late is tried one key frame earlier, and from
        # the very start (None) as the last resort, where nothing can go wrong but the time it takes.
        starts = [*index.keys[index.keys <= wanted[0]][::-1][:2], None] if index.tagged else [None]
        for start in starts:
            filled = 0
            try:
                for picture in self._decode_from(start, path, index, wanted):
                    pictures[filled] = rgb_picture(picture, height, width, self._scaler)
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

    def _decode_from(
        self, start: int | None, path: Path, index: FrameIndex, wanted: np.ndarray
    ) -> Iterator[av.VideoFrame]:
        """Decode from key frame `start` (None: the start of the file) and yield the wanted frames, until one misses."""
        opened = time.perf_counter()
        if start is None:
            self._forget(path)  # only a fresh container is sure to begin at its first packet
        container, stream = self._container(path)
        if start is not None:
            container.seek(int(index.pts[start]), stream=stream, backward=True)
        self.seconds["read"] += time.perf_counter() - opened
        codec = stream.codec_context
        can_skip = start is not None and index.ordered and codec.name in SKIP_CODECS
        tags = set(index.pts[wanted].tolist())
        # A count from the start of the file needs no tags. After a seek, pictures shown before the key frame may lack
        # their references; a wanted frame is never among them, because `start` is at or before the first wanted.
        begun, count, left = start is None, 0, deque(wanted.tolist())
        for packet in self._packets(container, stream):
            codec.skip_frame = "NONREF" if can_skip and packet.pts is not None and packet.pts not in tags else "DEFAULT"
            started = time.perf_counter()
            for frame in packet.decode():
                number = count if start is None else index.locate(frame.pts)
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

    def _packets(self, container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> Iterator:
        """The packets from where the container stands, timed; the last one is empty and empties the decoder."""
        packets = container.demux(stream)
        while True:
            started = time.perf_counter()
            packet = next(packets, None)
            self.seconds["demux"] += time.perf_counter() - started
            if packet is None:
                return
            self.bytes += packet.size
            yield packet

    def slice(self, path: Path, index: FrameIndex, wanted: Sequence[int]) -> tuple[bytes, np.ndarray] | None:
        """Cut the packets that frames `wanted` (ascending) need into a Matroska file in memory.

        Returns the file and the position of each wanted frame in it (int32), or None where the container's own order
        of packets cannot be trusted to say which frame is which; `read` is for those.
        """
        wanted = np.asarray(wanted)
        before = index.keys[index.keys <= wanted[0]]
        if not index.ordered or len(before) == 0:
            return None
        try:
            return self._cut(path, index, wanted, before[-1])
        except (av.error.FFmpegError, UnusableVideo):
            self._forget(path)  # `read` will find out what of it can be had, or say why nothing
            return None

    def _cut(
        self, path: Path, index: FrameIndex, wanted: np.ndarray, first: int
    ) -> tuple[bytes, np.ndarray] | None:
        """Cut from key frame `first` on."""
        start_pts, last_pts = index.pts[first], index.pts[wanted[-1]]
        container, stream = self._container(path)
        container.seek(int(start_pts), stream=stream, backward=True)
        packets, top = [], None
        for packet in self._packets(container, stream):
            if packet.size == 0 or packet.pts is None:
                continue
            if not packets and packet.pts != start_pts:
                if packet.pts > start_pts:
                    return None  # the seek landed behind the key frame
                continue
            if packet.pts < start_pts or packet.is_discard:
                continue  # shown before the key frame (an open GOP), or hidden by an edit list
            packets.append(packet)
            # Packets come in coding order: everything shown up to `last_pts` has arrived once decoding times pass it.
            top = packet.dts if packet.dts is not None else packet.pts
            if top > last_pts or (top == last_pts and packet.pts == last_pts):
                break
        shown = np.sort(np.array([packet.pts for packet in packets], np.int64))
        position = np.searchsorted(shown, index.pts[wanted])
        if len(shown) <= position[-1] or not np.array_equal(shown[position], index.pts[wanted]):
            return None
        frames = index.pts[first : wanted[-1] + 1]
        if not np.array_equal(shown[: len(frames)], frames):
            return None  # a packet without a frame of its own, or the reverse: counting would go wrong
        return _mux(stream, packets, shown), position.astype(np.int32)

    def _container(self, path: Path) -> tuple:
        if path in self._open:
            self._open.move_to_end(path)
        else:
            self._open[path] = open_video(path)
            while len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)[1][0].close()
        return self._open[path]

    def _forget(self, path: Path) -> None:
        if path in self._open:
            self._open.pop(path)[0].close()


def _mux(stream: av.video.stream.VideoStream, packets: list[av.Packet], shown: np.ndarray) -> bytes:
    """Write packets into a Matroska file with time stamps that only count (1 ms a frame, Matroska's own unit)."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        target = output.add_stream_from_template(stream)
        tick = Fraction(1, 1000)
        rank = np.searchsorted(shown, [packet.pts for packet in packets])
        delay = int(max(0, np.max(np.arange(len(packets)) - rank)))
        for place, packet in enumerate(packets):
            packet.stream = target
            packet.time_base = tick
            packet.pts = int(rank[place]) + delay
            packet.dts = place
            output.mux(packet)
    return buffer.getvalue()
