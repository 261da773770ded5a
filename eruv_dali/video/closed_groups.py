"""Closed groups: small pictures as H.264 that suits every decoder, which is what a video pack holds.

Every GROUP-th picture begins a group that needs nothing before it. There are no B-pictures, so packets lie in the order
shown and a decoder returns each picture at once. The coded size is the shown size: pictures are padded to multiples of
16 by repeating their last row and column. Colour is BT.601, 4:2:0, 8 bits, limited range, progressive. A group begins
with its own parameter sets, so that any run of packets from a group's start is a complete H.264 stream.

What the settings cost in bytes, quality and time: benchmarks/pack_quality.py.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace

from eruv_dali.errors import EruvError
from eruv_dali.video.coding import Coding
from eruv_dali.video.yuv420 import yuv420_frame

GROUP = 16  # pictures
QUALITY = 20  # x264's constant rate factor: lower is better and larger
QUALITIES = (0, 51)
STARTS_GROUP = b"\0\0\0\1\x67"  # a sequence parameter set
ENCODER = "libx264"

# The decoder's work counts more than the encoder's: no arithmetic coding (5 % more bytes, a third less time), no
# deblocking (0.05 dB at this quality), no weighted prediction. One reference picture and no look-ahead (zerolatency)
# keep the encoder fast; scene cuts begin no group, so that groups can be counted.
PRESET = "veryfast"
SETTINGS = (f"keyint={GROUP}:min-keyint={GROUP}:scenecut=0:open-gop=0:bframes=0:ref=1:cabac=0:no-deblock=1:weightp=0:"
            "threads=1:repeat-headers=1:annexb=1")


def coded_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of the coded pictures: the next multiples of 16."""
    return -(-height // 16) * 16, -(-width // 16) * 16


def group_coding(height: int, width: int) -> Coding:
    """How pictures of this size are coded, for the choice of a decoder."""
    coded_height, coded_width = coded_size(height, width)
    return Coding("yuv420p", "High", False, False, coded_width, coded_height, "limited", "bt470bg")


class GroupEncoder:
    """Encodes the pictures of one video, one packet each.

    Args:
        height, width: of the pictures.
        quality: x264's constant rate factor, 0 to 51.

    Raises:
        EruvError: PyAV was built without x264.
    """

    def __init__(self, height: int, width: int, quality: int) -> None:
        check_encoder()
        self._height, self._width = coded_size(height, width)
        codec = av.CodecContext.create(ENCODER, "w")
        assert isinstance(codec, VideoCodecContext)
        self._codec = codec
        self._codec.width, self._codec.height, self._codec.pix_fmt = self._width, self._height, "yuv420p"
        self._codec.time_base, self._codec.framerate = Fraction(1, 25), Fraction(25)
        self._codec.colorspace, self._codec.color_range = int(Colorspace.ITU601), int(ColorRange.MPEG)
        self._codec.thread_count = 1
        self._codec.options = encoder_options(quality)
        self._count = 0

    def add(self, picture: np.ndarray) -> bytes:
        """The packet of the next picture, (height, width, 3) uint8 RGB."""
        frame = yuv420_frame(picture, self._height, self._width)
        frame.pts, self._count = self._count, self._count + 1
        (packet,) = self._codec.encode(frame)
        return without_comments(bytes(packet))


class GroupDecoder:
    """Decodes runs of packets that begin at the start of a group. One per thread."""

    def __init__(self) -> None:
        codec = av.CodecContext.create("h264", "r")
        assert isinstance(codec, VideoCodecContext)
        self._codec = codec
        self._codec.thread_type = "NONE"

    def decode_packets(self, packets: Iterable[bytes]) -> Iterator[av.VideoFrame]:
        """The picture of each packet, in order, as a yuv420p frame. It stops early where a packet gives none.

        Raises:
            av.error.FFmpegError: a packet cannot be decoded.
        """
        for packet in packets:
            pictures = self._codec.decode(av.Packet(packet))
            if len(pictures) != 1:
                return
            yield pictures[0]


def encoder_options(quality: int) -> dict[str, str]:
    """x264's options for this constant rate factor."""
    return {"preset": PRESET, "tune": "psnr,zerolatency", "crf": str(quality), "x264-params": SETTINGS}


def check_encoder() -> None:
    """Make sure that pictures can be encoded.

    Raises:
        EruvError: PyAV was built without x264.
    """
    if ENCODER not in av.codecs_available:
        raise EruvError(f"PyAV {av.__version__} was built without the encoder {ENCODER}, which a video pack needs; "
                        "install a PyAV wheel from PyPI, or choose pack jpeg")


def without_comments(packet: bytes) -> bytes:
    """The packet without its supplemental information: x264 writes its own settings into every video, 600 bytes."""
    before, *units = packet.split(b"\0\0\1")  # inside a unit, these three bytes never follow one another
    return b"\0\0\1".join([before, *(unit for unit in units if unit[0] & 31 != 6)])
