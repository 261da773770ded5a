"""prepare: right tables, right packs, restartable, and clear about bad input."""

import csv
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
from numbered import read_number, write_video
from prepared import TABLES, check_pack, table, tables, while_decoding
from running import lasting, outcome, run_alone

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.records import read_record, record_path, write_record
from eruv_dali.dataset.seal import seal_dataset
from eruv_dali.dataset.unpack import unpack
from eruv_dali.device import gpu_problem
from eruv_dali.errors import EruvError
from eruv_dali.prepare import prepare
from eruv_dali.prepare.__main__ import main
from eruv_dali.video.coding import COLUMNS, Coding, read_coding
from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.find import find_videos


def test_tables(datasets):
    folder = datasets["jpeg"]
    videos = {row["video"]: row for row in table(folder, "videos.csv")}
    assert (videos["vp9.webm"]["frames"], videos["vp9.webm"]["codec"]) == ("120", "vp9")
    assert [videos["vp9.webm"][column] for column in ("width", "height", "fps")] == ["320", "240", "25"]
    shots = [row for row in table(folder, "shots.csv") if row["video"] == "long/a.mp4"]
    assert [(int(row["shot"]), int(row["start"]), int(row["end"])) for row in shots] == [
        (0, 0, 167), (1, 167, 334), (2, 334, 500)]
    segments = table(folder, "segments.csv")
    assert [int(row["segment"]) for row in segments] == list(range(len(segments)))
    assert all(int(row["end"]) - int(row["start"]) >= 48 for row in segments)
    assert table(folder, "rejected.csv") == []


@pytest.mark.parametrize("pack", ["video", "jpeg", "raw"])
def test_pack_holds_every_frame(datasets, videos, pack):
    dataset = Dataset(datasets[pack])
    for number, video in enumerate(dataset.videos):
        frames = dataset.frames_of(number)
        pictures = np.concatenate([chunk.pictures[0] for chunk in decode_pictures(videos / video.name, [(128, 171)])])
        if pack == "video":
            for n, picture in enumerate(unpack(dataset.packed, pack, (128, 171), video.pack_file, frames)):
                assert np.abs(picture - pictures[n].astype(int)).mean() < 4
                assert read_number(picture) == read_number(pictures[n])
            assert n == len(frames) - 1
        for n in range(0, len(frames), 17):
            data = dataset.packed.read(video.pack_file, int(frames["offset"][n]), int(frames["size"][n]))
            assert zlib.crc32(data) == frames["crc"][n]
            if pack == "raw":
                assert np.array_equal(np.frombuffer(data, np.uint8).reshape(128, 171, 3), pictures[n])


def test_again_does_only_what_is_new_or_changed(tmp_path):
    films, out = tmp_path / "films", tmp_path / "dataset"
    for name in "abc":
        write_video(films / f"{name}.mp4", frames=60, size=(64, 96))
    prepare([films], out, device="cpu", workers=1)
    records = lasting(out / "records")
    before = tables(out)
    prepare([films], out, device="cpu", workers=1)
    assert lasting(out / "records") == records
    assert tables(out) == before

    write_video(films / "b.mp4", frames=70, size=(64, 96))  # changed
    write_video(films / "d.mp4", frames=60, size=(64, 96))  # new
    (films / "a.mp4").unlink()  # gone
    prepare([films], out, device="cpu", workers=1, remove=True)
    kept = [path for path in (out / "records").iterdir() if records.get(path) == path.stat().st_mtime_ns]
    assert len(kept) == 1
    assert [(row["video"], row["frames"]) for row in table(out, "videos.csv")] == [
        ("b.mp4", "70"), ("c.mp4", "60"), ("d.mp4", "60")]


