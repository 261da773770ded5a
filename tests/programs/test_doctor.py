"""doctor: every kind of damage is found, counted and named; the exit code says whether there is a problem."""

import sys
from pathlib import Path

import pytest
from layouts import UCF, make_hmdb51, make_ucf101, touch, write_action
from numbered import write_video
from running import outcome

from eruv_dali.doctor import environment
from eruv_dali.doctor.__main__ import main
from eruv_dali.doctor.finding import GOOD, PROBLEM, REMARK
from eruv_dali.doctor.layouts import THUMOS14_VALIDATION, check_layout
from eruv_dali.doctor.videos import check_video, check_videos


def doctor(monkeypatch, capsys, *words) -> tuple[int, str]:
    """Exit code and report."""
    done = outcome(monkeypatch, capsys, main, *words)
    return done.returncode, done.stdout + done.stderr


def report(dataset: str, root: Path, splits: Path | None = None) -> dict[str, tuple[str, str]]:
    findings, _ = check_layout(dataset, root, splits)
    return {finding.name: (finding.state, finding.text) for finding in findings}


def test_the_machine():
    findings = {finding.name: finding for finding in environment.check_environment()}
    assert {"python", "torch", "gpu", "dali", "cupy", "av", "g++", "nvcc", "nvdec", "machine"} == set(findings)
    assert all(finding.state != PROBLEM for finding in findings.values())
    import torch
    assert torch.__version__ in findings["torch"].text


