"""prepare --from-pack: another kind of pack without the original videos."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from numbered import verified_infos, write_video
from prepared import TABLES, table
from running import outcome

from eruv_dali import ClipLoader, EruvError
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.pack import QUALITY
from eruv_dali.dataset.records import Identity, Note, Scan, read_record, write_record
from eruv_dali.dataset.seal import seal_dataset
from eruv_dali.dataset.unpack import unpack
from eruv_dali.prepare import prepare
from eruv_dali.prepare.__main__ import main
from eruv_dali.prepare.convert import convert


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """Two films and a file that is no film, prepared with a JPEG and a raw pack; then the films vanish."""
    base = tmp_path_factory.mktemp("films")
    for name in "ab":
        write_video(base / "films" / f"{name}.mp4", frames=100, size=(144, 192), shots=2)
    (base / "films" / "c.mp4").write_bytes(b"no film")
    for pack in ("jpeg", "raw"):
        prepare([base / "films"], base / pack, device="cpu", pack=pack, workers=1)
    shutil.rmtree(base / "films")
    return base


def pictures(folder):
    dataset = Dataset(folder)
    return [np.stack(list(unpack(dataset.packed, dataset.pack, (128, 171), video.pack_file, dataset.frames_of(number))))
            for number, video in enumerate(dataset.videos)]


@pytest.mark.parametrize("source, pack", [("jpeg", "video"), ("raw", "video"), ("raw", "jpeg"), ("jpeg", "raw")])
def test_the_same_dataset_with_another_pack(packs, tmp_path, source, pack):
    dataset = convert(packs / source, tmp_path / "out", pack=pack, workers=2)
    for name in TABLES:
        assert (tmp_path / "out" / name).read_bytes() == (packs / source / name).read_bytes()
    for before, after in zip(pictures(packs / source), pictures(tmp_path / "out"), strict=True):
        assert before.shape == after.shape and np.abs(before.astype(int) - after).mean() < 3
    with ClipLoader(dataset, batch_size=4, device="cpu") as loader:
        assert len(verified_infos(loader)) == 12
    if pack == "raw":  # nothing is lost
        assert all(map(np.array_equal, pictures(packs / source), pictures(tmp_path / "out")))


def test_interrupted_it_goes_on(packs, tmp_path, capsys):
    whole, out = tmp_path / "whole", tmp_path / "out"
    for folder in (whole, out):
        convert(packs / "raw", folder, workers=1)
    (out / "dataset.json").unlink()
    (record, *_) = (path for path in (out / "records").iterdir() if path.stat().st_size > 2000)
    record.unlink()
    with open(out / "pack" / "frames-00000.bin", "ab") as file:
        file.write(b"half a video")
    capsys.readouterr()
    convert(packs / "raw", out, workers=1)
    assert "1 │ in" in capsys.readouterr().err.replace("  ", " ").replace("  ", " ")
    assert all(map(np.array_equal, pictures(whole), pictures(out)))
    assert not any(b"half a video" in file.read_bytes() for file in (out / "pack").iterdir())
    convert(packs / "raw", out, workers=1)
    assert "nothing was new or changed" in capsys.readouterr().err


@pytest.mark.slow
def test_quality(packs, tmp_path):
    sizes = {quality: (convert(packs / "raw", tmp_path / str(quality), quality=quality, workers=1).folder / "pack" /
                       "frames-00000.bin").stat().st_size for quality in (30, None, 10)}
    assert sizes[30] < sizes[None] < sizes[10]
    again = convert(packs / "raw", tmp_path / "10", quality=30, workers=1).folder / "pack"  # all of it is made anew
    assert sum(file.stat().st_size for file in again.iterdir()) == sizes[30]
    assert f'"quality": {QUALITY["video"]}' in (tmp_path / "None" / "dataset.json").read_text()


@pytest.mark.parametrize("arguments, said", [
    (["--from-pack", "raw", "--out", "raw"], "is the DATASET to convert"),
    (["--from-pack", "raw", "--out", "new", "--pack", "none"], "'none' cannot be made from a pack"),
    (["--from-pack", "nothing", "--out", "new"], "no DATASET here"),
    (["--from-pack", "raw", "--out", "new", "--quality", "52"], "quality 52 of a video pack must lie between 0 and 51"),
    (["--from-pack", "raw", "--out", "new", "--pack", "raw", "--quality", "5"], "pack raw has none, leave it out"),
    (["--from-pack", "raw", "--out", "new", "--frame-size", "64x64"], "--frame-size is for videos"),
    (["--from-pack", "raw", "--out", "new", "--time-limit", "0"], "--time-limit is for videos"),
    (["--from-pack", "raw", "--out", "new", "--device", "gpu"], "--device is for videos"),
    (["--from-pack", "raw", "a.mp4", "--out", "new"], "not both"),
    (["--out", "new"], "give videos, or a DATASET"),
])
def test_refused(packs, arguments, said):
    done = subprocess.run([sys.executable, "-m", "eruv_dali.prepare", *arguments], cwd=packs, capture_output=True,
                          text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1) and said in done.stderr
    assert not (packs / "new").exists()


def test_damage_in_the_old_pack_is_one_line(packs, tmp_path):
    shutil.copytree(packs / "raw", tmp_path / "raw")
    with open(tmp_path / "raw" / "pack" / "frames-00000.bin", "r+b") as file:
        file.seek(5 * 128 * 171 * 3 + 7)
        file.write(b"rot")
    with pytest.raises(EruvError, match=r"frames-00000\.bin: wrong checksum at frame 5"):
        convert(tmp_path / "raw", tmp_path / "out", workers=1)
    assert not (tmp_path / "out" / "dataset.json").exists()


@pytest.mark.parametrize("options, names", [
    (dict(threshold=float("nan")), "threshold nan"), (dict(segment_length=0), "segment_length 0"),
    (dict(min_length=301), "min_length 301"), (dict(workers=0), "workers 0"),
])
def test_bad_arguments_are_named(packs, tmp_path, options, names):
    with pytest.raises(EruvError, match=f"^{names} must"):
        convert(packs / "raw", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def held(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["other.mp4", "a.mp4"])
def test_videos_that_the_source_does_not_hold_are_not_lost(packs, tmp_path, name):
    write_video(tmp_path / "films" / name, frames=60, size=(64, 96))
    prepare([tmp_path / "films"], tmp_path / "out", device="cpu", pack="raw", workers=1)
    before = held(tmp_path / "out")
    with pytest.raises(EruvError, match=rf"holds '{name}' of .*films/{name}, which .*raw does not hold.*nothing was "):
        convert(packs / "raw", tmp_path / "out", workers=1)
    assert held(tmp_path / "out") == before


def test_unusable_videos_that_the_source_does_not_hold_are_forgotten(packs, tmp_path):
    out = tmp_path / "out"
    convert(packs / "raw", out, workers=1)
    write_record(out, Note("d.mp4", Identity("/d.mp4", 1, 1), Scan(128, 171, "video", QUALITY["video"]), reason="bad"))
    convert(packs / "raw", out, workers=1)
    assert len(list((out / "records").iterdir())) == 3


def test_an_unknown_export_is_named(packs, tmp_path):
    with pytest.raises(EruvError, match=r"^export 'epub' is not one of json, "):
        convert(packs / "raw", tmp_path / "out", export="epub")
    assert not (tmp_path / "out").exists()


def test_a_pack_that_is_cut_short_is_one_line(packs, tmp_path):
    shutil.copytree(packs / "raw", tmp_path / "raw")
    os.truncate(tmp_path / "raw" / "pack" / "frames-00000.bin", 1_000_000)
    with pytest.raises(EruvError, match=r"frames-00000\.bin: ends at byte 1000000, but bytes"):
        convert(tmp_path / "raw", tmp_path / "out", workers=1)


def test_frames_of_a_source_that_was_made_anew_are_converted_again(tmp_path):
    for name in "ab":
        write_video(tmp_path / "films" / f"{name}.mp4", frames=60, size=(64, 96))
    source, out = tmp_path / "source", tmp_path / "out"

    def make(**quality):
        prepare([tmp_path / "films"], source, device="cpu", workers=1, pack="jpeg", **quality)
        convert(source, out, pack="raw", workers=1)
        return pictures(out)

    coarse = make(quality=5)
    assert not any(map(np.array_equal, coarse, make()))
    assert all(map(np.array_equal, pictures(source), pictures(out)))
    written = [path.stat().st_mtime_ns for path in (out / "records").iterdir()]
    convert(source, out, pack="raw", workers=1)
    assert [path.stat().st_mtime_ns for path in (out / "records").iterdir()] == written
    for path in (out / "records").iterdir():  # of an earlier version
        record = read_record(path)
        write_record(out, replace(record.note, packed_from=""), record.frames, record.curves)
    written = [path.stat().st_mtime_ns for path in (out / "records").iterdir()]
    convert(source, out, pack="raw", workers=1)
    assert [path.stat().st_mtime_ns for path in (out / "records").iterdir()] == written


def test_it_is_cut_as_the_source_unless_said_otherwise(packs, tmp_path, monkeypatch, capsys):
    source, out = tmp_path / "raw", tmp_path / "out"
    shutil.copytree(packs / "raw", source)
    settings = json.loads((source / "dataset.json").read_text()) | dict(
        min_length=16, segment_length=20, rule="threshold", threshold=0.08, min_shot=3, start=0.5)
    content = json.dumps(settings)
    seal_dataset(source, content)
    (source / "dataset.json").write_text(content)
    assert outcome(monkeypatch, capsys, main, "--from-pack", source, "--out", out, "--pack", "raw", "--workers", 1
                   ).returncode == 0
    made = json.loads((out / "dataset.json").read_text())
    assert made == settings
    assert [row["start"] for row in table(out, "segments.csv")][0] == "13"
    outcome(monkeypatch, capsys, main, "--from-pack", source, "--out", out, "--pack", "raw", "--rule", "robust",
            "--segment-length", 16, "--workers", 1)
    made = json.loads((out / "dataset.json").read_text())
    assert made == settings | dict(rule="robust", threshold=None, segment_length=16)
    with pytest.raises(EruvError, match=r"^min_length 16 must lie between 1 and segment_length 8"):
        convert(source, out, segment_length=8)
