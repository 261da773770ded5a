"""A DATASET made of tars is the one made of the files in them, and follows what becomes of the tars."""

import json
from pathlib import Path

import numpy as np
import pytest
from numbered import numbers, write_video
from prepared import table
from running import run
from tars import write_tar

import eruv_dali.prepare.run as run_module
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.loader import ClipLoader
from eruv_dali.prepare import prepare
from eruv_dali.visualize.__main__ import main as visualize

OPTIONS = dict(device="cpu", workers=1)
LOADED = dict(batch_size=4, clip_length=8, device="cpu", threads=1)
SAME = ("video", "frames", "fps", "codec", "size", "pixels")


@pytest.fixture(scope="module")
def films(made_once) -> Path:
    def draw(folder: Path) -> None:
        for name, frames in (("cats/a.mp4", 60), ("cats/b.mkv", 70), ("dogs/c.mp4", 80)):
            write_video(folder / name, frames=frames, gop=12, size=(64, 96))

    return made_once("films_for_tars", draw)


def write_shards(films: Path, folder: Path) -> Path:
    """Two shards: a.mp4, b.mkv and what belongs to them; c.mp4."""
    write_tar(folder / "0.tar", {"cats/a.json": b"{}", **{f"cats/{name}": films / "cats" / name
                                                           for name in ("a.mp4", "b.mkv")}})
    write_tar(folder / "1.tar", {"dogs/c.mp4": films / "dogs/c.mp4"})
    return folder


def rows(out, columns=SAME):
    return [tuple(row[column] for column in columns) for row in table(out, "videos.csv")]


def loaded(source):
    with ClipLoader(source, **LOADED) as loader:
        return [(info.video, list(info.frames), label, list(numbers(clip)))
                for batch in loader for clip, label, info in zip(batch.clips, batch.label.tolist(), batch.info,
                                                                 strict=True)]


@pytest.mark.parametrize("pack", ["none", pytest.param("raw", marks=pytest.mark.slow)])
def test_tars_give_the_same_dataset_as_their_files(films, tmp_path, pack, monkeypatch):
    shards = write_shards(films, tmp_path / "shards")
    plain = prepare([films], tmp_path / "plain", pack=pack, **OPTIONS)
    tarred = prepare([shards], tmp_path / "tarred", pack=pack, export=["html", "otio"], **OPTIONS)
    assert rows(tmp_path / "plain") == rows(tmp_path / "tarred")
    for name in ("segments.npy", "frames.npy"):
        assert np.array_equal(np.load(tmp_path / "plain" / name), np.load(tmp_path / "tarred" / name))
    assert [video.content for video in plain.videos] == [video.content for video in tarred.videos]
    assert all(shown == frames for _, frames, _, shown in loaded(tmp_path / "tarred"))
    assert loaded(tmp_path / "plain") == loaded(tmp_path / "tarred")
    assert (tmp_path / "tarred/export/cats/b.mkv.html").exists()
    track = json.loads((tmp_path / "tarred/export/cats/b.mkv.otio").read_text())
    assert str(shards / "0.tar") in json.dumps(track) and "cats/b.mkv" in json.dumps(track)
    assert len(list((tmp_path / "tarred/tars").iterdir())) == 2 and not list(shards.rglob("*.json"))
    run(monkeypatch, visualize, "shots", tmp_path / "tarred", "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "cats/b.mkv" in page and "data:image" in page


def test_clips_of_tars_that_were_not_prepared(films, tmp_path):
    shards = write_shards(films, tmp_path / "shards")
    clips = loaded(shards)
    assert clips and clips == loaded(films) == loaded([shards / "0.tar", shards / "1.tar"])
    assert {label for _, _, label, _ in clips} == {0, 1}


@pytest.mark.slow
def test_a_tar_written_anew(films, tmp_path, monkeypatch):
    """What moved in it, and what came from another tar or a file of its own, is not scanned again."""
    shards, out = write_shards(films, tmp_path / "shards"), tmp_path / "out"
    prepare([shards], out, pack="none", **OPTIONS)
    then = {row["video"]: row for row in table(out, "videos.csv")}
    write_tar(shards / "0.tar", {"first.txt": b"1" * 5000, "cats/b.mkv": films / "cats/b.mkv",
                                 "cats/a.mp4": films / "dogs/c.mp4"})
    with pytest.raises(EruvError, match=r"tar://.*0.tar: has changed since prepare|ends before"):
        Dataset(out).check()
    scanned: list[str] = []
    scan_all = run_module.scan_all
    monkeypatch.setattr(run_module, "scan_all", lambda out, todo, *rest, **more: (
        scanned.extend(video.name for video in todo), scan_all(out, todo, *rest, **more)))
    prepare([shards], out, pack="none", **OPTIONS)
    now = {row["video"]: row for row in table(out, "videos.csv")}
    assert scanned == ["cats/a.mp4"] and now["cats/a.mp4"]["frames"] == "80"
    assert now["cats/b.mkv"]["path"] != then["cats/b.mkv"]["path"]
    Dataset(out).check()
    assert all(shown == frames for _, frames, _, shown in loaded(out))


@pytest.mark.slow
def test_a_tar_that_grew_half_way(films, tmp_path, caplog):
    shards, out = write_shards(films, tmp_path / "shards"), tmp_path / "out"
    whole = (shards / "0.tar").read_bytes()
    (shards / "0.tar").write_bytes(whole[: len(whole) // 2])
    prepare([shards], out, pack="none", **OPTIONS)
    (said,) = [message for message in caplog.messages if "0.tar" in message]
    assert "is cut off in cats/b.mkv; the video before that is used" in said
    assert [row[0] for row in rows(out)] == ["cats/a.mp4", "dogs/c.mp4"]
    (shards / "0.tar").write_bytes(whole)
    prepare([shards], out, pack="none", **OPTIONS)
    assert [row[0] for row in rows(out)] == ["cats/a.mp4", "cats/b.mkv", "dogs/c.mp4"]
