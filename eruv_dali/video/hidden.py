"""Packets that are not one picture shown: hidden pictures, pictures shown again, several pictures, or none.

libav's decoders deal with them. DALI's GPU decoder takes every decoded picture for one that is shown (2.4.0), so that
after such a packet it delivers the neighbours of the wanted frames.
"""

from collections.abc import Callable

VOP = b"\0\0\1\xb6"  # what begins a picture of MPEG-4
LARGEST_EMPTY_VOP = 19  # bytes; libav's bound for one that says "nothing was coded"


def vp8_hides(packet: bytes) -> bool:
    """The picture is only a reference. (RFC 6386, section 9.1.)"""
    return not packet[0] & 0x10


def vp9_hides(packet: bytes) -> bool:
    """Several pictures in one packet, of which one is shown; or one that is not; or the number of an earlier one.

    (VP9 Bitstream & Decoding Process Specification, section 6.2 and annex B.)
    """
    last = packet[-1]
    if last & 0xE0 == 0xC0 and last & 7:  # the index of several pictures; it also begins with this byte
        size = 2 + ((last >> 3 & 3) + 1) * ((last & 7) + 1)
        if len(packet) >= size and packet[-size] == last:
            return True
    header = packet[0] << 1 if packet[0] & 0x30 == 0x30 else packet[0]  # profile 3 has one more bit before these
    shown_again, shown = header & 8, header & 2
    return bool(shown_again) or not shown


def mpeg4_hides(packet: bytes) -> bool:
    """Several pictures in one packet ("packed bitstream", as DivX writes it), or none coded."""
    return packet.count(VOP) != 1 or len(packet) - packet.index(VOP) <= LARGEST_EMPTY_VOP


HIDES: dict[str, Callable[[bytes], bool]] = {"vp8": vp8_hides, "vp9": vp9_hides, "mpeg4": mpeg4_hides}
