"""What a loader needs of the videos that it reads: the interface that Dataset and IndexedVideos share."""

from collections.abc import Sequence
from typing import Protocol

from eruv_dali.dataset.columns import VideoRow
from eruv_dali.video.index import FrameIndex


class VideoSet(Protocol):
    """Videos whose frames are known: a prepared `Dataset`, or `IndexedVideos`.

    Attributes:
        frame_height, frame_width: size to which frames are resized.
        pack: "none", or the kind of pack that holds the frames; then it is a Dataset.
        in_store: whether the pack lies in a store, so that each read takes as long as a request.
        videos: what is known of each; clip requests name a video by its position here.
    """

    frame_height: int
    frame_width: int
    pack: str
    in_store: bool

    @property
    def videos(self) -> Sequence[VideoRow]: ...

    def index(self, video: int) -> FrameIndex:
        """The frames of one video: time stamps and key frames."""

    def close(self) -> None:
        """Release the files."""
