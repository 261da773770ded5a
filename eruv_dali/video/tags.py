"""Whether a file's time stamps identify its frames wherever reading starts.

AVI files and MPEG streams do not state a time for each packet; libav counts from what it read before. In a damaged file
that depends on where it began to read: after a seek every frame may bear the time stamp of another one.
"""

import contextlib
import itertools
from collections.abc import Iterator

import av
import numpy as np

from eruv_dali.video.open import open_video, packets_of, unusable
from eruv_dali.video.place import Location, locate, open_location

# In MP4, MOV, Matroska and WebM every packet has its time. How their files begin: opening one takes milliseconds.
MATROSKA = b"\x1a\x45\xdf\xa3"
ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # after four bytes
SEEKS, COMPARED = 8, 8  # how often to seek, and packets to compare after each


def tags_hold(path: str | Location) -> bool:
    """Whether packets have the same time stamps after some seeks as when the file is read from its start.

    Costs a pass over the file without decoding, of containers that do not state a time for every packet.

    Raises:
        UnusableVideo: the file cannot be opened.
    """
    if _states_times(path):
        return True
    container, stream = open_video(path)
    with container:
        places: dict[int, tuple[int | None, int]] = {}
        keys: list[int] = []
        for packet in _packets(container, stream):
            if (tag := _tag(packet)) is not None:
                places[tag] = packet.pos, packet.size
                if packet.is_keyframe:
                    keys.append(tag)
        chosen = np.linspace(0, len(keys) - 1, min(SEEKS, len(keys))).round().astype(int)
        for number in chosen:
            with contextlib.suppress(av.error.FFmpegError):  # the reader goes further back where it cannot seek
                container.seek(keys[number], stream=stream, backward=True)
                # Before a key frame nothing is decoded.
                packets = itertools.dropwhile(lambda packet: not packet.is_keyframe, _packets(container, stream))
                for packet in itertools.islice(packets, COMPARED):
                    tag = _tag(packet)
                    if tag is not None and places.get(tag) != (packet.pos, packet.size):
                        return False
    return True


def _states_times(path: str | Location) -> bool:
    try:
        with open_location(locate(path)) as file:
            begins = file.read(8)
    except OSError as error:
        raise unusable(error) from None
    return begins.startswith(MATROSKA) or begins[4:] in ATOMS


def _packets(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> Iterator[av.Packet]:
    """The packets from here on, up to where the file is damaged."""
    with contextlib.suppress(av.error.FFmpegError):
        for packet in packets_of(container, stream):
            if packet.size:
                yield packet


def _tag(packet: av.Packet) -> int | None:
    return packet.dts if packet.pts is None else packet.pts
