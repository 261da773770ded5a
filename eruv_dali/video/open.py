"""Open video files, and report what is wrong with unusable ones."""

from pathlib import Path

import av
import numpy as np

# Means "this frame has no time stamp" in an int64 array (libav uses the same number).
NO_PTS = np.iinfo(np.int64).min


class UnusableVideo(Exception):
    """This file cannot be used as a video; the message is the reason, for the user."""


class DamagedVideo(Exception):
    """Decoding failed in the middle of the file; the frames before that are good."""


def open_video(
    path: str | Path, *, threads: int = 1
) -> tuple[av.container.InputContainer, av.video.stream.VideoStream]:
    """Open a video file and its first video stream for decoding with `threads` threads.

    Raises:
        UnusableVideo: not a file that libav can open, or no video stream in it.
    """
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UnusableVideo(f"cannot be opened as a video ({libav_words(error)})") from None
    # Cover art in a music file is a video stream of one attached picture, not a video.
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams or streams[0].codec_context is None:
        container.close()
        raise UnusableVideo("no video stream in this file" if not streams else "no decoder for its video stream")
    stream = streams[0]
    stream.thread_type = "NONE" if threads == 1 else "AUTO"
    if threads > 1:
        stream.codec_context.thread_count = threads
    return container, stream


def libav_words(error: Exception) -> str:
    """libav's message for an error, without the path and number that PyAV adds."""
    return getattr(error, "strerror", None) or str(error)