def test_another_rule_needs_no_decoding(datasets, videos, tmp_path):
    out = tmp_path / "dataset"
    prepare([videos / "long"], out, device="cpu", pack="none", workers=1)
    records = lasting(out / "records")
    prepare([videos / "long"], out, device="cpu", pack="none", rule="threshold", threshold=9.0, workers=1)
    assert lasting(out / "records") == records
    assert len(table(out, "shots.csv")) == 2  # nothing exceeds that threshold: one shot a video


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 0.7])  # after the first record
def test_killed_and_run_again_it_ends_the_same(videos, datasets, tmp_path, seconds):
    out = tmp_path / "dataset"
    command = [sys.executable, "-m", "eruv_dali.prepare", str(videos), "--out", str(out), "--device", "cpu",
               "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(out.glob("records/*.npz")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (out / "records" / ".a.npz.1.aside").touch()  # as of a worker killed while it wrote
    done = run_alone("prepare", videos, "--out", out, "--device", "cpu", "--workers", "2")
    assert done.returncode == 0, done.stderr

    for name in TABLES:
        assert (out / name).read_bytes() == (datasets["jpeg"] / name).read_bytes()
    check_pack(out)
    assert not list(out.rglob("*.aside"))


def test_bad_videos_among_good_ones_are_rejected_with_a_reason(tmp_path):
    films, out = tmp_path / "films", tmp_path / "dataset"
    write_video(films / "good.mp4", frames=60, size=(64, 96))
    write_video(films / "short.mp4", frames=30, size=(64, 96))
    (films / "text.mp4").write_text("no video")
    (films / "empty.avi").touch()
    prepare([films], out, device="cpu", workers=2)
    assert [row["video"] for row in table(out, "videos.csv")] == ["good.mp4"]
    reasons = {row["video"]: row["reason"] for row in table(out, "rejected.csv")}
    assert reasons["short.mp4"] == "too short: 30 frames, fewer than 48"
    assert "cannot be opened" in reasons["text.mp4"] and "cannot be opened" in reasons["empty.avi"]


HANG_OR_CRASH = """
if path.name == "hangs.mp4":
    time.sleep(1000)
if path.name == "crashes.mp4":
    os._exit(1)
"""


@pytest.mark.slow
def test_what_a_video_gave_before_it_hangs_or_crashes_the_decoder_is_used(tmp_path, monkeypatch):
    films, out = tmp_path / "films", tmp_path / "dataset"
    for name in ("a", "crashes", "hangs", "z"):
        write_video(films / f"{name}.mp4", frames=200, size=(64, 96))
    os.mkfifo(films / "pipe.mp4")  # whoever opens it waits for ever
    while_decoding(monkeypatch, tmp_path / "site", HANG_OR_CRASH)
    prepare([films, films / "pipe.mp4"], out, device="cpu", pack="jpeg", workers=2, time_limit=2)
    rows = {row["video"]: (row["frames"], row["note"]) for row in table(out, "videos.csv")}
    assert rows["a.mp4"] == rows["z.mp4"] == ("200", "")
    assert rows["hangs.mp4"] == ("128", "decoding yielded no frame for 2 s after frame 127; the frames before it are "
                                           "used")
    assert rows["crashes.mp4"] == ("128", "decoding crashed the decoder after frame 127; the frames before it are used")
    assert [tuple(row.values()) for row in table(out, "rejected.csv")] == [
        ("pipe.mp4", "decoding yielded no frame for 2 s")]
    check_pack(out)


@pytest.mark.slow
def test_hostile_files(real_videos, tmp_path):
    dataset = prepare([real_videos / "odd"], tmp_path / "dataset", device="cpu", pack="none", min_length=1)
    reasons = {row["video"]: row["reason"] for row in table(dataset.folder, "rejected.csv")}
    notes = {row["video"]: row["note"] for row in table(dataset.folder, "videos.csv")}
    assert len(reasons) + len(notes) == len(find_videos([real_videos / "odd"]))
    assert "no video stream" in reasons["mp4parse/amr_nb_1f.3gp"]
    assert "frames before it are used" in notes["decord/corrupted.mp4"]


@pytest.mark.parametrize("arguments, message", [
    (["absent.mp4"], "absent.mp4: no such file or folder"),
    (["{empty}"], "no videos in this folder"),
    (["{text}"], "none of the 1 videos can be used; notes.txt: cannot be opened as a video"),
    (["{short}"], "too short: 20 frames, fewer than 48"),
    (["{short}", "--device", "gpu"], "device 'gpu'"),
    (["{short}", "--min-length", "0"], "min_length 0"),
    (["{short}", "--threshold", "inf"], "threshold inf must be greater than 0, and finite"),
    (["{short}", "--frame-size", "big"], "'big' is not HEIGHTxWIDTH"),
])
def test_one_clear_line_and_exit_code_2(monkeypatch, capfd, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not a video")
    write_video(tmp_path / "short.mp4", frames=20, size=(64, 96))
    places = dict(empty=tmp_path / "empty", text=tmp_path / "notes.txt", short=tmp_path / "short.mp4")
    if "gpu" in arguments and not gpu_problem():
        pytest.skip("there is a GPU here")
    done = outcome(monkeypatch, capfd, main, *[argument.format(**places) for argument in arguments], "--out",
                   tmp_path / "out", "--workers", 1, *(() if "gpu" in arguments else ("--device", "cpu")))
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


def test_dataset_of_another_version(datasets, tmp_path):
    out = tmp_path / "dataset"
    out.mkdir()
    settings = (datasets["none"] / "dataset.json").read_text()
    (out / "dataset.json").write_text(settings.replace('"format": 3', '"format": 99'))
    (out / "records").mkdir()
    with pytest.raises(EruvError, match="format 99, this version reads format 3"):
        Dataset(out)
    with pytest.raises(EruvError, match="format 99"):
        prepare([__file__], out, device="cpu")


def test_a_folder_with_other_things_is_left_alone(videos, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(EruvError, match="holds something other than a DATASET"):
        prepare([videos], tmp_path, device="cpu")


def test_a_dataset_without_its_records_is_made_anew(undisturbed, copy_of, films):
    """As what reads it says: run prepare on it again."""
    folder = copy_of("none")
    shutil.rmtree(folder / "records")
    prepare([films], folder, device="cpu", pack="none", workers=1)
    assert tables(folder) == tables(undisturbed["none"])


def test_two_runs_at_once(videos, tmp_path):
    out = tmp_path / "dataset"
    (out / "records").mkdir(parents=True)
    with open(out / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EruvError, match="another prepare is working"):
            prepare([videos], out, device="cpu")


def test_how_each_video_is_coded_is_noted(datasets, tmp_path):
    """In both tables; a DATASET of an earlier version, without it, opens too."""
    folder = tmp_path / "d"
    shutil.copytree(datasets["none"], folder)
    known = {video.name: video.coding for video in Dataset(folder).videos}
    assert known["hevc.mp4"] == Coding("yuv420p", "Main", False, False, 320, 240, "limited", "")
    assert known["vp8.webm"].matrix == "bt470bg" and all(known.values())
    with open(folder / "videos.csv", newline="") as file:
        rows = {row["video"]: row for row in csv.DictReader(file)}
    assert [rows["hevc.mp4"][column] for column in COLUMNS] == [
        "yuv420p", "Main", "False", "False", "320", "240", "limited", ""]

    facts = json.loads((folder / "videos.json").read_text())
    for video in facts.values():
        del video["coding"]
    (folder / "videos.json").write_text(json.dumps(facts))
    seal_dataset(folder, (folder / "dataset.json").read_text())
    assert {video.coding for video in Dataset(folder).videos} == {None}
    facts["hevc.mp4"]["coding"] = {"pixels": 3}
    (folder / "videos.json").write_text(json.dumps(facts))
    seal_dataset(folder, (folder / "dataset.json").read_text())
    with pytest.raises(EruvError, match=r"videos\.json: damaged DATASET"):
        Dataset(folder)


def test_a_record_of_an_earlier_version_has_no_coding(datasets, tmp_path):
    record = read_record(record_path(datasets["none"], "hevc.mp4"))
    assert record.note.coding == read_coding(record.note.identity.path)
    (tmp_path / "records").mkdir()
    write_record(tmp_path, replace(record.note, coding=None), record.frames, record.curves)
    assert read_record(record_path(tmp_path, "hevc.mp4")).note == replace(record.note, coding=None)
