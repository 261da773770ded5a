"""Whether an H.264 stream may hold fields (interlaced video), from its sequence parameter set.

(ITU-T H.264, section 7.3.2.1.1 for the set, Annex B and ISO/IEC 14496-15 for how it lies in a file's header.)
"""

import struct

WITH_CHROMA = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)  # profiles whose sets give the chroma


def may_hold_fields(extradata: bytes) -> bool | None:
    """Whether the first set in a stream's extradata allows fields or pairs of them; None: there is no complete set."""
    unit = _first_set(extradata)
    try:
        return None if unit is None else not _frames_only(unit)
    except IndexError:
        return None


def _first_set(extradata: bytes) -> bytes | None:
    """The first sequence parameter set, without start code or length."""
    if extradata[:1] == b"\1":  # as in MP4 and Matroska: 5 bytes, the number of sets, the length of the first
        if len(extradata) < 8 or not extradata[5] & 31:
            return None
        (length,) = struct.unpack_from(">H", extradata, 6)
        return extradata[8 : 8 + length]
    return next((unit for unit in extradata.split(b"\0\0\1")[1:] if unit and unit[0] & 31 == 7), None)


def _frames_only(unit: bytes) -> bool:
    bits = _Bits(unit[1:].replace(b"\0\0\3", b"\0\0"))  # the 3 only keeps start codes from appearing
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    bits.golomb()  # number of the set
    if profile in WITH_CHROMA:
        chroma = bits.golomb()
        if chroma == 3:
            bits.take(1)
        bits.golomb()  # bits per sample
        bits.golomb()
        bits.take(1)
        if bits.take(1):
            for place in range(8 if chroma != 3 else 12):
                if bits.take(1):
                    _skip_scaling(bits, 16 if place < 6 else 64)
    bits.golomb()  # of frame numbers
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()  # reference frames
    bits.take(1)
    bits.golomb()  # width and height in macroblocks
    bits.golomb()
    return bool(bits.take(1))


def _skip_scaling(bits: "_Bits", size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.golomb()
            following = (last + (code + 1) // 2 * (1 if code % 2 else -1)) % 256
        last = following or last


class _Bits:
    """Reads bits from the front. IndexError: there are no more."""

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def take(self, count: int) -> int:
        taken = self._bits[self._at : self._at + count]
        if len(taken) < count:
            raise IndexError
        self._at += count
        return int(taken, 2)

    def golomb(self) -> int:
        """A number in Exp-Golomb code, unsigned."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + (self.take(zeros) if zeros else 0)