def test_a_broken_installation_is_a_finding(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(environment.importlib.metadata, "distributions", lambda: [
        type("Distribution", (), {"metadata": {"Name": name}}) for name in ("nvidia-dali-cuda120",
                                                                            "nvidia-dali-cuda130")])
    findings = {finding.name: finding for finding in environment.check_environment()}
    assert findings["cupy"].state == PROBLEM and "cupy" in findings["cupy"].text
    assert findings["dali"].state == PROBLEM and "break each other" in findings["dali"].text


@pytest.mark.parametrize("suffix, codec", [(".avi", "mpeg4"), (".mp4", "libx264"), (".mkv", "libx264")])
def test_truncated_videos(tmp_path, suffix, codec):
    whole = write_video(tmp_path / f"whole{suffix}", frames=90, codec=codec)
    assert check_video(whole, thorough=False) == check_video(whole, thorough=True) == (90, "")
    content = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(content[: len(content) // 2])
    frames, trouble = check_video(cut, thorough=True)
    assert trouble if suffix != ".mkv" else frames < 90  # Matroska promises no number of frames
    if suffix != ".mkv":
        assert check_video(cut, thorough=False).trouble


def test_damage_in_the_middle_needs_thorough(tmp_path):
    path = write_video(tmp_path / "video.mp4", frames=60, codec="libx264", gop=60)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20000] = b"\xff" * 20000
    path.write_bytes(content)
    assert check_video(path, thorough=False) == (60, "")
    assert check_video(path, thorough=True).trouble


def test_videos_are_counted_and_the_first_five_named(tmp_path, capsys, monkeypatch):
    for n in range(7):
        touch(tmp_path / f"bad{n}.avi")
    (tmp_path / "empty.avi").touch()
    write_action(tmp_path / "short.avi", (90, 90, 90), frames=7)
    write_action(tmp_path / "good.avi", (90, 90, 90), frames=30)
    code, said = doctor(monkeypatch, capsys, tmp_path, "--workers", 2)
    assert code == 1 and "PROBLEM  8 of 10:" in said and said.count("cannot be opened as a video") == 5 and "…" in said
    assert f"1 of 10 have fewer than 16 frames:\n    {tmp_path / 'short.avi'}: 7\n" in said
    code, said = doctor(monkeypatch, capsys, tmp_path / "good.avi", "--thorough")
    assert code == 0 and "1 with 30 frames checked (every frame decoded)" in said


def test_a_video_that_kills_its_decoder_costs_itself_alone(tmp_path, monkeypatch):
    good = write_action(tmp_path / "good.avi", (90, 90, 90))
    (tmp_path / "killer.py").write_text("import os, eruv_dali.doctor.videos as v\nclass Killer(v.Checker):\n"
                                        "    def __call__(self, path, tell):\n"
                                        "        os._exit(9) if 'bad' in path.name else None\n"
                                        "        return super().__call__(path, tell)\n")
    monkeypatch.syspath_prepend(tmp_path)
    import killer
    monkeypatch.setattr("eruv_dali.doctor.videos.Checker", killer.Killer)
    findings = {f.name: f for f in check_videos([touch(tmp_path / "bad.avi"), good], thorough=False, workers=1)}
    assert "1 of 2:" in findings["damaged"].text and "crashes its decoder" in findings["damaged"].text


def test_ucf101(tmp_path):
    make_ucf101(tmp_path, touch)
    found = report("ucf101", tmp_path)
    assert found["complete"] == (GOOD, "all 9 videos of all splits are there")
    assert found["split 2"] == (REMARK, "3 classes, 6 training and 3 test videos; as published 101 classes, 13,320 "
                                "videos")
    touch(tmp_path / "UCF-101/YoYo/mine.avi")
    for name in UCF:
        for group in (1, 2):
            (tmp_path / "UCF-101" / name / f"v_{name}_g{group:02d}_c01.avi").unlink()
    found = report("ucf101", tmp_path)
    state, text = found["missing"]
    assert state == PROBLEM and text.startswith("6 of 9 videos") and text.count("v_") == 5 and text.endswith("…")
    assert found["split 1"][0] == PROBLEM and "3 of 3 classes have no test video" in found["split 1"][1]
    assert found["others"] == (REMARK, "1 videos here are on no side of any split:\n    YoYo/mine.avi")
    lists = tmp_path / "ucfTrainTestlist"
    with open(lists / "testlist03.txt", "a") as file:
        file.write((lists / "trainlist03.txt").read_text().split(" ")[0] + "\n")
    assert report("ucf101", tmp_path)["split 3"][1].startswith("1 videos are on both sides")
    (lists / "testlist02.txt").unlink()
    assert report("ucf101", tmp_path)["split 2"][0] == PROBLEM


def test_hmdb51(tmp_path, monkeypatch, capsys):
    make_hmdb51(tmp_path, lambda path: write_action(path, (90, 90, 90)))
    code, said = doctor(monkeypatch, capsys, "--dataset", "hmdb51", "--root", tmp_path / "hmdb51_org", "--splits",
                        tmp_path / "testTrainMulti_7030_splits")
    assert code == 0 and "all 4 videos of all splits are there" in said and "4 with 80 frames" in said
    assert "KELVIN'S_50%" in said  # on neither side
    touch(tmp_path / "hmdb51_org" / "wave.rar")
    next((tmp_path / "hmdb51_org" / "brush_hair").glob("#20*")).write_bytes(b"")
    code, said = doctor(monkeypatch, capsys, "--dataset", "hmdb51", "--root", tmp_path)
    assert code == 1 and "the file is empty" in said and "1 are still to be unpacked" in said


def test_thumos14(tmp_path):
    assert THUMOS14_VALIDATION[0] == "video_validation_0000001.mp4"
    assert THUMOS14_VALIDATION[-1] == "video_validation_0001010.mp4"
    for name in THUMOS14_VALIDATION[:-7]:
        touch(tmp_path / "validation" / name)
    touch(tmp_path / "validation" / "holiday.mp4")
    found = report("thumos14", tmp_path)
    assert found["missing"][0] == PROBLEM and found["missing"][1].startswith("7 of 1,010 validation videos:")
    assert "video_validation_0001004.mp4" in found["missing"][1] and "holiday.mp4" in found["others"][1]
    for name in THUMOS14_VALIDATION:
        touch(tmp_path / "validation" / name)
    findings, videos = check_layout("thumos14", tmp_path, None)
    assert findings[0].text == "all 1,010 validation videos are there" and len(videos) == 1010


def test_folder(tmp_path):
    touch(tmp_path / "run" / "a.avi")
    touch(tmp_path / "walk" / "a.avi")
    touch(tmp_path / "walk" / "b.avi")
    assert "1 classes have only one video" in report("folder", tmp_path)["split"][1]
    (tmp_path / "empty").mkdir()
    assert "no videos in this folder" in report("folder", tmp_path)["classes"][1]


@pytest.mark.parametrize("words, said", [
    (["--dataset", "ucf101"], "--dataset and --root go together"), (["/nowhere/at/all"], "no such file or folder"),
    (["--dataset", "ucf101", "--root", "/nowhere"], "no such folder"), (["--workers", "0"], "--workers 0"),
    (["--dataset", "folder", "--root", ".", "--splits", "."], "--splits is for"),
])
def test_a_wrong_command_line_is_code_2(monkeypatch, capsys, words, said):
    code, text = doctor(monkeypatch, capsys, *words)
    assert code == 2 and said in text
