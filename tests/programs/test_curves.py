"""Learning curves and confusion matrices: the pictures show the numbers, and odd input does not stop them."""

import json

import numpy as np
import pytest
from PIL import Image

from eruv_dali.visualize import curves
from eruv_dali.visualize.confusion import draw_confusion
from eruv_dali.visualize.curves import draw_curves


def line(step, **more):
    return {"epoch": 0, "step": step, "loss": 2.0, "accuracy": 0.2, "clips_per_second": 10.0, "data_wait": 0.1,
            "lr": 0.01, **more}


def val(step, cs=0.5):
    return {"epoch": 0, "step": step, "val": {"accuracy": 0.4, "loss": 1.5, "per_relation": {"CS": cs, "CR": 0.3},
                                              "confusion": [[1, 1], [1, 1]], "samples": 4}}


@pytest.mark.parametrize("lines", [
    [], [line(1)], [val(1)], [line(1), val(1, cs=None)], [line(n) for n in range(1, 400)] + [val(200), val(400)]])
def test_any_run_can_be_drawn(tmp_path, lines):
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(each) + "\n" for each in lines) + '{"epoch": 0, "st')  # cut short
    draw_curves(metrics, tmp_path / "curves.png")
    assert min(Image.open(tmp_path / "curves.png").size) > 500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "metrics.jsonl"]


def test_odd_lines_are_left_out(tmp_path, monkeypatch):
    """They once ended a training that was done in a traceback."""
    figures = []
    monkeypatch.setattr(curves, "write_figure", lambda figure, png: figures.append(figure))
    odd = [{"step": 1}, line(2, loss=None), line(3, lr="fast"), line(4, accuracy=[]), {"step": 5, "val": {}}, [1], 7,
           {"step": 6, "val": {"loss": 10**400}}, line(10), val(10), line(20),
           {"step": 20, "val": {"loss": 1.0, "accuracy": 0.5, "per_relation": {"CS": "much"}}},
           {"step": 30, "val": {"loss": 1.0, "accuracy": 0.5, "per_relation": 3}}]
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff\n" + "".join(json.dumps(each) + "\n" for each in odd).encode())
    draw_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
    loss, _, relations = figures[0].axes[:3]
    assert loss.lines[0].get_xdata().tolist() == [10, 20] and loss.lines[1].get_xdata().tolist() == [10, 20, 30]
    assert relations.lines[0].get_xdata().tolist() == [10]


def test_the_curves_show_the_numbers(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(curves, "write_figure", lambda figure, png: figures.append(figure))
    metrics = tmp_path / "metrics.jsonl"
    lines = [line(10, loss=2.0), line(20, loss=1.0), val(20), line(30, loss=0.5, accuracy=0.9)]
    metrics.write_text("".join(json.dumps(each) + "\n" for each in lines))
    draw_curves(metrics, tmp_path / "curves.png")
    loss, accuracy, relations = figures[0].axes[:3]
    assert loss.lines[0].get_xydata().tolist() == [[10, 2.0], [20, 1.0], [30, 0.5]]
    assert loss.lines[1].get_xydata().tolist() == [[20, 1.5]]
    assert accuracy.lines[0].get_xydata()[-1].tolist() == [30, 90]
    drawn = {each.get_label(): each.get_ydata() for each in relations.lines}
    assert drawn["CS"] == [50] and drawn["CR"] == [30] and set(drawn["chance"]) == {50}


def test_means_are_of_equal_stretches(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(curves, "write_figure", lambda figure, png: figures.append(figure))
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(line(n, loss=float(n % 2))) + "\n" for n in range(75)))
    draw_curves(metrics, tmp_path / "curves.png")
    means = figures[0].axes[0].lines[1].get_xydata()
    assert len(means) == 15 and set(np.diff(means[:, 0])) == {5}
    assert np.abs(means[:, 1] - 0.5).max() < 0.11


@pytest.mark.parametrize("classes", [2, 7, 101])
def test_a_confusion_matrix_of_any_size(tmp_path, classes):
    counts = np.diag(np.arange(classes))  # the first class was never asked
    draw_confusion(counts, [f"class {n}" for n in range(classes)], tmp_path / "c.png", title="x")
    picture = np.asarray(Image.open(tmp_path / "c.png").convert("RGB"))
    assert (picture == (8, 48, 107)).all(-1).mean() > 0.0005  # a row that was answered with one class alone
