"""How a video is coded, as far as that decides which decoder can read it."""

import functools
from dataclasses import dataclass, fields
from typing import Any

import av

from eruv_dali.video.hidden import HIDES
from eruv_dali.video.open import UnusableVideo, libav_words, open_video, packets_of, unusable
from eruv_dali.video.parameter_sets import may_hold_fields
from eruv_dali.video.place import Location, locate

RANGES = {1: "limited", 2: "full"}
MATRICES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc",
            10: "bt2020c"}  # libav's names by the numbers of ITU-T H.273
UNSAID = 2


@dataclass(frozen=True)
class Coding:
    """How a video is coded.

    Attributes:
        pixels: libav's name of the pixel format.
        profile: libav's name of the codec's profile, "" where there is none or it is not known.
        interlaced: it has fields, or may have.
        hidden: some packets are not one picture shown; see `hidden`.
        coded_width, coded_height: pixels, before the decoder crops; not turned upright.
        range: "limited" or "full", "" where the stream does not say.
        matrix: by which YCbCr was made of RGB, libav's name, "" where the stream does not say.
    """

    pixels: str
    profile: str
    interlaced: bool
    hidden: bool
    coded_width: int
    coded_height: int
    range: str = ""
    matrix: str = ""


COLUMNS = tuple(column.name for column in fields(Coding))
TYPES = {"interlaced": bool, "hidden": bool, "coded_width": int, "coded_height": int}


def checked_coding(values: dict[str, Any] | None) -> Coding | None:
    """A Coding from a file that holds its attributes; None, which means that it is not known, stays None.

    Raises:
        ValueError, TypeError: a value cannot be right, or one is missing.
    """
    if values is None:
        return None
    coding = Coding(**values)
    for column in COLUMNS:
        value = getattr(coding, column)
        if type(value) is not TYPES.get(column, str) or type(value) is int and value <= 0:
            raise ValueError(f"{column} {value!r}")
    return coding


def read_coding(path: str | Location) -> Coding:
    """How a file's video is coded; from memory if the file is unchanged since it was last asked for.

    The first frame is decoded. Only of VP8, VP9 and MPEG-4 are all packets read, a few microseconds each.

    Raises:
        UnusableVideo: it cannot be opened, or has no frame that can be decoded.
    """
    try:
        status = locate(path).stat()
    except OSError as error:
        raise unusable(error) from None
    return _coding(str(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1 << 16)  # less than 1 KB each
def _coding(path: str, size: int, mtime_ns: int) -> Coding:
    container, stream = open_video(path)
    frame, hidden, damage = None, False, "no frame in its video stream"
    with container:
        codec = stream.codec_context
        name = codec.codec.canonical_name
        hides = HIDES.get(name)
        try:
            for packet in packets_of(container, stream):
                if frame is None:
                    frame = next(iter(packet.decode()), None)
                if hides is not None and packet.size and not hidden:
                    hidden = hides(bytes(packet))
                if frame is not None and (hides is None or hidden):
                    break
        except av.error.FFmpegError as error:  # the frames before are used all the same
            damage = f"no frame could be decoded ({libav_words(error)})"
        if frame is None:
            raise UnusableVideo(damage)
        fields_too = may_hold_fields(bytes(codec.extradata or b"")) if name == "h264" else False
        matrix = int(frame.colorspace)
        return Coding(
            pixels=frame.format.name, profile=codec.profile or "",
            # A stream without a set in its header may have fields from its second picture on.
            interlaced=frame.interlaced_frame or fields_too is not False, hidden=hidden,
            coded_width=codec.coded_width, coded_height=codec.coded_height,
            range=RANGES.get(int(frame.color_range), ""),
            matrix=MATRICES.get(matrix, "" if matrix == UNSAID else str(matrix)))
