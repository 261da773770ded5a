"""Neighbours: the page shows the queries asked for, what each found, and moving pictures of the right frames."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from running import outcome, run
from sprites import sprites

from eruv_dali.video.reader import FrameReader
from eruv_dali.visualize.__main__ import main
from eruv_dali.visualize.moving import moving
from eruv_dali.visualize.neighbours import HEIGHT, SHOWN, neighbours_page, thumbnail

COLOUR = {"bend": 0, "run": 1, "wave1": 2}  # the strongest channel of their noise


def write(folder: Path, persons: Path, **more) -> Path:
    """neighbours.json of five queries, each with three neighbours: of its class, of the next, of its class."""
    classes = sorted(COLOUR)

    def video(name, person):
        return {"video": str(persons / name / f"{person}_{name}.avi"), "class": name}

    queries = [{**video(name, person), **more, "neighbours": [
        {**video(other, "eli"), **more, "similarity": 0.9 - place / 10, "hit": other == name}
        for place, other in enumerate((name, classes[classes.index(name) - 1], name))]}
        for name, person in (("bend", "ido"), ("bend", "daria"), ("run", "ido"), ("wave1", "ido"), ("wave1", "daria"))]
    folder.mkdir(parents=True)
    (folder / "neighbours.json").write_text(json.dumps({"dataset": "gone", "queries": queries}))
    return folder


def test_the_page(monkeypatch, tmp_path, persons):
    out = tmp_path / "a <b>" / "page.html"
    folder = write(out.parent, persons)
    run(monkeypatch, main, "neighbours", folder, "--queries", 3, "--k", 2, "--out", out)
    page = out.read_text()
    assert not re.search(r'(src|href)=|url\((?!data:)|<b>/', page) and "a &lt;b&gt;" in page  # all within, all escaped
    assert "3 of 5 queries; the nearest is a hit for 3" in page
    address = sprites(page)
    assert len(address) == 6  # three queries and three neighbours, each once
    sections = page.split("<section ")[1:]
    figure = (r'<figure class="(\w+)"><div class="moving many (v\d+)".*?<b>(.*?)</b><br>(.*?)<br>'
              r'<span title="(.*?)">(.*?)</span>')
    for section, name, person in zip(sections, ("bend", "run", "wave1"), ("ido", "ido", "daria"), strict=True):
        query, first, second = re.findall(figure, section)
        assert query[0] == "query" and query[5] == f"{person}_{name}.avi" and Path(query[4]).is_file()
        assert (first[0], first[2], first[3]) == ("hit", "1. ✓ hit, 0.900", name)
        assert (second[0], second[2]) == ("miss", "2. ✗ miss, 0.800") and second[3] != name
        for _, number, _, label, *_ in (query, first, second):
            mean = np.mean(address[number], (0, 1, 2))
            assert mean.argmax() == COLOUR[label]


def test_thumbnails_move_and_show_the_clip(persons, ramped):
    reader = FrameReader()
    whole, clip = (sprites(thumbnail((str(ramped), start), reader).style("v"))["v"] for start in (None, 20))
    reader.close()
    assert len(whole) == len(clip) == SHOWN and whole[0].shape == (HEIGHT, HEIGHT * 64 // 48, 3)
    shade = [[picture.mean() for picture in each] for each in (whole, clip)]
    assert np.allclose(shade[0], 40 + 4 * np.linspace(0, 39, SHOWN).round(), atol=9)
    assert np.allclose(shade[1], 40 + 4 * np.arange(20, 36), atol=9)


@pytest.fixture(scope="module")
def ramped(tmp_path_factory) -> Path:
    """40 grey frames, each 4 levels lighter than the one before."""
    import av

    file = tmp_path_factory.mktemp("ramped") / "grey.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 1_000_000
        for number in range(40):
            picture = np.full((48, 64, 3), 40 + 4 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return file


@pytest.mark.parametrize("length", [8, 19])
def test_a_clip_shows_its_own_frames(ramped, length):
    reader = FrameReader()
    pictures = sprites(thumbnail((str(ramped), 20), reader, length).style("v"))["v"]
    reader.close()
    shades = [picture.mean() for picture in pictures]
    wanted = np.linspace(20, 19 + length, min(length, SHOWN)).round()
    assert len(shades) == len(wanted) and np.allclose(shades, 40 + 4 * wanted, atol=9)


def test_the_length_of_clips_is_read(monkeypatch, tmp_path, persons):
    file = write(tmp_path / "run", persons, start=2) / "neighbours.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "clip_length": 5}))
    run(monkeypatch, main, "neighbours", tmp_path / "run", "--queries", 1, "--k", 1, "--out", tmp_path / "p.html")
    assert {len(each) for each in sprites((tmp_path / "p.html").read_text()).values()} == {5}


def test_clips_say_where_they_begin(monkeypatch, tmp_path, persons):
    run(monkeypatch, main, "neighbours", write(tmp_path / "run", persons, start=4), "--queries", 1, "--k", 1,
        "--out", tmp_path / "p.html")
    assert (tmp_path / "p.html").read_text().count(" from frame 4<") == 2


def test_cosines_have_digits_enough_to_differ(persons):
    video = {"video": "a.avi", "class": "run"}
    for near, shown in (((0.9, 0.8), ("0.900", "0.800")), ((1.0, 1 - 1e-9), ("1.000000",)),
                        ((0.99991, 0.99992, 0.99992), ("0.99991", "0.99992"))):
        query = {**video, "neighbours": [{**video, "similarity": value, "hit": True} for value in near]}
        page = neighbours_page([query], {("a.avi", None): moving(np.zeros((2, 4, 4, 3), np.uint8))}, title="t", of=1)
        found = set(re.findall(r"hit, ([\d.]+)<", page))
        assert found == set(shown)


@pytest.mark.parametrize("words, said", [
    (["--out", "page.png"], "a file name that ends in .html"), (["--k", "4"], "lists 3 neighbours of each query"),
    (["--queries", "0"], "both must be at least 1"), ("absent", "name a RUN of eruv_dali.retrieve"),
    ("splits", "give one: run/split_1"), ("damaged", "is damaged (KeyError"), ("{", "is damaged (JSONDecodeError"),
    ("<b>", "start '<b>', which must be"), (-5, "start -5, which must be"), (10**30, "start 1000000"),
    (True, "start True"), ("length", "clip_length 0, which must be"),
    ("empty", "lists no queries"), ("gone", "the video no longer exists"),
])
def test_bad_input(monkeypatch, tmp_path, capsys, persons, words, said):
    monkeypatch.chdir(tmp_path)
    file = write(Path("run"), persons) / "neighbours.json"
    found = json.loads(file.read_text())
    if words == "absent":
        file.unlink()
    elif words == "splits":
        Path("run/split_1").mkdir()
        file.rename("run/split_1/neighbours.json")
    elif words == "damaged":
        del found["queries"][0]["class"]
    elif words == "empty":
        found["queries"] = []
    elif words in ("<b>", -5, 10**30) or words is True:
        found["queries"][0]["neighbours"][0]["start"] = words
    elif words == "length":
        found["clip_length"] = 0
    elif words == "gone":
        found["queries"][0]["video"] = "/gone.avi"
    if file.exists():
        file.write_text("{" if words == "{" else json.dumps(found))
    words = words if isinstance(words, list) else []
    out = [] if "--out" in words else ["--out", "page.html"]
    done = outcome(monkeypatch, capsys, main, "neighbours", "run", "--k", "3", *words, *out)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not Path("page.html").exists()
