"""H.264 and HEVC streams whose sequence parameter sets crop nothing, and what they cropped before.

These two codecs code pictures of whole blocks and say which rectangle of them is shown: 640x360 is coded as 640x368.
DALI keeps NVDEC's decoders for the next video of the same size, but compares the shown size of the last with the coded
size of the next, so that it reuses one only where both are the same. The other codecs code the size that is shown.

The offsets are set to 0, the rest of a parameter set stays as it is, bit by bit (ITU-T H.264, 7.3.2.1.1; H.265,
7.3.2.2.1): what libavcodec's filters h264_metadata and hevc_metadata do, which need a container around the packets.
"""

import functools
import re
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from eruv_dali.video.parameter_sets import (
    NotUnderstood,
    is_picture,
    is_sps,
    prefixed,
    read_sps,
    units_after_start_codes,
)


class Coded(NamedTuple):
    """Size of the coded pictures, and the rectangle of them that is shown, in pixels."""

    height: int
    width: int
    top: int
    left: int
    bottom: int
    right: int


def uncropped_stream(codec: str, private: bytes, packets: Sequence[bytes]) -> tuple[bytes, list[bytes], Coded] | None:
    """A stream without cropping: its extradata, its packets, and the size that all its parameter sets agree on.

    Args:
        codec: "h264" or "hevc".
        private: the stream's extradata, as PyAV gives it; `packets`: in coding order, from a key frame on.

    Returns None if there is no parameter set, they differ in size, or one is not understood.
    """
    sizes: set[Coded] = set()

    def uncrop(unit: bytes) -> bytes:
        if not is_sps(codec, unit):
            return unit
        new, size = uncropped_sps(codec, unit)
        sizes.add(size)
        return new

    try:
        length_bytes, lists, end = prefixed(codec, private)
        if length_bytes:
            header, at = b"", 0
            for begin, until in lists:
                unit = uncrop(private[begin:until])
                header += private[at : begin - 2] + struct.pack(">H", len(unit)) + unit
                at = until
            changed = [_by_length(codec, packet, length_bytes, uncrop) for packet in packets]
            private = header + private[end:]
        else:
            private = _by_start_code(codec, private, uncrop)
            changed = [_by_start_code(codec, packet, uncrop) for packet in packets]
            if private and not any(is_sps(codec, unit) for _, unit in units_after_start_codes(changed[0])):
                changed[0] = private + changed[0]  # nothing else puts them into a stream with start codes
    except (NotUnderstood, struct.error, IndexError):
        return None
    return (private, changed, sizes.pop()) if len(sizes) == 1 else None


@functools.lru_cache(maxsize=1 << 12)
def uncropped_sps(codec: str, unit: bytes) -> tuple[bytes, Coded]:
    """A sequence parameter set, with its header and emulation prevention bytes, that crops nothing; and its size.

    Raises:
        NotUnderstood: it is not as the standard says.
    """
    sps, bits = read_sps(codec, unit)
    left, right, top, bottom = sps.cropping
    height, width, across, down = sps[:4]
    size = Coded(height, width, down * top, across * left, height - down * bottom, width - across * right)
    if not (0 <= size.top < size.bottom <= height and 0 <= size.left < size.right <= width):
        raise NotUnderstood("a sequence parameter set that crops everything")
    if not any((left, right, top, bottom)):
        return unit, size
    changed = bits[: sps.cropping_at + 1] + "1111" + bits[sps.ends_at :].rstrip("0")  # a 1 is the number 0
    changed += "0" * (-len(changed) % 8)
    plain = int(changed, 2).to_bytes(len(changed) // 8, "big")
    # Three bytes that a start code could begin with are kept apart.
    return re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", plain) + unit[len(unit.rstrip(b"\0")) :], size


def _by_length(codec: str, packet: bytes, length_bytes: int, uncrop: Callable[[bytes], bytes]) -> bytes:
    """A packet of units that begin with their length, its parameter sets uncropped."""
    at, parts, copied = 0, [], 0
    while at + length_bytes < len(packet):
        begin = at + length_bytes
        until = begin + int.from_bytes(packet[at:begin], "big")
        if is_picture(codec, packet[begin]):
            break
        unit = packet[begin:until]
        if (new := uncrop(unit)) != unit:
            parts += [packet[copied:at], len(new).to_bytes(length_bytes, "big"), new]
            copied = until
        at = until
    return b"".join([*parts, packet[copied:]]) if parts else packet


def _by_start_code(codec: str, packet: bytes, uncrop: Callable[[bytes], bytes]) -> bytes:
    """A packet of units that begin with start codes, its parameter sets uncropped."""
    parts, copied = [], 0
    for at, unit in units_after_start_codes(packet):
        if unit and is_picture(codec, unit[0]):
            break
        if (new := uncrop(unit)) != unit:
            parts += [packet[copied:at], new]
            copied = at + len(unit)
    return b"".join([*parts, packet[copied:]]) if parts else packet
