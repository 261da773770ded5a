"""Index videos on the spot, for loading clips from files that nobody prepared.

`prepare` decodes every frame and so knows all of them. Here the packets are counted instead, which takes milliseconds a
video: in most files one packet is one picture, and carries its time stamp. Where that is not sure (AVI, which keeps no
time stamps; codecs that were not tried; a stream that does not begin with a key frame), the video is decoded after all.
"""

import itertools
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np

from eruv_dali.dataset import VideoRow
from eruv_dali.decode import describe
from eruv_dali.errors import EruvError
from eruv_dali.slices import FrameIndex
from eruv_dali.videos import NO_PTS, UnusableVideo, Video, libav_words, open_video

log = logging.getLogger("eruv_dali")

# One packet holds one picture, or says that it shows none (VP8).
PACKET_IS_PICTURE = ("h264", "hevc", "vp8", "vp9", "mpeg4", "mjpeg", "prores", "ffv1")


class IndexedVideos:
    """Video files with an index of their frames, for a loader: what a Dataset without a pack offers, in memory.

    Attributes:
        frame_height, frame_width: size to which frames are scaled.
        pack: "none".
        videos: list of VideoRow.
        skipped: paths of files that cannot be used, left out with `skip_unreadable`; otherwise they are refused.

    Raises:
        EruvError: a file that cannot be used, with the reason; or all of them.
    """

    pack = "none"

    def __init__(
        self, videos: Sequence[Video], frame_size: tuple[int, int], threads: int, *, skip_unreadable: bool = False
    ) -> None:
        self.frame_height, self.frame_width = frame_size
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(_index_or_reason, videos))
        self.skipped: list[Path] = []
        for video, index_or_reason in zip(videos, found, strict=True):
            if isinstance(index_or_reason, str):
                if not skip_unreadable:
                    raise EruvError(f"{video.path}: {index_or_reason}; leave it out")
                log.warning("%s: %s; it is left out", video.path, index_or_reason)
                self.skipped.append(video.path)
        videos = [video for video, index in zip(videos, found, strict=True) if not isinstance(index, str)]
        indexed = [index for index in found if not isinstance(index, str)]
        if not indexed:
            raise EruvError(f"{self.skipped[0]}: cannot be read, nor can any other of the {len(found)} files")
        self._indices = [index for index, _ in indexed]
        lengths = [len(index.pts) for index in self._indices]
        self.videos = [
            VideoRow(video.name, video.path, length, facts["codec"], facts["rotation"], "", first)
            for video, (_, facts), length, first in zip(
                videos, indexed, lengths, itertools.accumulate([0, *lengths]), strict=False)
        ]

    def index(self, video: int) -> FrameIndex:
        return self._indices[video]

    def close(self) -> None:
        """No file is held open."""


def _index_or_reason(video: Video) -> tuple[FrameIndex, dict] | str:
    """The index of a video and what it says of itself, or why there is none."""
    try:
        return index_video(video.path)
    except UnusableVideo as error:
        return str(error)


def index_video(path: str | Path) -> tuple[FrameIndex, dict]:
    """Find the frames of a video, and what the file says of itself (see `decode.describe`).

    Raises:
        UnusableVideo: no frame can be had from it.
    """
    container, stream = open_video(path)
    with container:
        tags, keys, facts, damage = [], [], None, ""
        try:
            for packet in container.demux(stream):
                if facts is None:
                    facts = next((describe(stream, frame) for frame in packet.decode()), None)
                if packet.size and not packet.is_discard and _shows(stream, packet):
                    tags.append(NO_PTS if packet.pts is None else packet.pts)
                    keys.append(packet.is_keyframe)
        except av.error.FFmpegError as error:
            damage = libav_words(error)
        if not tags or facts is None:
            raise UnusableVideo(f"no frame could be decoded ({damage})" if damage else "no frame in its video stream")
        pts, key = np.array(tags), np.array(keys)
        timed = container.format.name != "avi" or facts["codec"] == "mjpeg"
    sure = timed and not damage and facts["codec"] in PACKET_IS_PICTURE and key[0] and pts[0] == pts.min()
    order = np.argsort(pts, kind="stable")
    index = FrameIndex(pts[order], key[order])
    return (index, facts) if sure and index.tagged else (_index_by_decoding(path), facts)


def _shows(stream: av.video.stream.VideoStream, packet: av.Packet) -> bool:
    """VP8 has packets that only serve as a reference; a bit in their first byte says whether they are shown."""
    return stream.codec_context.name != "vp8" or bool(bytes(memoryview(packet)[:1])[0] & 0x10)


def _index_by_decoding(path: str | Path) -> FrameIndex:
    container, stream = open_video(path)
    pts, key = [], []
    with container:
        try:
            for frame in container.decode(stream):
                pts.append(NO_PTS if frame.pts is None else frame.pts)
                key.append(frame.key_frame)
        except av.error.FFmpegError as error:
            if not pts:
                raise UnusableVideo(f"no frame could be decoded ({libav_words(error)})") from None
            # What comes before the damage is good, as in `decode`.
    return FrameIndex(np.array(pts), np.array(key, bool))
