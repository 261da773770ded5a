"""Slices of files whose index does not say where packets lie: a demuxer finds them, nothing is encoded again."""

from collections.abc import Iterable

import av
import numpy as np

from eruv_dali.video.byte_slice import REORDERED
from eruv_dali.video.colour import colour_of
from eruv_dali.video.index import FrameIndex
from eruv_dali.video.video_slice import VideoSlice, make_slice


def cut_slice(
    stream: av.video.stream.VideoStream, arriving: Iterable[av.Packet], index: FrameIndex, wanted: np.ndarray,
    first: int,
) -> VideoSlice | None:
    """A slice of the packets that frames `wanted` (ascending) need.

    `arriving` are the packets of `stream` from a position at or before key frame `first` on. None if the container's
    own order of packets does not reliably tell which frame is which, or see `make_slice`.
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
        # Packets are in coding order: every frame shown up to `last_pts` has arrived once decoding times pass it. The
        # first packets of a Matroska file with B-frames have no decoding times.
        if packet.dts is None:
            if len(packets) > wanted[-1] - first + REORDERED:
                break
        elif packet.dts > last_pts or packet.dts == packet.pts == last_pts:
            break
    shown = np.sort(np.array([packet.pts for packet in packets], np.int64))
    position = np.searchsorted(shown, index.pts[wanted])
    if len(shown) <= position[-1] or not np.array_equal(shown[position], index.pts[wanted]):
        return None
    frames = index.pts[first : wanted[-1] + 1]
    if not np.array_equal(shown[: len(frames)], frames):
        return None  # packets and frames do not match one to one: counting would go wrong
    codec = stream.codec_context
    times = np.searchsorted(shown, np.array([packet.pts for packet in packets], np.int64))
    return make_slice(codec.codec.canonical_name, bytes(codec.extradata or b""), codec.height, codec.width,
                      colour_of(codec)[0], [bytes(packet) for packet in packets],
                      [packet.is_keyframe for packet in packets], times.tolist(), position)
