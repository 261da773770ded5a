"""One odd file name costs at most its own video, with one line that says why."""

import csv
import json
import os
import shutil

import pytest
from numbered import write_video
from prepared import table
from running import run_alone

from eruv_dali import ClipLoader
from eruv_dali.dataset import Dataset
from eruv_dali.errors import one_line
from eruv_dali.prepare import prepare

ODD = ["cr\rreturn.mp4", "new\nline.mp4", "esc\x1b[31m.mp4", "[red]b[bold].mp4", 'q"uote, comma.mp4', "=1+1.mp4",
       "[/x].mp4", "é" * 125 + ".mp4", " spaces .mp4", "%2e%d{0}.mp4"]
EXPORT = ["json", "edl", "otio", "html"]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", frames=60, size=(64, 96))


def test_odd_names_are_names(film, tmp_path):
    (tmp_path / "films" / "[").mkdir(parents=True)
    names = [name.replace("[/x]", "[/x]") for name in ODD]
    for name in names:
        shutil.copy(film, tmp_path / "films" / name)
    dataset = prepare([tmp_path / "films"], tmp_path / "out", device="cpu", workers=1, export=EXPORT, stats=True)
    assert sorted(video.name for video in dataset.videos) == sorted(names)
    (tmp_path / "out" / "videos.csv").touch()
    with open(tmp_path / "out" / "videos.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert sorted(row[0] for row in rows[1:]) == sorted(names)
    with open(tmp_path / "out" / "videos.csv", "a", newline="") as file:  # edited: every cell is read and compared
        file.write("\n")
    assert len(Dataset(tmp_path / "out").videos) == len(names)
    with ClipLoader(tmp_path / "out", device="cpu", batch_size=4) as loader:
        assert {info.video for batch in loader for info in batch.info} == set(names)


def test_bytes_that_are_no_text(film, tmp_path):
    """Such a video is rejected, and used as soon as it has another name; such a folder is no hindrance."""
    films = tmp_path / os.fsdecode(b"films \xff")
    films.mkdir()
    shutil.copy(film, films / "a.mp4")
    bad = films / os.fsdecode(b"\xff\xfe.mp4")
    shutil.copy(film, bad)
    done = run_alone("prepare", films, "--out", tmp_path / "out", "--device", "cpu", "--workers", "1",
                     "--export", *EXPORT, "--json-lines")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert table(tmp_path / "out", "rejected.csv") == [
        {"video": r"\xff\xfe.mp4", "reason": "its name is not UTF-8; rename it"}]
    (row,) = table(tmp_path / "out", "videos.csv")
    assert row["video"] == "a.mp4" and row["path"] == rf"{tmp_path}/films \xff/a.mp4"
    with open(tmp_path / "out" / "videos.csv", "a") as file:
        file.write("\n")
    assert Dataset(tmp_path / "out").videos[0].path == films / "a.mp4"
    shots = json.loads((tmp_path / "out" / "export" / "a.mp4.json").read_text())
    assert shots["path"] == row["path"] and len(shots["shots"]) == done.stdout.count('{"video": "a.mp4"') == 1
    assert r"films%20%FF/a.mp4" in (tmp_path / "out" / "export" / "a.mp4.otio").read_text()
    bad.rename(films / "b.mp4")
    dataset = prepare([films], tmp_path / "out", device="cpu", workers=1)
    assert [video.name for video in dataset.videos] == ["a.mp4", "b.mp4"]
    assert table(tmp_path / "out", "rejected.csv") == []


def test_a_name_too_long_for_its_exports(film, tmp_path, capsys):
    name = "n" * 250 + ".mp4"
    for other in (name, "short.mp4"):
        (tmp_path / "films").mkdir(exist_ok=True)
        shutil.copy(film, tmp_path / "films" / other)
    dataset = prepare([tmp_path / "films"], tmp_path / "out", device="cpu", workers=1, export=["edl"], stats=True)
    assert len(dataset.videos) == 2
    said = capsys.readouterr().err
    assert f"{name}: no edl (File name too long)" in said and f"{name}: no stats (File name too long)" in said
    assert [path.name for path in sorted((tmp_path / "out").glob("*/short*"))] == ["short.mp4.edl", "short.mp4.csv"]


@pytest.mark.parametrize("out", ["out[/b]", "[red]", "[", r"a\[b"])
def test_brackets_in_the_folders_name(film, tmp_path, out, capsys):
    prepare([film], tmp_path / out, device="cpu", workers=1, pack="none")
    said = capsys.readouterr().err.replace("\n", "")
    assert out in said and len(Dataset(tmp_path / out).videos) == 1


def test_an_error_is_one_line():
    assert one_line("no\nsuch \x1b[2J\udcff file … é") == r"no\nsuch \x1b[2J\udcff file … é"
