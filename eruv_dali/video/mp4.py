"""The packets of an MP4 or MOV file from its header alone: which there are, where they lie, when they are shown.

libav's index of such a file (`stream.index_entries`) has every packet's place, size and key flag, but not the time at
which it is shown, only the one at which it is decoded; for streams with B-frames the difference is in the box `ctts`,
which libav does not give away and which is read here. What is not plain (fragments, several edits, packets hidden by an
edit list, a truncated file) is left to reading the packets themselves.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np

from eruv_dali.video.place import Location, locate, open_location

LARGEST_HEADER = 1 << 28  # bytes; that of a 24-hour video at 60 frames/s is about 100 MB
HOLDERS = (b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl")  # boxes that hold only boxes


@dataclass(frozen=True, eq=False)
class Packets:
    """Packets of one stream, in coding order.

    Attributes:
        pts: (N,) int64 time stamps, in the stream's time base, NO_PTS if there is none; key: (N,) bool, key frames.
        offset, size: (N,) int64, where their bytes lie in the file; size 0 if that is not known.
    """

    pts: np.ndarray
    key: np.ndarray
    offset: np.ndarray
    size: np.ndarray

    def begin_with(self, first: "Packets") -> bool:
        """Whether `first` are the first of these packets."""
        count = len(first.pts)
        return all(np.array_equal(mine[:count], given) for mine, given in (
            (self.pts, first.pts), (self.key, first.key), (self.offset, first.offset), (self.size, first.size)))


def packets_from_header(
    path: str | Location, container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> Packets | None:
    """The packets of an opened MP4 or MOV file, without reading its data; None if its header does not surely tell.

    The time stamps count from the first packet's, which is 0: what an edit list adds to all of them is not in the
    header's table. Compare the first packets read with the result, shifted (see `index.index_video`).
    """
    if not is_mp4(container):
        return None
    entries = [(e.timestamp, e.is_keyframe, e.pos, e.size, e.is_discard) for e in stream.index_entries]
    delays = _delays(path, stream.id, len(entries)) if entries else None
    if delays is None:
        return None
    decoded, key, offset, size, hidden = (np.array(column) for column in zip(*entries, strict=True))
    if hidden.any() or offset.min() < 0 or size.min() <= 0 or (offset + size).max() > locate(path).stat().st_size:
        return None
    pts = decoded + delays
    return Packets(pts - pts[0], key, offset, size)


def is_mp4(container: av.container.InputContainer) -> bool:
    """Whether libav's demuxer for MP4 and MOV reads this file: its packets lie in the file byte for byte."""
    return "mp4" in container.format.name.split(",")


def _delays(path: str | Location, track: int, count: int) -> np.ndarray | None:
    """(count,) int64: how long after its decoding time each sample of a track is shown; None if that cannot be told."""
    header = _header(path)
    if header is None:
        return None
    try:
        tracks = [boxes for boxes in _tracks(header) if _track_number(boxes[b"tkhd"]) == track]
        if len(tracks) != 1 or not _one_edit(tracks[0].get(b"elst")):
            return None
        if struct.unpack_from(">I", tracks[0][b"stsz"], 8) != (count,):
            return None
        if b"ctts" not in tracks[0]:
            return np.zeros(count, np.int64)
        runs = np.frombuffer(tracks[0][b"ctts"], ">i4", offset=8).reshape(-1, 2)
    except (KeyError, ValueError, IndexError, struct.error):
        return None
    lengths = runs[:, 0].astype(np.int64)
    if len(runs) == 0 or lengths.min() < 0 or lengths.sum() != count:
        return None
    return np.repeat(runs[:, 1].astype(np.int64), lengths)


def _header(path: str | Location) -> bytes | None:
    """The content of the file's only box `moov`; None if it has none, several, or one for fragments."""
    found: list[bytes] = []
    with open_location(locate(path)) as file:
        at, end = 0, file.seek(0, os.SEEK_END)
        while at + 8 <= end:
            file.seek(at)
            size, kind = struct.unpack(">I4s", file.read(8))
            skip = 8
            if size == 1 and at + 16 <= end:
                (size,), skip = struct.unpack(">Q", file.read(8)), 16
            size = size or end - at  # 0: up to the end of the file
            if size < skip or kind == b"moof":
                return None
            if kind == b"moov":
                if size > LARGEST_HEADER:
                    return None
                found.append(file.read(size - skip))
            at += size
    return found[0] if len(found) == 1 else None


def _tracks(header: bytes) -> Iterator[dict[bytes, bytes]]:
    """The innermost boxes of each track, by their kind."""
    for kind, content in _boxes(header):
        if kind == b"trak":
            yield dict(_innermost(content))


def _innermost(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    for kind, inner in _boxes(content):
        if kind in HOLDERS:
            yield from _innermost(inner)
        else:
            yield kind, inner


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind and content of each box in the content of another. ValueError: its size cannot be right."""
    at = 0
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        if size < 8 or at + size > len(content):
            raise ValueError(f"box of {size} bytes")
        yield kind, content[at + 8 : at + size]
        at += size


def _track_number(tkhd: bytes) -> int:
    (number,) = struct.unpack_from(">I", tkhd, 20 if tkhd[0] else 12)
    return number


def _one_edit(elst: bytes | None) -> bool:
    """Whether the whole of a track is shown in one piece, at its own speed, as far as the edit list's form tells."""
    if elst is None:
        return True
    edit = struct.Struct(">QqI" if elst[0] else ">IiI")
    edits = [edit.unpack_from(elst, 8 + edit.size * number) for number in range(struct.unpack_from(">I", elst, 4)[0])]
    shown = [speed for _, start, speed in edits if start != -1]  # -1: nothing is shown, which only delays the rest
    return len(shown) <= 1 and all(speed == 1 << 16 for speed in shown)
