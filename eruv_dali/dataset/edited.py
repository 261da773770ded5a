"""Tables that people edited: videos.csv and segments.csv, read as a spreadsheet or an editor may have left them.

Rows and columns may stand in any order, with more columns, other quotes, a byte order mark, and Windows line ends; rows
may be taken out of both tables, segments may be moved and new ones written. What a video is stays as `prepare` found
it. Everything else is refused with one line that names the file, the line and the value.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from operator import itemgetter
from pathlib import Path

import numpy as np

from eruv_dali.dataset.columns import SEGMENT, SEGMENT_COLUMNS, VideoRow
from eruv_dali.dataset.damage import reading
from eruv_dali.errors import EruvError

FACTS = ("path", "frames", "codec", "rotation", "size", "mtime_ns")  # what loaders rely on; the rest is for people
ROUNDED_FROM = 10**11  # a spreadsheet writes larger numbers with fewer digits: 1.75360E+18
MOST = np.iinfo(np.int32).max
SHOWN = 40  # characters of a wrong value, for the message to stay one line


def read_kept_videos(file: Path, known: Mapping[str, VideoRow]) -> set[str]:
    """The names that an edited videos.csv has left.

    Raises:
        EruvError: a video that `prepare` did not write, or twice, or with another value in one of FACTS.
    """
    seen: dict[str, int] = {}
    for line, (name, *cells) in _rows(file, ("video", *FACTS)):
        where = f"{file}: line {line}: video {name[:200]!r}"
        if name not in known:
            raise EruvError(f"{where} is not one that prepare wrote; take the line out, or run prepare on this "
                            "DATASET again")
        if name in seen:
            raise EruvError(f"{where} stands on line {seen[name]} too; take one of them out")
        seen[name] = line
        for column, cell in zip(FACTS, cells, strict=True):
            value = getattr(known[name], column)
            if not _says(cell, value):
                raise EruvError(f"{where} has {column} {cell[:200]!r}, prepare found {str(value)!r}; put it back, or "
                                "run prepare on this DATASET again")
    return set(seen)


def read_edited_segments(file: Path, videos: Sequence[VideoRow], kept: set[str]) -> np.ndarray:
    """(S,) SEGMENT of an edited segments.csv; `video` is a position in `videos`, those outside `kept` are refused.

    Raises:
        EruvError: a segment that does not lie within its video, or whose number is not its own.
    """
    place = {video.video: number for number, video in enumerate(videos)}
    lines, table = [], []
    for line, (segment, name, *cells) in _rows(file, SEGMENT_COLUMNS):
        if name not in kept:
            raise EruvError(
                f"{file}: line {line}: video {name[:200]!r} " + (
                    "is not in videos.csv any more; take its lines out of both tables, or of none" if name in place else
                    "is not in this DATASET; its names are those of videos.csv"))
        try:
            shot, start, end = map(int, cells)
            table.append((int(segment), place[name], shot, start, end))
        except ValueError:
            wrong = next(cell for cell in (segment, *cells) if not _is_whole(cell))
            raise EruvError(f"{file}: line {line}: {wrong[:SHOWN]!r} is no whole number; segment, shot, start and end "
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
                        f"{videos[video].frames}, the frames of {videos[video].video}")
    _, first, inverse = np.unique(numbers[:, 0], return_index=True, return_inverse=True)
    for row in np.flatnonzero(first[inverse] != np.arange(len(numbers))):
        raise EruvError(f"{file}: line {lines[row]}: segment {table[row][0]} stands on line "
                        f"{lines[first[inverse[row]]]} too; give it a number of its own")
    return segments


def first_outside(segments: np.ndarray, videos: Sequence[VideoRow]) -> int | None:
    """The place of the first of these SEGMENTs that does not lie within its video, or None."""
    frames = np.array([video.frames for video in videos], np.int64)
    known = (segments["video"] >= 0) & (segments["video"] < len(frames))
    length = np.zeros(len(segments), np.int64)
    length[known] = frames[segments["video"][known]]
    good = (segments["start"] >= 0) & (segments["start"] < segments["end"]) & (segments["end"] <= length)
    return None if good.all() else int(np.argmin(good))


def _rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The number of each line and its cells in these columns. Lines without a word in them are passed over."""
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
                raise EruvError(f"{file}: line {rows.line_num}: has {len(row)} cells, the first line has {width}; mend "
                                "it, or run prepare on this DATASET again")
            cells = chosen(row)
            if any(cells):
                yield rows.line_num, cells


def _says(cell: str, value: object) -> bool:
    """A cell still says what was written; a spreadsheet may have rounded a large number, to 5 digits or more."""
    if not isinstance(value, int):
        return cell == str(value)
    try:
        number = Decimal(cell.strip())
    except InvalidOperation:
        return False
    if number == value or not number.is_finite() or value < ROUNDED_FROM:
        return number == value
    _, digits, exponent = number.normalize().as_tuple()
    assert isinstance(exponent, int)  # the number is finite
    return len(digits) >= 5 and abs(number - value) <= Decimal(10) ** exponent


def _is_whole(cell: str) -> bool:
    try:
        int(cell)
    except ValueError:
        return False
    return True
