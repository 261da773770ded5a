"""Slices: the packets that some frames need, remuxed in memory without re-encoding.

DALI's decoder seeks linearly, so it must never get a whole long file. A slice is a small Matroska file of the
packets from a key frame on.
"""

import io
from collections.abc import Iterable
from fractions import Fraction

import av
import numpy as np

from eruv_dali.video.index import FrameIndex


def cut_slice(
    stream: av.video.stream.VideoStream, arriving: Iterable[av.Packet], index: FrameIndex, wanted: np.ndarray,
    first: int,
) -> tuple[bytes, np.ndarray] | None:
    """Put the packets that frames `wanted` (ascending) need into a Matroska file in memory.

    `arriving` are the packets of `stream` from a position at or before key frame `first` on. Returns the file and the
    position of each wanted frame in it (int32), or None if the container's own order of packets does not reliably
    tell which frame is which.
    """
    start_pts, last_pts = index.pts[first], index.pts[wanted[-1]]
    packets: list[av.Packet] = []
    for packet in arriving:
        if packet.size == 0 or packet.pts is None:
            continue
        if not packets and packet.pts != start_pts:
            if packet.pts > start_pts:
                return None  # the seek landed after the key frame
            continue
        if packet.pts < start_pts or packet.is_discard:
            continue  # shown before the key frame (an open GOP), or hidden by an edit list
        packets.append(packet)
        # Packets are in coding order: every frame shown up to `last_pts` has arrived once decoding times pass it.
        top = packet.dts if packet.dts is not None else packet.pts
        if top > last_pts or (top == last_pts and packet.pts == last_pts):
            break
    shown = np.sort(np.array([packet.pts for packet in packets], np.int64))
    position = np.searchsorted(shown, index.pts[wanted])
    if len(shown) <= position[-1] or not np.array_equal(shown[position], index.pts[wanted]):
        return None
    frames = index.pts[first : wanted[-1] + 1]
    if not np.array_equal(shown[: len(frames)], frames):
        return None  # packets and frames do not match one to one: counting would go wrong
    return mux(stream, packets, shown), position.astype(np.int32)


def mux(stream: av.video.stream.VideoStream, packets: list[av.Packet], shown: np.ndarray) -> bytes:
    """Write packets into a Matroska file with time stamps that only count frames (1 ms each, Matroska's unit)."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        target = output.add_stream_from_template(stream)
        tick = Fraction(1, 1000)
        rank = np.searchsorted(shown, np.array([packet.pts for packet in packets], np.int64))
        delay = int(max(0, np.max(np.arange(len(packets)) - rank)))
        for place, packet in enumerate(packets):
            packet.stream = target
            packet.time_base = tick
            packet.pts = int(rank[place]) + delay
            packet.dts = place
            output.mux(packet)
    return buffer.getvalue()
