"""A DATASET that was edited or damaged delivers the right pixels or says in one line what is wrong with it.

    ERUV_MUTATIONS=3000 python -m pytest tests/dataset -k mutated        thousands of damages instead of dozens
"""

import csv
import io
import json
import os
import re
import shutil
import zlib

import numpy as np
import pytest
from numbered import numbers, read_number, write_video

from eruv_dali import ClipLoader, EruvError
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.columns import FRAME, SEGMENT
from eruv_dali.dataset.pack import encode_jpeg
from eruv_dali.dataset.records import BadRecord, read_record, record_path
from eruv_dali.dataset.seal import Seal, seal_dataset
from eruv_dali.prepare import prepare
from eruv_dali.video.index import FrameIndex
from eruv_dali.video.reader import FrameReader

FIRST = {"a.mp4": 0, "b.webm": 1000, "c.mp4": 2000}  # the number that each video's frames count from
CODECS = {"a.mp4": "libx264", "b.webm": "libvpx-vp9", "c.mp4": "mpeg4"}
FRAMES = 64
PACKS = ("video", "jpeg", "raw", "none")
MUTATIONS = int(os.environ.get("ERUV_MUTATIONS", 40))


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Three videos of one length, so that taking one for another breaks no count."""
    folder = tmp_path_factory.mktemp("films")
    for name, first in FIRST.items():
        write_video(folder / name, frames=FRAMES, first=first, codec=CODECS[name], gop=20, size=(144, 192),
                    options={"deadline": "realtime", "cpu-used": "8"} if "vp9" in CODECS[name] else None)
    return folder


@pytest.fixture(scope="module")
def made(films, tmp_path_factory):
    folders = {pack: tmp_path_factory.mktemp(pack) / "dataset" for pack in PACKS}
    for pack, folder in folders.items():
        prepare([films], folder, device="cpu", pack=pack, workers=1)
    return folders


@pytest.fixture
def copy_of(made, tmp_path):
    """A DATASET of our own, of any pack, as prepare left it."""

    def copy(pack="raw"):
        return shutil.copytree(made[pack], tmp_path / "dataset")

    return copy


def delivered(folder, look=True):
    """The videos of the clips that come; reads from the pixels that each clip is the one that it is said to be."""
    names = []
    with ClipLoader(folder, batch_size=12, device="cpu", threads=1) as loader:
        for batch in loader:
            for clip_CTHW, info in zip(batch.clips, batch.info, strict=True):
                names.append(info.video)
                if look:
                    assert numbers(clip_CTHW) == [FIRST[info.video] + n for n in info.frames]
    return names


EVERY = [name for name in FIRST for _ in range(FRAMES // 16)]


def rows_of(file):
    with open(file, newline="") as opened:
        return list(csv.reader(opened))


def write_rows(file, rows, **options):
    with open(file, "w", newline="", encoding=options.pop("encoding", "utf-8")) as opened:
        csv.writer(opened, **options).writerows(rows)


def edit(file, change):
    """Change the rows of a table; the first is the header."""
    rows = rows_of(file)
    write_rows(file, change(rows))


def change_json(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def reseal(folder):
    """Make the seal agree with whatever is there now."""
    seal_dataset(folder, "")
    settings = (folder / "dataset.json").read_bytes()  # damaged, it may be no text
    change_json(folder / "seal.json", lambda files: files["dataset.json"].update(crc=zlib.crc32(settings)))


def says(folder, message):
    with pytest.raises(EruvError, match=message) as caught:
        delivered(folder)
    assert "\n" not in str(caught.value)


# Edits that mean no harm


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

    def change(rows):
        rows[1][rows[0].index(column)] = value
        return rows

    edit(folder / "videos.csv", change)
    says(folder, message)


@pytest.mark.parametrize("name, change, message", [
    ("videos.csv", lambda rows: [*rows, rows[1]], r"line 5: video 'a\.mp4' is also on line 2"),
    ("videos.csv", lambda rows: [*rows, ["new.mp4", *rows[1][1:]]], r"line 5: video 'new\.mp4' is not one"),
    ("videos.csv", lambda rows: [row[1:] for row in rows], r"videos\.csv: needs one column 'video'"),
    ("videos.csv", lambda rows: [[";".join(row)] for row in rows], r"needs one column 'video'"),
    ("videos.csv", lambda rows: rows[:1], r"videos\.csv: lists no video"),
    ("videos.csv", lambda rows: [*rows[:2], [*rows[2], "x"]], r"line 3: has 12 cells"),
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

    def change(rows):
        rows[2][rows[0].index(column)] = value
        return rows

    edit(folder / "segments.csv", change)
    says(folder, message)


def test_a_table_that_is_no_text(copy_of):
    folder = copy_of()
    (folder / "segments.csv").write_bytes("segment,video,shot,start,end\n0,ü.mp4,0,0,64\n".encode("utf-16"))
    says(folder, r"segments\.csv: damaged DATASET \('utf-8' codec")


# Damage, with and without a seal that agrees


@pytest.mark.parametrize("agreeing", [False, True])
@pytest.mark.parametrize("key, value", [
    ("format", "3"), ("format", True), ("format", None), ("frame_height", 7), ("frame_height", "128"),
    ("frame_width", 10**9), ("frame_width", None), ("pack", "zip"), ("pack", ["raw"]), ("rule", 3), ("threshold", "x"),
    ("min_length", 0), ("segment_length", [1]), ("frame_height", 64), ("frame_height", 256)])
def test_settings_that_cannot_be(copy_of, key, value, agreeing):
    for pack in ("raw", "jpeg"):
        folder = copy_of(pack)
        change_json(folder / "dataset.json", lambda settings: settings.update({key: value}))
        if agreeing:
            reseal(folder)
        # Height 64 and crop 112 is refused by the loader already; 256 is found out by the pack.
        says(folder, r"dataset\.json|crop 112|frames\.npy")
        shutil.rmtree(folder)


def test_without_a_pack_the_seal_tells_of_another_frame_size(copy_of):
    folder = copy_of("none")
    change_json(folder / "dataset.json", lambda settings: settings.update(frame_height=130))
    says(folder, r"dataset\.json: damaged DATASET \(its checksum is wrong\); run prepare on it again")


@pytest.mark.parametrize("key, value", [
    ("pack", "../../x.bin"), ("pack", ""), ("pack", 3), ("pack", "frames-00000.bin\n"), ("rotation", 45),
    ("rotation", True), ("frames", 0), ("frames", 65), ("frames", "64"), ("first", -1), ("first", 64), ("size", None),
    ("mtime_ns", 1.5), ("path", 3), ("path", "a\0b"), ("codec", None), ("colour", "red")])
def test_facts_that_cannot_be(copy_of, key, value):
    folder = copy_of()
    change_json(folder / "videos.json", lambda videos: videos["a.mp4"].update({key: value}))
    says(folder, r"videos\.json: damaged DATASET \(its checksum is wrong")
    reseal(folder)
    says(folder, r"(videos\.json|frames\.npy): damaged DATASET \(")


@pytest.mark.parametrize("pack, field, value", [
    ("raw", "offset", -1), ("raw", "offset", 2**62), ("raw", "offset", 128 * 171 * 3), ("raw", "size", 0),
    ("raw", "size", 5), ("jpeg", "offset", -1), ("jpeg", "offset", 2**63 - 1), ("jpeg", "size", 0),
    ("jpeg", "size", 2**32 - 1)])
def test_places_that_no_pack_file_has(copy_of, pack, field, value):
    folder = copy_of(pack)
    frames = np.load(folder / "frames.npy")
    frames[field][FRAMES + 5] = value
    np.save(folder / "frames.npy", frames)
    says(folder, r"frames\.npy: its checksum is wrong")
    reseal(folder)
    says(folder, r"frames\.npy: damaged DATASET \(frame 5 of b\.webm cannot be \d+ bytes at -?\d+ of pack/frames-00000")


@pytest.mark.parametrize("name", ["frames.npy", "segments.npy"])
@pytest.mark.parametrize("content", [
    b"", b"PK\5\6" + bytes(18), b"\x93NUMPY\1\0\x46\0{'descr': '<i8', 'fortran_order': False, 'shape': (10**12,)}\n",
    b"\x93NUMPY\1\0\xd0\x07" + b"(" * 2000, b"\x93NUMPY\1\0\x08\0{'''   \n", np.zeros(3), np.zeros((3, 64), FRAME),
    np.array([[(0, 0, 0, 0, 64)]], SEGMENT), np.array({"pickled": 1}, object)], ids=str)
def test_arrays_that_are_none(copy_of, name, content):
    folder = copy_of()
    if isinstance(content, np.ndarray):
        np.save(folder / name, content)
    else:
        (folder / name).write_bytes(content)
    reseal(folder)
    says(folder, rf"{re.escape(name)}: damaged DATASET \(")


@pytest.mark.parametrize("content", ["[]", "{}", "3", "null", '{"frames.npy": 3}', "[" * 10**5, "{",
                                     '{"frames.npy": {"mark": [1], "crc": 1}}'])
def test_seals_that_are_none(copy_of, content):
    folder = copy_of()
    (folder / "seal.json").write_text(content)
    says(folder, r"seal\.json: damaged DATASET|dataset\.json: damaged DATASET \(its checksum")


@pytest.mark.parametrize("picture, said", [
    (b"this is no picture at all", "is not a JPEG"),
    (encode_jpeg(np.zeros((64, 85, 3), np.uint8), 92), "is a JPEG of 64x85")])
def test_pictures_of_another_size_never_reach_dali(copy_of, picture, said):
    """Over these DALI 2.4 crashes now and then, the whole process."""
    folder = copy_of("jpeg")
    frames = np.load(folder / "frames.npy")
    picture += bytes(300)
    with open(folder / "pack" / "frames-00000.bin", "r+b") as file:
        file.seek(frames["offset"][FRAMES + 20])
        file.write(picture)
    frames["size"][FRAMES + 20], frames["crc"][FRAMES + 20] = len(picture), zlib.crc32(picture)
    np.save(folder / "frames.npy", frames)
    reseal(folder)
    says(folder, rf"pack/frames-00000\.bin: frame 20 of b\.webm {said}, dataset\.json gives frames of 128x171")


@pytest.mark.parametrize("name, key", [(name, key) for name in FIRST for key in ("none", "all", "last")])
def test_an_index_with_wrong_keys_crashes_nothing(made, films, name, key):
    dataset = Dataset(made["none"])
    frames = dataset.frames_of(list(FIRST).index(name))
    keys = {"none": np.zeros(FRAMES, bool), "all": np.ones(FRAMES, bool), "last": np.arange(FRAMES) == FRAMES - 1}[key]
    index, reader = FrameIndex(np.array(frames["pts"]), keys), FrameReader()
    if key != "all":  # nothing to begin at: no slice, and pictures from the start of the file on
        assert reader.slice(films / name, index, [30, 31]) is None
    pictures = reader.read(films / name, index, [30, 31], 128, 171)
    if key != "all":
        assert [read_number(picture) for picture in pictures] == [FIRST[name] + 30, FIRST[name] + 31]


# prepare makes it as it was


@pytest.mark.parametrize("name", ["dataset.json", "videos.json", "videos.csv", "segments.csv", "segments.npy",
                                  "frames.npy", "seal.json", "shots.csv", "pack/frames-00000.bin"])
@pytest.mark.parametrize("damage", ["empty", "delete", "flip"])
def test_prepare_mends_it_and_decodes_nothing(copy_of, films, made, name, damage):
    folder = copy_of("jpeg")
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}
    content = (folder / name).read_bytes()
    if damage == "empty":
        (folder / name).write_bytes(b"")
    elif damage == "delete":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content[:40] + bytes([content[40] ^ 8]) + content[41:])
    prepare([films], folder, device="cpu", pack="jpeg", workers=1)
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}
    lost = sum(after[name] != before[name] for name in before)
    assert lost == (0 if "pack" not in name else 1 if damage == "flip" else 3)
    assert delivered(folder) == EVERY
    if name != "seal.json" and "pack" not in name:
        assert (folder / name).read_bytes() == content


def damaged_array(name, change):
    def damage(path):
        with np.load(path) as record:
            arrays = dict(record)
        arrays[name] = change(arrays[name])
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})

    return damage


def in_note(**changed):
    def change(note):
        note = json.loads(str(note)) | changed
        return np.array(json.dumps({key: value for key, value in note.items() if value is not ...}))

    return damaged_array("note", change)


def as_folder(path):
    path.unlink()
    (path / "within").mkdir(parents=True)


BAD_RECORDS = {
    "cut short": lambda path: os.truncate(path, 5000),
    "empty": lambda path: os.truncate(path, 0),
    "garbage": lambda path: path.write_bytes(np.random.default_rng(0).bytes(9000)),
    "an array": lambda path: np.save(open(path, "wb"), np.zeros(3)),  # noqa: SIM115
    "a folder": as_folder,
    "nothing behind it": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "flipped": lambda path: path.write_bytes((data := path.read_bytes())[:3000] + b"\0\1" + data[3002:]),
    "no note": damaged_array("note", lambda note: None),
    "note is no JSON": damaged_array("note", lambda note: np.array("{")),
    "note is a list": damaged_array("note", lambda note: np.array("[1]")),
    "no identity": in_note(identity=...),
    "identity of two": in_note(identity=["a", 1]),
    "no version": in_note(version=...),
    "no codec": in_note(codec=...),
    "fps is text": in_note(fps="fast"),
    "time base 1/0": in_note(time_base="1/0"),
    "pack elsewhere": in_note(pack="../frames-00000.bin"),
    "pack_end too small": in_note(pack_end=10),
    "no frames": damaged_array("frames", lambda frames: None),
    "frames of another type": damaged_array("frames", lambda frames: frames["pts"]),
    "fewer frames": damaged_array("frames", lambda frames: frames[:-1]),
    "frames in two dimensions": damaged_array("frames", lambda frames: frames[None]),
    "no curve": damaged_array("curve_hog", lambda curve: None),
    "longer curve": damaged_array("curve_window", lambda curve: np.append(curve, np.float32(0))),
    "curve in double": damaged_array("curve_luminance", lambda curve: curve.astype(float)),
    "nan": damaged_array("curve_lags", lambda curve: curve * np.float32("nan")),
}


@pytest.mark.parametrize("damage", BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_records_that_are_not_sound(copy_of, damage):
    path = record_path(copy_of("jpeg"), "b.webm")
    assert len(read_record(path).frames) == FRAMES
    damage(path)
    with pytest.raises(BadRecord, match=r"\.npz: damaged DATASET \("):
        read_record(path)


@pytest.mark.parametrize("damage", ["cut short", "a folder", "nothing behind it", "flipped", "no identity"])
def test_a_damaged_record_is_scanned_again(copy_of, films, damage):
    """Once damaged, every later run of prepare ended in a traceback."""
    folder = copy_of("jpeg")
    before = {path: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}
    BAD_RECORDS[damage](record_path(folder, "b.webm"))
    prepare([films], folder, device="cpu", pack="jpeg", workers=1)
    assert sum(path.stat().st_mtime_ns != before[path] for path in before) == 1
    assert delivered(folder) == EVERY


@pytest.mark.parametrize("name", ["dataset.json", "videos.json", "frames.npy", "segments.csv", "seal.json"])
def test_a_folder_in_the_place_of_a_file(copy_of, films, name):
    folder = copy_of("jpeg")
    (folder / name).unlink()
    (folder / name / "mine").mkdir(parents=True)
    says(folder, re.escape(name))
    with pytest.raises(EruvError, match=rf"{re.escape(name)}: is a folder.*move it away"):
        prepare([films], folder, device="cpu", pack="jpeg", workers=1)
    shutil.rmtree(folder / name)
    prepare([films], folder, device="cpu", pack="jpeg", workers=1)
    assert delivered(folder) == EVERY


@pytest.mark.parametrize("pack", PACKS)
def test_a_dataset_of_format_2_is_made_over_without_decoding(copy_of, films, pack):
    folder = copy_of(pack)
    before = {path: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}
    (folder / "videos.json").rename(folder / "packs.json")
    (folder / "packs.json").write_text(json.dumps(["frames-00000.bin"] * 3))
    change_json(folder / "dataset.json", lambda settings: settings.update(format=2))
    change_json(folder / "seal.json", lambda files: [files.pop(name) for name in ("videos.json", "dataset.json")])
    with pytest.raises(EruvError, match="DATASET of format 2, this version reads format 3; run prepare on it again"):
        Dataset(folder)
    prepare([films], folder, device="cpu", pack=pack, workers=1)
    assert {path: path.stat().st_mtime_ns for path in (folder / "records").iterdir()} == before
    assert not (folder / "packs.json").exists()
    assert delivered(folder) == EVERY


# Damage of all kinds


FILES = ("dataset.json", "videos.json", "videos.csv", "segments.csv", "segments.npy", "frames.npy", "seal.json",
         "pack/frames-00000.bin")


def mutate(path, random):
    """Damage a file in one of many ways; returns in which."""
    data = bytearray(path.read_bytes())
    kind = random.choice(["flip", "flip", "bit", "truncate", "empty", "delete", "folder", "append", "swap", "number",
                          "number", "cells", "lines"])
    if kind == "flip":
        for place in random.integers(len(data), size=random.integers(1, 4)):
            data[place] = random.integers(256)
    elif kind == "bit":
        data[random.integers(len(data))] ^= 1 << int(random.integers(8))
    elif kind == "truncate":
        del data[random.integers(len(data)) :]
    elif kind == "empty":
        data.clear()
    elif kind == "append":
        data += random.bytes(20)
    elif kind == "swap":
        a, b = sorted(random.integers(len(data), size=2))
        n = int(random.integers(1, 40))
        data[a : a + n], data[b : b + n] = data[b : b + n], data[a : a + n]
    elif kind == "number" and len(data) < 10**5 and (found := list(re.finditer(rb"-?[0-9]+", data))):
        one, other = (found[place] for place in random.integers(len(found), size=2))
        put = random.choice([b"0", b"-1", b"99999999999999999999", b"3.5", other.group(), other.group(), b'"7"',
                             b"null", str(int(one.group()) + 1).encode(), str(int(one.group()) - 1).encode()])
        data[one.start() : one.end()] = put
    elif kind in ("cells", "lines") and path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(data.decode())))
        one, other = random.integers(len(rows), size=2)
        if kind == "cells":
            column = random.integers(len(rows[0]))
            rows[one][column], rows[other][column] = rows[other][column], rows[one][column]
        else:
            rows = [rows[place] for place in random.integers(len(rows), size=len(rows))]
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        data = bytearray(text.getvalue().encode())
    if kind in ("delete", "folder"):
        path.unlink()
        if kind == "folder":
            path.mkdir()
    else:
        path.write_bytes(data)
    return kind


@pytest.mark.parametrize("pack", PACKS)
def test_mutated_it_says_so_or_delivers_the_right_pixels(copy_of, pack):
    """Some with size and time of change as they were, some with a seal that agrees (then only for crashes)."""
    folder = copy_of(pack)
    names = [name for name in FILES if (folder / name).exists()]
    kept = {name: ((folder / name).read_bytes(), (folder / name).stat()) for name in [*names, "seal.json"]}
    refused = whole = 0
    for case in range(MUTATIONS):
        random = np.random.default_rng([case, PACKS.index(pack)])
        name, how = random.choice(names), random.choice(["plain", "plain", "same time", "agreeing seal"])
        path = folder / name
        kind = mutate(path, random)
        # Whose size and time are as they were, these two are taken for whole, unread.
        unread = (name, pack) in (("pack/frames-00000.bin", "raw"), ("frames.npy", "none"))
        if how == "same time" and path.is_file() and not unread:
            os.utime(path, ns=(0, kept[name][1].st_mtime_ns))
        # A frame size is found out by the pack alone, and a file that is gone seals nothing.
        liar = how == "agreeing seal" and path.is_file() and (name, pack) != ("dataset.json", "none")
        if liar and name != "seal.json":
            reseal(folder)
        try:
            delivered(folder, look=not liar)
            whole += 1
        except EruvError as error:
            refused += 1
            assert "\n" not in str(error)
        except BaseException as error:
            raise AssertionError(f"case {case}: {kind} in {name}, {how}") from error
        for restored in {name, "seal.json"}:
            if (folder / restored).is_dir():
                (folder / restored).rmdir()
            content, status = kept[restored]
            (folder / restored).write_bytes(content)
            os.utime(folder / restored, ns=(0, status.st_mtime_ns))
    print(f"{pack}: {MUTATIONS} mutations, {refused} refused, {whole} delivered")
    assert refused and whole
