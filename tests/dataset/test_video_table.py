"""Rows of videos.json are read one by one when asked for, and are the same as if all were read at once."""

import json

import numpy as np
import pytest
from editing import EVERY, change_json, delivered, reseal, says

from eruv_dali.dataset import Dataset, video_table
from eruv_dali.dataset.columns import SEGMENT, VideoRow
from eruv_dali.dataset.edited import AT_A_TIME, first_outside
from eruv_dali.dataset.video_table import VideoTable, names_of, write_videos
from eruv_dali.errors import EruvError


@pytest.fixture
def folder(copy_of):
    return copy_of()


def places(folder):
    (file,) = folder.glob("videos-*.npy")
    return file


def test_only_rows_that_are_asked_for(folder, monkeypatch):
    asked, row_of = [], video_table.row_of
    monkeypatch.setattr(video_table, "row_of", lambda name, *rest: asked.append(name) or row_of(name, *rest))
    dataset = Dataset(folder)
    assert isinstance(dataset.videos, VideoTable) and len(dataset.videos) == 3 and asked == []
    assert dataset.videos[1].name == dataset.videos[-2].name == dataset.videos[np.int64(1)].name == "b.webm"
    assert dataset.videos[1] is dataset.videos[1] and asked == ["b.webm"]
    with pytest.raises(IndexError):
        dataset.videos[3]


def test_names_alone(tmp_path):
    """Whatever they hold: what ends a name stands in some of these."""
    names = ['v": {x.mp4', 'v\\', 'v\\": {x', '": {', '\\\\": {"', 'é": {', 'p "pack": "q', "line\nbreak", ""]
    facts = {name: {"path": f"/{name}", "pack": "frames-00000.bin", "frames": n + 1, "first": n}
             for n, name in enumerate(names)}
    write_videos(tmp_path, facts)
    table = VideoTable(tmp_path / "videos.json", (tmp_path / "videos.json").read_bytes(), np.load(places(tmp_path)),
                       "jpeg")
    assert names_of(table, range(len(names))) == names and table.pack_files() == ["frames-00000.bin"]


@pytest.mark.parametrize("without", ["as of an earlier version", "deleted", "damaged", "of another videos.json"])
def test_the_same_as_all_rows_at_once(folder, without):
    lazy = Dataset(folder)
    rows, file = list(lazy.videos), places(folder)
    assert [lazy.videos[:2], lazy.videos[1:]] == [rows[:2], rows[1:]]
    if without == "damaged":
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    elif without == "of another videos.json":
        change_json(folder / "videos.json", lambda facts: facts["b.webm"].update(mtime_ns=5))
        reseal(folder)
    else:
        file.unlink()
    if without == "as of an earlier version":  # which left no mark of segments.npy either
        change_json(folder / "seal.json", lambda seal: (seal.pop(file.name), seal["segments.npy"].update(mark=None)))
    eager = Dataset(folder)
    assert isinstance(eager.videos, list)
    if without == "of another videos.json":
        assert eager.videos[1].mtime_ns == 5 and [eager.videos[0], eager.videos[2]] == rows[::2]
    else:
        assert eager.videos == rows
    assert (eager.segments == lazy.segments).all() and delivered(folder) == EVERY


def test_an_earlier_seal_still_finds_damage(folder):
    change_json(folder / "seal.json", lambda seal: seal["segments.npy"].update(mark=None))
    content = (folder / "segments.npy").read_bytes()
    (folder / "segments.npy").write_bytes(content[:-1] + b"?")
    says(folder, r"segments\.npy: its checksum is wrong")
    (folder / "segments.npy").write_bytes(content)
    Dataset(folder)
    assert json.loads((folder / "seal.json").read_text())["segments.npy"]["mark"][0] == len(content)


@pytest.mark.parametrize("column, value", [("frames", 63), ("begin", 3), ("end", 9), ("end", 10**12)])
def test_places_that_cannot_be_right(folder, column, value):
    table = np.load(places(folder))
    table[column][0] = value
    np.save(places(folder), table)
    reseal(folder)
    with pytest.raises(EruvError, match=r"videos\.json: damaged DATASET|frames\.npy: damaged DATASET"):
        Dataset(folder).videos[0]


def test_text_is_what_json_writes(tmp_path):
    facts = {name: {"path": f"/{name}", "frames": n + 1, "first": n} for n, name in enumerate(
        ("a", 'quo"te', "café", "line\nbreak", "\udcff"))}
    (tmp_path / "videos-00000000.npy").touch()
    for some in (facts, {}):
        write_videos(tmp_path, some)
        assert (tmp_path / "videos.json").read_text() == json.dumps(some) + "\n"
        assert len([*tmp_path.iterdir()]) == 2  # the places of another videos.json are gone
        content, table = (tmp_path / "videos.json").read_bytes(), np.load(places(tmp_path))
        assert [content[begin:end].decode() for begin, end, *_ in table.tolist()] == [
            f"{json.dumps(name)}: {json.dumps(fact)}" for name, fact in some.items()]
        assert table["frames"].tolist() == [fact["frames"] for fact in some.values()]


def test_segments_outside_are_found_wherever_they_are(monkeypatch):
    monkeypatch.setattr("eruv_dali.dataset.edited.AT_A_TIME", 4)
    assert AT_A_TIME >= 1 << 16
    videos = [VideoRow(name, None, 100, "h264", 0, "", first) for name, first in (("a", 0), ("b", 100))]
    segments = np.zeros(11, SEGMENT)
    segments["video"], segments["end"] = np.arange(11) % 2, 100
    assert first_outside(segments, videos) is None
    for place in (0, 3, 4, 10):
        for column, value in (("end", 101), ("end", 0), ("start", -1), ("start", 100), ("video", 2), ("video", -1)):
            wrong = segments.copy()
            wrong[column][place] = value
            assert first_outside(wrong, videos) == place


@pytest.mark.parametrize("folder", [None, 3, ["a"]])
def test_what_is_no_path_is_no_dataset(folder):
    with pytest.raises(EruvError, match="is no path of a DATASET"):
        Dataset(folder)
