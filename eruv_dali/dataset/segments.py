"""Segments: pieces of one shot, short enough that two clips of a piece almost surely show the same action."""

from collections.abc import Iterable

SEGMENT_LENGTH = 300  # frames; the paper's K
MIN_LENGTH = 48  # frames; shorter tails are dropped, as in UntrimmedNets' THUMOS14 lists


def cut_segments(
    shots: Iterable[tuple[int, int]], *, length: int = SEGMENT_LENGTH, min_length: int = MIN_LENGTH
) -> list[tuple[int, int, int]]:
    """Cut shots (start, end exclusive, in frames) into segments of at most `length` frames (ERUV, section III-A).

    The tail of a shot is kept if it has at least `min_length` frames. Returns (shot number, start, end) of each.
    """
    return [
        (shot, first, min(first + length, end))
        for shot, (start, end) in enumerate(shots)
        for first in range(start, end, length)
        if min(first + length, end) - first >= min_length
    ]
