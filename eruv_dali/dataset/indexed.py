"""Videos that have not been prepared, indexed on the fly: to a loader, an in-memory Dataset without a pack."""

import itertools
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from eruv_dali.dataset.columns import VideoRow
from eruv_dali.errors import EruvError
from eruv_dali.video.find import Video
from eruv_dali.video.frames import VideoFacts
from eruv_dali.video.index import FrameIndex, index_video
from eruv_dali.video.open import UnusableVideo
from eruv_dali.video.place import Location

log = logging.getLogger(__name__)


class IndexedVideos:
    """Video files with an index of their frames, with the interface that loaders use of a Dataset without a pack.

    Attributes:
        frame_height, frame_width: size to which frames are resized.
        pack: "none"; in_store: False.
        videos: list of VideoRow.
        skipped: paths of unusable files, left out with `skip_unreadable`; otherwise they are an error.

    Raises:
        EruvError: a file cannot be used, with the reason; or, with `skip_unreadable`, none can.
    """

    pack = "none"
    in_store = False

    def __init__(
        self, videos: Sequence[Video], frame_size: tuple[int, int], threads: int, *, skip_unreadable: bool = False
    ) -> None:
        self.frame_height, self.frame_width = frame_size
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(_index_or_reason, videos))
        self.skipped: list[Location] = []
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
            VideoRow(video.name, video.path, length, facts.codec, facts.rotation, "", first)
            for video, (_, facts), length, first in zip(
                videos, indexed, lengths, itertools.accumulate([0, *lengths]), strict=False)
        ]

    def index(self, video: int) -> FrameIndex:
        return self._indices[video]

    def close(self) -> None:
        """Nothing to close: no file is held open."""


def _index_or_reason(video: Video) -> tuple[FrameIndex, VideoFacts] | str:
    """The index of a video and its stream's properties, or why there is no index."""
    try:
        return index_video(video.path)
    except UnusableVideo as error:
        return str(error)
