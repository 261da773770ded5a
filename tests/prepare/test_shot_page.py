"""The page of shots: curves, cuts and transitions stand where they are, every frame is named, nothing is left out."""

import html
import re

import numpy as np
import pytest

from eruv_dali.dataset.records import read_record, record_path
from eruv_dali.prepare.shot_curve import HEIGHT, curve_figure
from eruv_dali.prepare.shot_page import WIDTH, Drawing, draw_shots, png_sheet, rows_of, short_clock, shots_page


def figure(start=0, end=100, span=100, evidence=True, **more):
    plain = np.linspace(0, 0.2, 400)
    given = dict(highest=0.2, cuts=[10, 150], gradual=[(30, 45), (90, 120)], when=[f"{n} s" for n in range(400)],
                 name="a &lt;b&gt;.mp4")
    return curve_figure(plain, plain / 2 if evidence else None, 0.05, start, end, span, **{**given, **more})


def test_curves_stand_where_their_values_are():
    page = figure()
    lines = re.findall(r'<polyline class="(\w+)" points="(.*?)"', page)
    assert [kind for kind, _ in lines] == ["plain", "evidence"]
    for (_, points), share in zip(lines, (1, 0.5), strict=True):
        x, y = zip(*([int(part) for part in point.split(",")] for point in points.split()), strict=True)
        assert list(x) == list(range(100))
        assert np.allclose(y, HEIGHT - np.linspace(0, 0.2, 400)[:100] * share / 0.2 * HEIGHT, atol=0.6)
    assert 'class="limit" x1="0" x2="100" y1="750" y2="750"' in page
    assert re.findall(r'<i style="left: ([\d.]+)%">', page) == ["10.000"]  # the other cut is in another row
    shaded = re.findall(r'class="shade" x="(\d+)" y="0" width="(\d+)"', page)
    assert shaded == [("30", "15"), ("90", "10")]  # the second goes on in the next row
    assert "frames 0 to 99: 1 cut at 10; 2 gradual transitions" in page
    assert re.findall(r"%\">(\d+)<br>(\d+) s</span>", page) == [(str(n), str(n)) for n in range(0, 97, 10)]


def test_no_number_reaches_beyond_the_right_edge():
    assert re.findall(r'%">(\d+)<br>', figure(0, 101, 101))[-1] == "90"  # the mark of frame 100 is at the edge
    assert re.findall(r'%">(\d+)<br>', figure(0, 110, 110))[-1] == "100"


def test_a_second_row_goes_on():
    page = figure(100, 180, 100, evidence=False)
    ((kind, points),) = re.findall(r'<polyline class="(\w+)" points="(.*?)"', page)
    assert kind == "evidence" and len(points.split()) == 80 and "minus" not in page
    assert re.findall(r'<i style="left: ([\d.]+)%">', page) == ["50.000"]
    assert re.findall(r'class="shade" x="(\d+)" y="0" width="(\d+)"', page) == [("0", "20")]


@pytest.mark.parametrize("frames", [1, 2, 5, 2999, 3000, 3001, 100_000])
def test_rows_cover_every_frame_once(frames):
    rows = rows_of(frames)
    assert [start for start, _, _ in rows] == [0, *(end for _, end, _ in rows[:-1])] and rows[-1][1] == frames
    assert all(0 < end - start <= span <= 3000 for start, end, span in rows)


def test_short_videos_have_each_frame_named_once():
    for frames in (1, 2, 3):
        named = re.findall(r'%">(\d+)<br>', figure(0, frames, frames))
        assert named == [str(frame) for frame in range(frames)]


def test_times_of_an_axis():
    assert short_clock(3.26, 59) == "3.3 s" and short_clock(65.4, 100) == "1:05" and short_clock(59.9, 70) == "1:00"
    assert short_clock(3725, 4000) == "1:02:05"


def test_a_video_without_shots(pretrained):
    """As where --start is after its end."""
    record = read_record(record_path(pretrained / "dataset", "c.mp4"))
    drawing = Drawing(record, [], pretrained / "dataset" / "pack")
    assert png_sheet(drawing).width == WIDTH and "1 video, 0 shots" in shots_page([drawing])


def test_the_page_of_several_videos(pretrained, tmp_path):
    draw_shots(pretrained / "dataset", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "4 videos, 8 shots" in page and not re.search(r"https?://|<b>\.mp4", page)
    links = re.findall(r'<a href="#(video-\d)">(.*?)</a> <span class="faint">(\d)</span>', page)
    assert [html.unescape(name) for _, name, _ in links] == [
        "a <b>.mp4", "c.mp4", "d.mp4", "sub/another name, and a long one.mp4"]
    for place, (target, name, count) in enumerate(links):
        section = page.split(f'<section id="{target}">')[1].split("</section>")[0]
        assert f"<h2>{name}</h2>" in section and section.count('<figure class="shot') == int(count) == 2, place
        assert section.count("data:image/jpeg") == 6
        assert re.findall(r'alt="(.*?)"', section)[:4] == [
            "shot 0, its first frame, 0", "shot 0, its middle frame, 39", "shot 0, its last frame, 79",
            "shot 1, its first frame, 80"]
        assert re.findall(r'<i style="left: ([\d.]+)%">', section) == ["50.000"]
    draw_shots(pretrained / "dataset", tmp_path / "one.html", names=["c.mp4"])
    assert "<nav" not in (tmp_path / "one.html").read_text()
