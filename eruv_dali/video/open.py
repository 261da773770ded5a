"""Open video files, and report what is wrong with unusable ones."""

import errno
from collections.abc import Iterator

import av
import numpy as np

from eruv_dali.errors import OUT_OF_FILES, EruvError
from eruv_dali.video.place import Location, libav_input, locate
from eruv_dali.video.remote import RemoteFile
from eruv_dali.video.remote_store import OutOfReach

# Means "this frame has no time stamp" in an int64 array (libav uses the same number).
NO_PTS = np.iinfo(np.int64).min


class UnusableVideo(Exception):
    """This file cannot be used as a video; the message is the reason, for the user."""


class Unreachable(UnusableVideo):
    """The bytes of this video cannot be had now, which says nothing about the video."""


class DamagedVideo(Exception):
    """Decoding failed in the middle of the file; the frames before that are good."""


def open_video(
    path: str | Location, *, threads: int = 1
) -> tuple[av.container.InputContainer, av.video.stream.VideoStream]:
    """Open a video file and its first video stream for decoding with `threads` threads.

    Raises:
        UnusableVideo: not a file that libav can open, or no video stream in it.
        Unreachable: an object in a store that cannot be read now.
        EruvError: too many files are open, which says nothing about the video.
    """
    source: str | RemoteFile = ""
    try:
        source = libav_input(locate(path))
        container = av.open(source, "r", metadata_errors="ignore")
        _expect_reached(source)
    except OutOfReach as error:
        raise unusable(error) from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        _expect_reached(source)
        # ENOMEM is not among them: libav says it of a damaged header that asks for absurd amounts.
        if getattr(error, "errno", None) in OUT_OF_FILES:
            raise EruvError(f"{path}: cannot be read ({libav_words(error)}); fix that, and run again") from None
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


def packets_of(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream | av.AudioStream
) -> Iterator[av.Packet]:
    """The stream's packets from the container's current position, as `container.demux` gives them; the last is empty.

    Raises:
        av.error.FFmpegError: the file is damaged. PyAV fails otherwise where another stream begins in mid-file.
        Unreachable: what follows cannot be had.
    """
    packets = container.demux(stream)
    source = container.file.file if container.file else None  # a file in Python
    while True:
        try:
            packet = next(packets, None)
        except IndexError:
            raise av.error.InvalidDataError(errno.EINVAL, "a packet of a stream that begins in mid-file") from None
        except av.error.FFmpegError:
            _expect_reached(source)
            raise
        if source is not None:
            _expect_reached(source)  # what is here may be cut off
        if packet is None:
            return
        yield packet


def frames_of(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> Iterator[av.VideoFrame]:
    """The stream's frames from the container's current position; raises as `packets_of` does."""
    for packet in packets_of(container, stream):
        yield from packet.decode()


def unusable(error: OSError) -> UnusableVideo:
    """What `error`, met on opening a video, says of it."""
    if isinstance(error, OutOfReach):
        return Unreachable(error.strerror)
    return UnusableVideo(f"cannot be opened as a video ({error.strerror})")


def _expect_reached(source: object) -> None:
    """Raises Unreachable: what libav reads from could no longer be read, and so only seemed to end."""
    if isinstance(source, RemoteFile) and source.trouble:
        raise Unreachable(source.trouble)


def libav_words(error: Exception) -> str:
    """libav's message for an error, without the path and number that PyAV adds."""
    return getattr(error, "strerror", None) or str(error)
