"""Index: which frames a video has, by their time stamps, and which of them are key frames.

`prepare` decodes every frame and so finds all of them. `index_video` counts the packets instead, which takes
milliseconds per video: in most files one packet is one frame, with its time stamp. MP4 and MOV files list their packets
in the header, so that the rest of the file is not even read (see `mp4`). Where it is uncertain that a packet is a frame
(AVI, which has no time stamps; untested codecs; a stream that does not start with a key frame), the video is decoded. A
time stamp is used only as an identifier: the frame with time stamp `pts[n]` is frame n.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import av
import numpy as np

from eruv_dali.video.frames import VideoFacts, describe
from eruv_dali.video.mp4 import Packets, is_mp4, packets_from_header
from eruv_dali.video.open import NO_PTS, UnusableVideo, frames_of, libav_words, open_video, packets_of, unusable
from eruv_dali.video.place import Location
from eruv_dali.video.remote_store import OutOfReach
from eruv_dali.video.tags import tags_hold

CHECKED = 8  # packets that are read from an MP4 or MOV file, at least, and must be as its header says

# In these codecs a packet holds one frame, or is marked as not shown (VP8).
PACKET_IS_PICTURE = ("h264", "hevc", "vp8", "vp9", "mpeg4", "mjpeg", "prores", "ffv1")


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """What `prepare` recorded for each frame of one video, in display order.

    Attributes:
        pts: (N,) int64 time stamps in the stream's time base; NO_PTS if the file gives none.
        key: (N,) bool, the frame can be decoded without any other.
        offset, size: (N,) int64, where the frame's packet lies in the file: these bytes are what the decoder takes.
            Size 0: not known, as in containers other than MP4 and MOV. None: known of no frame.
    """

    pts: np.ndarray
    key: np.ndarray
    offset: np.ndarray | None = None
    size: np.ndarray | None = None

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.pts, kind="stable")
        return self.pts[order], order

    @cached_property
    def tagged(self) -> bool:
        """Whether every frame has a unique time stamp, so that it can be recognised after a seek."""
        tags = self._sorted[0]
        return len(tags) > 0 and tags[0] != NO_PTS and bool(np.all(tags[1:] > tags[:-1]))

    @cached_property
    def ordered(self) -> bool:
        """Whether time stamps increase with the frame number. (AVI files with B-frames number them in coding order.)"""
        return self.tagged and bool(np.all(self.pts[1:] > self.pts[:-1]))

    @cached_property
    def keys(self) -> np.ndarray:
        """Frame numbers of the key frames, ascending."""
        return np.flatnonzero(self.key)

    def locate(self, pts: int | None) -> int:
        """The frame with this time stamp, or -1."""
        tags, order = self._sorted
        if pts is None:
            return -1
        at = int(np.searchsorted(tags, pts))
        return int(order[at]) if at < len(tags) and tags[at] == pts else -1


def index_video(path: str | Location) -> tuple[FrameIndex, VideoFacts]:
    """Find the frames of a video, and the file's own properties.

    Raises:
        UnusableVideo: no frame can be decoded from it.
    """
    container, stream = open_video(path)
    with container:
        try:
            told = packets_from_header(path, container, stream) if stream.codec_context.name != "vp8" else None
        except OutOfReach as error:
            raise unusable(error) from None
        found: list[tuple[int, bool, int, int]] = []
        facts, damage, placed = None, "", is_mp4(container)
        try:
            for packet in packets_of(container, stream):
                if facts is None:
                    facts = next((describe(stream, frame) for frame in packet.decode()), None)
                if packet.is_corrupt:
                    damage = "a packet is cut off"
                if packet.size and not packet.is_discard and _shows(stream, packet):
                    at = (packet.pos, packet.size) if placed and packet.pos is not None else (0, 0)
                    found.append((NO_PTS if packet.pts is None else packet.pts, packet.is_keyframe, *at))
                if told and facts and len(found) >= CHECKED:
                    told = replace(told, pts=told.pts + found[0][0])
                    if told.begin_with(_packets(found)):
                        break
                    told = None
            else:
                told = None  # all were read
        except av.error.FFmpegError as error:
            damage = libav_words(error)
        if not found or facts is None:
            raise UnusableVideo(f"no frame could be decoded ({damage})" if damage else "no frame in its video stream")
        packets = told if told and not damage else _packets(found)
        timed = container.format.name != "avi" or facts.codec == "mjpeg"
    pts, key = packets.pts, packets.key
    sure = timed and not damage and facts.codec in PACKET_IS_PICTURE and key[0] and pts[0] == pts.min()
    order = np.argsort(pts, kind="stable")
    index = FrameIndex(pts[order], key[order], *((packets.offset[order], packets.size[order]) if placed else ()))
    return (index, facts) if sure and index.tagged and tags_hold(path) else (index_by_decoding(path), facts)


def _packets(found: list[tuple[int, bool, int, int]]) -> Packets:
    return Packets(*(np.array(column) for column in zip(*found, strict=True)))


def _shows(stream: av.video.stream.VideoStream, packet: av.Packet) -> bool:
    """Whether a packet is shown: VP8 has reference-only packets, marked by a bit in their first byte."""
    return stream.codec_context.name != "vp8" or bool(bytes(memoryview(packet)[:1])[0] & 0x10)


def index_by_decoding(path: str | Location) -> FrameIndex:
    """The frames of a video as decoding it finds them, up to where it is damaged. Time stamps that depend on where
    reading starts are left out.

    Raises:
        UnusableVideo: no frame can be decoded from it.
    """
    container, stream = open_video(path)
    pts, key = [], []
    with container:
        try:
            for frame in frames_of(container, stream):
                pts.append(NO_PTS if frame.pts is None else frame.pts)
                key.append(frame.key_frame)
        except av.error.FFmpegError as error:
            if not pts:
                raise UnusableVideo(f"no frame could be decoded ({libav_words(error)})") from None
            # Frames before the damage are good, as in `decode`.
    known = np.array(pts) if tags_hold(path) else np.full(len(pts), NO_PTS)
    return FrameIndex(known, np.array(key, bool))
