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
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

# With these profiles a parameter set of H.264 tells the chroma format.
HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
START = b"\0\0\1"
CHROMA_STEPS = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}  # pixels of luma to one of chroma: across, down


class Coded(NamedTuple):
    """Size of the coded pictures, and the rectangle of them that is shown, in pixels."""

    height: int
    width: int
    top: int
    left: int
    bottom: int
    right: int


class NotUnderstood(Exception):
    """A parameter set that is not as the standard says."""


def uncropped_stream(codec: str, private: bytes, packets: Sequence[bytes]) -> tuple[bytes, list[bytes], Coded] | None:
    """A stream without cropping: its extradata, its packets, and the size that all its parameter sets agree on.

    Args:
        codec: "h264" or "hevc".
        private: the stream's extradata, as PyAV gives it; `packets`: in coding order, from a key frame on.

    Returns None if there is no parameter set, they differ in size, or one is not understood.
    """
    sizes: set[Coded] = set()

    def uncrop(unit: bytes) -> bytes:
        if not _is_sps(codec, unit):
            return unit
        new, size = uncropped_sps(codec, unit)
        sizes.add(size)
        return new

    try:
        length_bytes, lists, end = _prefixed(codec, private)
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
            if private and not any(_is_sps(codec, unit) for _, unit in _units(changed[0])):
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
    coded = unit.rstrip(b"\0")  # the last bit of a set is a 1; zeros may follow, before a start code
    bits = _Bits(coded.replace(b"\0\0\3", b"\0\0"))
    try:
        height, width, across, down, begin = _hevc_size(bits) if codec == "hevc" else _h264_size(bits)
        left, right, top, bottom = (bits.ue() for _ in range(4)) if bits.u(1) else (0, 0, 0, 0)
    except (IndexError, KeyError, ValueError):
        raise NotUnderstood("a sequence parameter set that ends early") from None
    size = Coded(height, width, down * top, across * left, height - down * bottom, width - across * right)
    if not (0 <= size.top < size.bottom <= height and 0 <= size.left < size.right <= width):
        raise NotUnderstood("a sequence parameter set that crops everything")
    if not any((left, right, top, bottom)):
        return unit, size
    changed = bits.text[: begin + 1] + "1111" + bits.text[bits.at :].rstrip("0")  # a 1 is the number 0
    changed += "0" * (-len(changed) % 8)
    plain = int(changed, 2).to_bytes(len(changed) // 8, "big")
    # Three bytes that a start code could begin with are kept apart.
    return re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", plain) + unit[len(coded) :], size


class _Bits:
    """Reads a parameter set bit by bit."""

    def __init__(self, data: bytes) -> None:
        self.text, self.at = f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}", 0

    def u(self, count: int) -> int:
        """An unsigned number of `count` bits."""
        self.at += count
        if self.at > len(self.text):
            raise IndexError
        return int(self.text[self.at - count : self.at] or "0", 2)

    def ue(self) -> int:
        """An Exp-Golomb number: as many zeros as bits follow the first 1."""
        zeros = self.text.index("1", self.at) - self.at
        self.at += zeros
        return self.u(zeros + 1) - 1

    def se(self) -> int:
        """A signed one: 0, 1, -1, 2, -2 …"""
        number = self.ue()
        return (number + 1) // 2 if number % 2 else -(number // 2)


def _h264_size(bits: _Bits) -> tuple[int, int, int, int, int]:
    """Height and width, pixels across and down in a unit of cropping, and where the flag of cropping is."""
    bits.u(8)
    profile = bits.u(8)
    bits.u(16)
    bits.ue()
    chroma, planes = 1, 0
    if profile in HIGH_PROFILES:
        chroma = bits.ue()
        planes = bits.u(1) if chroma == 3 else 0
        bits.ue()
        bits.ue()
        bits.u(1)
        if bits.u(1):
            _skip_scaling_lists(bits, 12 if chroma == 3 else 8)
    bits.ue()
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.u(1)
        bits.se()
        bits.se()
        for _ in range(bits.ue()):
            bits.se()
    bits.ue()
    bits.u(1)
    width, height = 16 * (bits.ue() + 1), 16 * (bits.ue() + 1)
    fields = 1
    if not bits.u(1):
        fields = 2  # the height is that of a field
        bits.u(1)
    bits.u(1)
    across, down = (1, 1) if planes else CHROMA_STEPS[chroma]
    return height * fields, width, across, down * fields, bits.at


