"""Tables that users edited: videos.csv and segments.csv, read as a spreadsheet or an editor may have left them.

Rows and columns may be in any order, with extra columns, other quotes, a byte order mark, and Windows line ends; rows
may be deleted from both tables, segments may be moved and new ones added. The facts about a video must stay as
`prepare` found them. Everything else is refused with one line that names the file, the line and the value.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from operator import itemgetter
from pathlib import Path

import numpy as np

from eruv_dali.dataset.columns import SEGMENT, SEGMENT_COLUMNS, VideoRow
from eruv_dali.dataset.damage import reading
from eruv_dali.dataset.video_table import frames_and_first
from eruv_dali.errors import EruvError
from eruv_dali.files import printable

FACTS = ("path", "frames", "codec", "rotation", "size", "mtime_ns")  # what loaders rely on; the rest is informational
ROUNDED_FROM = 10**11  # a spreadsheet rounds larger numbers: 1.75360E+18
MOST = np.iinfo(np.int32).max
AT_A_TIME = 1 << 20  # segments: there may be more than memory takes
SHOWN = 40  # characters shown of a wrong value, so that the message stays one line


def read_kept_videos(file: Path, known: Mapping[str, VideoRow]) -> set[str]:
    """The names of the videos that an edited videos.csv still lists.

    Raises:
        EruvError: a video that `prepare` did not write, one listed twice, or one with a changed value in FACTS.
    """
    seen: dict[str, int] = {}
    for line, (name, *cells) in _rows(file, ("video", *FACTS)):
        where = f"{file}: line {line}: video {name[:200]!r}"
        if name not in known:
            raise EruvError(f"{where} is not one that prepare wrote; delete the line, or run prepare on this "
                            "DATASET again")
        if name in seen:
            raise EruvError(f"{where} is also on line {seen[name]}; delete one of them")
        seen[name] = line
        for column, cell in zip(FACTS, cells, strict=True):
            value = getattr(known[name], column)
            if not _says(cell, value):
                raise EruvError(f"{where} has {column} {cell[:200]!r}, prepare found {str(value)!r}; restore it, or "
                                "run prepare on this DATASET again")
    return set(seen)


def read_edited_segments(file: Path, videos: Sequence[VideoRow], kept: set[str]) -> np.ndarray:
    """(S,) SEGMENT of an edited segments.csv; `video` is a position in `videos`, those outside `kept` are refused.

    Raises:
        EruvError: a segment that does not lie within its video, or whose number is used twice.
    """
    place = {video.name: number for number, video in enumerate(videos)}
    lines, table = [], []
    for line, (segment, name, *cells) in _rows(file, SEGMENT_COLUMNS):
        if name not in kept:
            raise EruvError(
                f"{file}: line {line}: video {name[:200]!r} " + (
                    "is no longer in videos.csv; delete its lines from both tables or neither" if name in place else
                    "is not in this DATASET; use the names in videos.csv"))
        try:
            shot, start, end = map(int, cells)
            table.append((int(segment), place[name], shot, start, end))
        except ValueError:
            wrong = next(cell for cell in (segment, *cells) if not _is_whole(cell))
            raise EruvError(f"{file}: line {line}: {wrong[:SHOWN]!r} is not an integer; segment, shot, start and end "
                            "must be") from None
        lines.append(line)
    try:
        numbers = np.array(table, np.int64).reshape(-1, len(SEGMENT_COLUMNS))
    except OverflowError:
        numbers = np.array([[min(max(number, -1), MOST + 1) for number in row] for row in table], np.int64)
    for row, column in np.argwhere((numbers < 0) | (numbers > MOST)):
        raise EruvError(f"{file}: line {lines[row]}: {SEGMENT_COLUMNS[column]} {str(table[row][column])[:SHOWN]} must "
                        f"lie between 0 and {MOST}")
    segments = np.empty(len(table), SEGMENT)
    for number, column in enumerate(SEGMENT_COLUMNS):
        segments[column] = numbers[:, number]
    if (outside := first_outside(segments, videos)) is not None:
        _, video, _, start, end = table[outside]
        raise EruvError(f"{file}: line {lines[outside]}: start {start}, end {end} must satisfy 0 <= start < end <= "
                        f"{videos[video].frames}, the frames of {videos[video].name}")
    _, first, inverse = np.unique(numbers[:, 0], return_index=True, return_inverse=True)
    for row in np.flatnonzero(first[inverse] != np.arange(len(numbers))):
        raise EruvError(f"{file}: line {lines[row]}: segment {table[row][0]} is also on line "
                        f"{lines[first[inverse[row]]]}; give it a unique number")
    return segments


def first_outside(segments: np.ndarray, videos: Sequence[VideoRow]) -> int | None:
    """The position of the first of these SEGMENTs that does not lie within its video, or None."""
    frames = np.append(frames_and_first(videos)[0], 0)  # 0: of no video
    for first in range(0, len(segments), AT_A_TIME):
        _, video, _, start, end = (segments[name][first : first + AT_A_TIME] for name in SEGMENT_COLUMNS)
        known = np.where((video >= 0) & (video < len(videos)), video, len(videos))
        good = (start >= 0) & (start < end) & (end <= frames[known])
        if not good.all():
            return first + int(np.argmin(good))
    return None


def _rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The number of each line and its cells in these columns. Blank lines are skipped."""
    with reading(file), open(file, newline="", encoding="utf-8-sig") as opened:
        rows = csv.reader(opened)
        header = next(rows, [])
        for column in columns:
            if header.count(column) != 1:
                raise EruvError(f"{file}: needs one column {column!r}, has {','.join(header)[:100]!r} (separated by "
                                "commas); run prepare on this DATASET again")
        width, chosen = len(header), itemgetter(*map(header.index, columns))
        for row in rows:
            if len(row) != width:
                row += [""] * (width - len(row))
            if len(row) > width and any(row[width:]):
                raise EruvError(f"{file}: line {rows.line_num}: has {len(row)} cells, the first line has {width}; fix "
                                "it, or run prepare on this DATASET again")
            cells = chosen(row)
            if any(cells):
                yield rows.line_num, cells


def _says(cell: str, value: object) -> bool:
    """Whether a cell still has the written value; a spreadsheet may have rounded a large number to 5 or more digits."""
    if not isinstance(value, int):
        return cell == printable(str(value))
    try:
        number = Decimal(cell.strip())
    except InvalidOperation:
        return False
    if number == value or not number.is_finite() or value < ROUNDED_FROM:
        return number == value
    exponent = number.normalize().as_tuple().exponent
    assert isinstance(exponent, int)  # the number is finite
    # Zeros at the end of the digits may be left out: 1.79600E+18 is 1.796E+18 to some.
    return abs(number - value) <= Decimal(10) ** min(exponent, number.adjusted() - 4)


def _is_whole(cell: str) -> bool:
    try:
        int(cell)
    except ValueError:
        return False
    return True
