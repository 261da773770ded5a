"""Edited tables of a DATASET: what means no harm delivers the right pixels, the rest is refused in one line."""

import csv
import json
import os

import pytest
from editing import EVERY, FRAMES, PACKS, delivered, edit, rows_of, says, set_cell, write_rows

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.seal import SEAL, Seal, mark_of


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("column", ["codec", "mtime_ns"])
def test_videos_sorted_in_a_spreadsheet(copy_of, pack, column):
    """Delivered other videos' pixels when frames and packs were found by their place in the table."""
    folder = copy_of(pack)
    header, *rows = rows_of(folder / "videos.csv")
    ordered = sorted(rows, key=lambda row: row[header.index(column)], reverse=column == "mtime_ns")
    assert ordered != rows
    write_rows(folder / "videos.csv", [header, *ordered])
    assert delivered(folder) == EVERY  # and in the same order as before


def test_what_spreadsheets_do_to_a_table(copy_of):
    """A byte order mark, Windows line ends, quotes, columns moved and added, empty lines, 19 digits rounded."""
    folder = copy_of()
    for name, rounded in (("videos.csv", "mtime_ns"), ("segments.csv", None)):
        header, *rows = rows_of(folder / name)
        if rounded:
            at = header.index(rounded)
            for row, places in zip(rows, (5, 14, 5), strict=True):
                row[at] = f"{int(row[at]):.{places}E}"
        rows = [[*row[::-1], "mine"] for row in [header, *rows[::-1]]] + [[""] * (len(header) + 1), []]
        rows[0][-1] = "remark"
        write_rows(folder / name, rows, encoding="utf-8-sig", quoting=csv.QUOTE_ALL)
    assert sorted(delivered(folder)) == EVERY


def test_a_video_taken_out_of_both_tables_is_gone(copy_of):
    folder = copy_of()
    for name in ("videos.csv", "segments.csv"):
        edit(folder / name, lambda rows: [row for row in rows if "a.mp4" not in row])
    dataset = Dataset(folder)
    assert [video.name for video in dataset.videos] == ["b.webm", "c.mp4"]
    assert dataset.segments["video"].tolist() == [0, 1]
    assert delivered(folder) == EVERY[FRAMES // 16 :]


def test_segments_moved_and_added(copy_of):
    folder = copy_of()
    write_rows(folder / "segments.csv", [["segment", "video", "shot", "start", "end"], [7, "c.mp4", 0, 20, 36],
                                         [8, "c.mp4", 0, 10, 64], [3, "a.mp4", 4, 48, 64]])
    assert delivered(folder) == ["c.mp4"] * 4 + ["a.mp4"]


@pytest.mark.parametrize("pack", PACKS)
def test_a_copy_is_checked_once(copy_of, pack):
    folder = copy_of(pack)
    for path in folder.rglob("*.*"):
        os.utime(path, (1, 1))
    assert delivered(folder) == EVERY
    assert all(map(Seal(folder).untouched, ("frames.npy", "videos.csv", "segments.csv")))


@pytest.mark.parametrize("remade", [None, "segments.npy", "frames.npy", "all"])
def test_what_was_checked_is_noted_unless_prepare_has_remade_it(copy_of, remade):
    folder = copy_of()
    os.utime(folder / "segments.npy", (1, 1))
    seal, there = Seal(folder), json.loads((folder / SEAL).read_text())
    if remade == "all":
        (folder / SEAL).unlink()
    elif remade:
        there[remade]["crc"] += 1
        (folder / SEAL).write_text(json.dumps(there))
    assert seal.whole("segments.npy") == ""
    if remade == "all":
        assert not (folder / SEAL).exists()
    else:
        there["segments.npy"]["mark"] = there["segments.npy"]["mark"] if remade else mark_of(folder / "segments.npy")
        assert json.loads((folder / SEAL).read_text()) == there


# Edits that are refused


@pytest.mark.parametrize("column, value, message", [
    ("frames", "96", r"videos\.csv: line 2: video 'a\.mp4' has frames '96', prepare found '64'"),
    ("frames", "6.4E+1x", "frames '6.4E"),
    ("codec", "vp8", "has codec 'vp8', prepare found 'h264'"),
    ("rotation", "45", "rotation '45'"),
    ("path", "/b.webm", "path '/b.webm'"),
    ("size", "1", "size '1'"),
    ("mtime_ns", "1700000000000000000", "mtime_ns '17"),
    ("mtime_ns", "1.E+18", "mtime_ns '1.E"),
    ("mtime_ns", "nan", "mtime_ns 'nan'"),
    ("video", "z.mp4", r"line 2: video 'z\.mp4' is not one that prepare wrote"),
    ("video", "b.webm", r"has path|is also on line"),
])
def test_facts_of_a_video_cannot_be_edited(copy_of, column, value, message):
    folder = copy_of()
    set_cell(folder / "videos.csv", 2, column, value)
    says(folder, message)


@pytest.mark.parametrize("name, change, message", [
    ("videos.csv", lambda rows: [*rows, rows[1]], r"line 5: video 'a\.mp4' is also on line 2"),
    ("videos.csv", lambda rows: [*rows, ["new.mp4", *rows[1][1:]]], r"line 5: video 'new\.mp4' is not one"),
    ("videos.csv", lambda rows: [row[1:] for row in rows], r"videos\.csv: needs one column 'video'"),
    ("videos.csv", lambda rows: [[";".join(row)] for row in rows], r"needs one column 'video'"),
    ("videos.csv", lambda rows: rows[:1], r"videos\.csv: lists no video"),
    ("videos.csv", lambda rows: [*rows[:2], [*rows[2], "x"]], r"line 3: has 20 cells"),
    ("videos.csv", lambda rows: [rows[0], *rows[2:]], r"segments\.csv: line 2: video 'a\.mp4' is no longer in"),
    ("segments.csv", lambda rows: [row[:4] for row in rows], r"segments\.csv: needs one column 'end'"),
    ("segments.csv", lambda rows: [*rows, rows[2]], r"line 5: segment 1 is also on line 3"),
])
def test_rows_and_columns_that_cannot_be(copy_of, name, change, message):
    folder = copy_of()
    edit(folder / name, change)
    says(folder, message)


@pytest.mark.parametrize("column, value, message", [
    ("start", "-70", r"segments\.csv: line 3: start -70 must lie between 0 and 2147483647"),
    ("start", "64", r"line 3: start 64, end 64 must satisfy 0 <= start < end <= 64, the frames of b\.webm"),
    ("end", "65", r"line 3: start 0, end 65 must"),
    ("end", str(2**31), r"line 3: end 2147483648 must lie"),
    ("end", "9" * 30, r"line 3: end 9+ must lie"),
    ("end", "9" * 5000, r"line 3: '9{40}' is not an integer"),
    ("shot", "-1", r"shot -1"),
    ("shot", "one", r"line 3: 'one' is not an integer"),
    ("segment", "", r"line 3: '' is not an integer"),
    ("segment", "1.5", r"'1\.5' is not an integer"),
    ("video", "d.mp4", r"line 3: video 'd\.mp4' is not in this DATASET"),
])
def test_segments_that_cannot_be(copy_of, column, value, message):
    folder = copy_of()
    set_cell(folder / "segments.csv", 3, column, value)
    says(folder, message)


def test_a_table_that_is_no_text(copy_of):
    folder = copy_of()
    (folder / "segments.csv").write_bytes("segment,video,shot,start,end\n0,ü.mp4,0,0,64\n".encode("utf-16"))
    says(folder, r"segments\.csv: damaged DATASET \('utf-8' codec")