def _skip_scaling_lists(bits: _Bits, count: int) -> None:
    for number in range(count):
        if not bits.u(1):
            continue
        last = 8
        for _ in range(16 if number < 6 else 64):
            last = (last + bits.se()) % 256
            if last == 0:  # the rest is as before
                break


def _hevc_size(bits: _Bits) -> tuple[int, int, int, int, int]:
    """As _h264_size."""
    bits.u(16 + 4)
    sub_layers = bits.u(3)
    bits.u(1 + 88 + 8)
    told = [(bits.u(1), bits.u(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.u(2 * (8 - sub_layers))
    for profile, level in told:
        bits.u(88 * profile + 8 * level)
    bits.ue()
    chroma = bits.ue()
    if chroma == 3:
        bits.u(1)
    width, height = bits.ue(), bits.ue()
    return height, width, *CHROMA_STEPS[chroma], bits.at


def _is_sps(codec: str, unit: bytes) -> bool:
    if codec == "hevc":  # of the base layer; those of others are written differently
        return len(unit) > 2 and unit[0] >> 1 == 33 and not (unit[0] & 1 or unit[1] >> 3)
    return len(unit) > 3 and unit[0] & 31 == 7


def _is_picture(codec: str, first: int) -> bool:
    """Whether a unit with this first byte is part of a picture; the parameter sets of a packet are before them."""
    return first >> 1 < 32 if codec == "hevc" else 1 <= first & 31 <= 5


def _prefixed(codec: str, private: bytes) -> tuple[int, list[tuple[int, int]], int]:
    """Of extradata as in MP4: bytes of a unit's length in the packets, where parameter sets begin and end in it, and
    where the last of them ends. No bytes: units have start codes.
    """
    if len(private) < 7 or private.startswith((START, b"\0" + START)):
        return 0, [], 0
    if codec == "h264" and private[0] != 1:
        raise NotUnderstood("extradata of another kind")
    found = []
    if codec == "hevc":
        length_bytes, arrays, at = (private[21] & 3) + 1, private[22], 23
    else:
        length_bytes, arrays, at = (private[4] & 3) + 1, 1, 5
    for _ in range(arrays):
        if codec == "hevc":
            count, at = struct.unpack_from(">H", private, at + 1)[0], at + 3
        else:
            count, at = private[at] & 31, at + 1
        for _ in range(count):
            (size,) = struct.unpack_from(">H", private, at)
            found.append((at + 2, at + 2 + size))
            at += 2 + size
    if at > len(private):
        raise NotUnderstood("extradata that ends early")
    return length_bytes, found, at


def _by_length(codec: str, packet: bytes, length_bytes: int, uncrop: Callable[[bytes], bytes]) -> bytes:
    """A packet of units that begin with their length, its parameter sets uncropped."""
    at, parts, copied = 0, [], 0
    while at + length_bytes < len(packet):
        begin = at + length_bytes
        until = begin + int.from_bytes(packet[at:begin], "big")
        if _is_picture(codec, packet[begin]):
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
    for at, unit in _units(packet):
        if unit and _is_picture(codec, unit[0]):
            break
        if (new := uncrop(unit)) != unit:
            parts += [packet[copied:at], new]
            copied = at + len(unit)
    return b"".join([*parts, packet[copied:]]) if parts else packet


def _units(packet: bytes) -> Iterator[tuple[int, bytes]]:
    """The units of a packet with start codes, and where each begins."""
    at = packet.find(START)
    while at >= 0:
        following = packet.find(START, at + 3)
        unit = packet[at + 3 : following if following >= 0 else len(packet)]
        yield at + 3, unit
        at = following
