"""Parameter sets of H.264 and HEVC: where they lie in a stream, and what a sequence parameter set (SPS) says.

(ITU-T H.264, section 7.3.2.1.1 and Annex B; H.265, 7.3.2.2.1; ISO/IEC 14496-15 for a file's header, the extradata.)
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

# With these profiles a parameter set of H.264 tells the chroma format.
HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
START = b"\0\0\1"
CHROMA_STEPS = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}  # pixels of luma to one of chroma: across, down


class NotUnderstood(Exception):
    """A parameter set, or extradata, that is not as the standard says."""


class Sps(NamedTuple):
    """What an SPS says.

    Attributes:
        height, width: of the coded pictures, pixels; `across`, `down`: pixels in a unit of cropping.
        frames_only: there are no fields. True of HEVC, whose fields are pictures of their own.
        cropping_at: the bit at which the flag of cropping lies.
        cropping: left, right, top and bottom, in units; `ends_at`: the bit after them.
    """

    height: int
    width: int
    across: int
    down: int
    frames_only: bool
    cropping_at: int
    cropping: tuple[int, int, int, int]
    ends_at: int


def is_sps(codec: str, unit: bytes) -> bool:
    """Whether a unit, with its header, is an SPS."""
    if codec == "hevc":  # of the base layer; those of others are written differently
        return len(unit) > 2 and unit[0] >> 1 == 33 and not (unit[0] & 1 or unit[1] >> 3)
    return len(unit) > 3 and unit[0] & 31 == 7


def is_picture(codec: str, first: int) -> bool:
    """Whether a unit with this first byte is part of a picture; the parameter sets of a packet are before them."""
    return first >> 1 < 32 if codec == "hevc" else 1 <= first & 31 <= 5


def prefixed(codec: str, private: bytes) -> tuple[int, list[tuple[int, int]], int]:
    """Of extradata as in MP4: bytes of a unit's length in the packets, where parameter sets begin and end in it, and
    where the last of them ends. No bytes: units have start codes.

    Raises:
        NotUnderstood, struct.error, IndexError: extradata of another kind, or that ends early.
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


def units_after_start_codes(packet: bytes) -> Iterator[tuple[int, bytes]]:
    """The units of a packet with start codes, and where each begins."""
    at = packet.find(START)
    while at >= 0:
        following = packet.find(START, at + 3)
        unit = packet[at + 3 : following if following >= 0 else len(packet)]
        yield at + 3, unit
        at = following


def read_sps(codec: str, unit: bytes) -> tuple[Sps, str]:
    """What an SPS says, and its bits, "0" and "1", without emulation prevention bytes.

    Raises:
        NotUnderstood: it is not as the standard says.
    """
    # The last bit of a set is a 1; zeros may follow, before a start code. A 3 after two zeros only keeps start codes
    # from appearing.
    bits = _Bits(unit.rstrip(b"\0").replace(b"\0\0\3", b"\0\0"))
    try:
        height, width, across, down, frames_only = _hevc_size(bits) if codec == "hevc" else _h264_size(bits)
        at = bits.at
        left, right, top, bottom = (bits.ue() for _ in range(4)) if bits.u(1) else (0, 0, 0, 0)
    except (IndexError, KeyError, ValueError):
        raise NotUnderstood("a sequence parameter set that ends early") from None
    return Sps(height, width, across, down, frames_only, at, (left, right, top, bottom), bits.at), bits.text


def may_hold_fields(extradata: bytes) -> bool | None:
    """Whether the first SPS in an H.264 stream's extradata allows fields or pairs of them (interlaced video); None:
    there is no complete one."""
    try:
        length_bytes, places, _ = prefixed("h264", extradata)
        sets = ([extradata[begin:end] for begin, end in places] if length_bytes else
                [unit for _, unit in units_after_start_codes(extradata) if is_sps("h264", unit)])
        return not read_sps("h264", sets[0])[0].frames_only if sets else None
    except (NotUnderstood, struct.error, IndexError):
        return None


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


def _h264_size(bits: _Bits) -> tuple[int, int, int, int, bool]:
    """Height and width, pixels across and down in a unit of cropping, and whether there are only frames."""
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
    frames_only = bool(bits.u(1))
    fields = 1 if frames_only else 2  # the height is that of a field
    if not frames_only:
        bits.u(1)
    bits.u(1)
    across, down = (1, 1) if planes else CHROMA_STEPS[chroma]
    return height * fields, width, across, down * fields, frames_only


def _skip_scaling_lists(bits: _Bits, count: int) -> None:
    for number in range(count):
        if not bits.u(1):
            continue
        last = 8
        for _ in range(16 if number < 6 else 64):
            last = (last + bits.se()) % 256
            if last == 0:  # the rest is as before
                break


def _hevc_size(bits: _Bits) -> tuple[int, int, int, int, bool]:
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
    return height, width, *CHROMA_STEPS[chroma], True
