"""prepare makes a damaged DATASET as it was, and decodes only what is lost."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from editing import EVERY, FRAMES, PACKS, change_json, delivered, says

from eruv_dali import EruvError
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.records import BadRecord, read_record, record_path
from eruv_dali.prepare import prepare


@pytest.mark.parametrize("name", ["dataset.json", "videos.json", "videos.csv", "segments.csv", "segments.npy",
                                  "frames.npy", "seal.json", "shots.csv", "pack/frames-00000.bin"])
@pytest.mark.parametrize("damage", ["empty", "delete", "flip"])
def test_prepare_mends_it_and_decodes_nothing(copy_of, films, undisturbed, name, damage):
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
