"""The report of a run: its figures are those of the run, at any time of it, of pretrain and finetune; else one line."""

import html
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from running import outcome, run

from eruv_dali.finetune.__main__ import main as finetune
from eruv_dali.pretext.eruv import RELATION_NAMES
from eruv_dali.visualize.__main__ import main
from eruv_dali.visualize.confusion_table import confusion_table
from eruv_dali.visualize.line_chart import HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, line_chart


def report(monkeypatch, folder: Path, *words: object) -> str:
    out = folder.parent / "report.html"
    run(monkeypatch, main, "training", folder, "--out", out, "--device", "cpu", *words)
    return out.read_text()


def without_pictures(page: str) -> str:
    return re.sub(r"base64,[^)\"]*", "", page)


def facts(page: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))


def chart(page: str, title: str) -> str:
    (found,) = (each for each in re.findall(r'<figure class="chart">.*?</figure>', page, re.S) if f"<b>{title}" in each)
    return found


@pytest.fixture
def folder(pretrained, tmp_path) -> Path:
    """A copy of the run to change, its files as old as they were."""
    return shutil.copytree(pretrained / "run", tmp_path / "run")


def test_the_report_of_a_finished_run(monkeypatch, folder):
    page = report(monkeypatch, folder, "--samples", 4)
    result = json.loads((folder / "result.json").read_text())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    vals, steps = ([line for line in lines if ("val" in line) is val] for val in (True, False))
    assert not re.search(r"https?://|src=|href=|url\((?!data:)", without_pictures(page))
    told = facts(page)
    assert told["state"] == "finished, 4 steps" and told["pretext"] == "eruv" and "r3d, width 2" in told["network"]
    assert told["accuracy"] == f"{result['accuracy']:.1%} on held-out videos, 14 samples, chance 14.3%"
    assert told["best epoch"].startswith(f"number {result['epoch']}, counted from 0")

    said = html.unescape(re.search(r'aria-label="(Loss: .*?)"', page)[1])
    first, last = steps[0]["loss"], steps[-1]["loss"]
    assert said.startswith(f"Loss: training from {first:.3g} to {last:.3g}")
    assert f"held-out videos from {vals[0]['val']['loss']:.3g} to {vals[-1]['val']['loss']:.3g}" in said
    for title in ("Accuracy, %", "Learning rate", "Waiting for clips", "Speed", "Accuracy of each relation"):
        assert "<polyline" in chart(page, title)
    asked = {kind for kind, share in result["per_relation"].items() if share is not None}
    followed = chart(page, "Accuracy of each relation")
    assert all((f"{name} ({kind})" in followed) is (kind in asked) for kind, name in RELATION_NAMES.items())

    whole = r"<li><span>([^<]*) \((\w\w)\)</span><div[^>]*><i style=\"width: ([\d.]+)%\"></i><b[^>]*></b></div>"
    bars = re.findall(whole + r"<span>([\d.]+)% of (\d+)</span></li>", page)
    for name, kind, width, share, count in bars:
        assert name == RELATION_NAMES[kind]
        assert float(share) == pytest.approx(100 * result["per_relation"][kind], abs=0.1)
        assert width == share and int(count) == sum(result["confusion"][result["relations"].index(kind)])
    assert {kind for _, kind, *_ in bars} == asked
    cells = re.findall(r"<small>(\d+)</small>", page)
    assert list(map(int, cells)) == sum(result["confusion"], [])
    assert page.count('class="sample ') == 4
    changed = page.split("What differs from the defaults")[1].split("All keys")[0]
    assert "<td>model.backbone</td><td>r3d</td><td>c3d</td>" in changed and "<td>optim.lr</td>" not in changed
    assert "<td>optim.lr</td><td>0.01</td>" in page.split("All keys")[1]


def test_a_run_under_way(monkeypatch, folder):
    """Its report is of what there is, by the best validation so far; also where it goes on after it had ended."""
    (folder / "result.json").unlink()
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("\n".join(lines[:3]) + '\n{"epoch": 1, "st')
    page = report(monkeypatch, folder, "--samples", 0)
    val = json.loads(lines[2])["val"]
    assert facts(page)["state"].startswith("not finished: 2 steps so far, last written 20")
    assert facts(page)["accuracy"].startswith(f"{val['accuracy']:.1%} on held-out videos")
    assert list(map(int, re.findall(r"<small>(\d+)</small>", page))) == sum(val["confusion"], [])
    assert "sample " not in page and "What the network says" not in page

    (folder / "metrics.jsonl").write_text(lines[0] + "\n")
    for file in folder.glob("*.pt"):
        file.unlink()
    page = report(monkeypatch, folder)
    assert "The run has saved no network yet" in page and "Confusion" not in page and "accuracy" not in facts(page)


def test_a_finished_run_that_goes_on(monkeypatch, folder):
    os.utime(folder / "metrics.jsonl", ns=(1, (folder / "result.json").stat().st_mtime_ns + 1))
    assert facts(report(monkeypatch, folder, "--samples", 0))["state"].startswith("not finished: 4 steps so far")


def test_the_best_validation_so_far_speaks(monkeypatch, folder):
    """By accuracy, of equal ones the first, as the run itself judges; without kinds by the loss."""
    (folder / "result.json").unlink()

    def told(*vals: dict) -> str:
        lines = [{"epoch": number, "step": 2 * number + 2, "val": {"samples": 9, **val}}
                 for number, val in enumerate(vals)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return facts(report(monkeypatch, folder, "--samples", 0))["best epoch"]

    assert told(*({"accuracy": share, "loss": loss} for share, loss in ((0.2, 1), (0.5, 3), (0.5, 2), (0.1, 0.5)))
                ) == "number 1, counted from 0; loss 3"
    assert told({"loss": 3.0}, {"loss": 2.0}, {"loss": 2.5}) == "number 1, counted from 0; loss 2"


def test_of_a_finetune_run_under_way_the_loss_decides_between_equal_accuracies(monkeypatch, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("model: {backbone: r3d, width: 1}\n")  # as finetune writes it
    vals = [{"accuracy": share, "loss": loss} for share, loss in ((0.2, 0.1), (0.5, 3.0), (0.5, 2.0), (0.5, 2.5))]
    (folder / "metrics.jsonl").write_text("".join(
        json.dumps({"epoch": number, "step": number + 1, "val": val}) + "\n" for number, val in enumerate(vals)))
    assert facts(report(monkeypatch, folder))["best epoch"] == "number 2, counted from 0; loss 2"


def test_terms_of_the_loss_and_long_runs(monkeypatch, folder):
    """Further terms have charts of their own; of many lines means are drawn, and few of the faint points."""
    lines = [{"epoch": 0, "step": n, "loss": float(n % 2), "accuracy": 0.5, "clips_per_second": 9.0, "data_wait": 0.25,
              "lr": 1 / n, "variance": 3.0} for n in range(1, 2001)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "result.json").touch()
    page = report(monkeypatch, folder, "--samples", 0)
    assert "variance" in chart(page, "Term of the loss: variance")
    faint, strong = re.findall(r'class="(faint-line|line c0)" points="([^"]*)"', chart(page, "Loss"))
    assert faint[0] == "faint-line" and len(faint[1].split()) == 500 and len(strong[1].split()) == 50
    ys = [float(point.split(",")[1]) for point in strong[1].split()]
    assert max(ys) - min(ys) < 0.1  # the means of 40 steps of 0 and 1 are equal
    assert facts(page)["speed"] == "9 clips/s (median), 25% of the time waiting for clips"
    assert len(page) < 300_000


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--freeze"], ["--knn", "2"]])
def test_runs_of_finetune(monkeypatch, tmp_path, persons, how):
    finetune(["--dataset", "folder", "--root", str(persons), "--groups", "/([a-z]+)_", "--test-groups", "ido",
              "--init", "none", "--backbone", "r3d", "--width", "2", "--crop", "32", "--frame-size", "36x48",
              "--clips", "1", "--device", "cpu", "--val-fraction", "0.34", "--out", str(tmp_path / "run"),
              *(how or ["--epochs", "2"])])
    page = report(monkeypatch, tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    told = facts(page)
    assert told["accuracy"].startswith(f"{result['top1']:.1%} on test videos, 3 samples, chance 33.3%")
    assert ("<h2>Curves</h2>" in page) is not how and "What the network says" not in page
    assert list(map(int, re.findall(r"<small>(\d+)</small>", page))) == sum(result["confusion"], [])
    assert "<td>init</td><td>none</td>" in page and told["program"].startswith("finetune")
    assert all(f"<span>{name}</span>" in page for name in ("bend", "run", "wave1"))


@pytest.mark.parametrize("made, said", [
    ("absent", "run: no such folder; name a RUN of eruv_dali.pretrain or finetune"),
    ("empty", "run: no run here (neither config.yaml nor result.json)"),
    ("compare", "run: holds a comparison; open its compare.html"),
    ("retrieve", "run: is a run of retrieve; see visualize neighbours for it"),
    ("splits", "run: has several splits, each with its own curves; name one: run/split_1, run/split_2"),
    ("no figures", "run: has no figures yet (metrics.jsonl)"),
    ("{", "run/result.json: is damaged"), ("[]", "run/result.json: is damaged (it names no program)"),
    ("confusion", "run/result.json: is damaged (ValueError: a confusion of 1 rows for 7 kinds)"),
    ("counts", "run/result.json: is damaged (TypeError"), ("png", "r.png: choose a file name that ends in .html"),
    ("samples", "samples -1 must be at least 0"), ("moved", "the DATASET of run is not here"),
])
def test_bad_input(monkeypatch, capsys, pretrained, tmp_path, made, said):
    monkeypatch.chdir(tmp_path)
    folder = Path("run")
    if made != "absent":
        shutil.copytree(pretrained / "run", folder)
    result, metrics = folder / "result.json", folder / "metrics.jsonl"
    if made == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif made == "compare":
        (folder / "compare.json").write_text("{}")
    elif made == "retrieve":
        result.write_text('{"program": "retrieve"}')
    elif made == "splits":
        for name in ("split_2", "split_1"):
            (folder / name).mkdir()
            shutil.copy(metrics, folder / name)
    elif made == "no figures":
        result.unlink()
        metrics.write_text("")
    elif made in ("{", "[]"):
        result.write_text(made)
    elif made == "confusion":
        result.write_text(json.dumps({**json.loads(result.read_text()), "confusion": [[1]]}))
    elif made == "counts":
        result.write_text(json.dumps({**json.loads(result.read_text()), "confusion": 7}))
    elif made == "moved":
        config = folder / "config.yaml"
        config.write_text(config.read_text().replace(str(pretrained / "dataset"), "elsewhere"))
    words = ["--out", "r.png"] if made == "png" else ["--out", "r.html", *["--samples", "-1"] * (made == "samples")]
    done = outcome(monkeypatch, capsys, main, "training", "run", *words, "--device", "cpu")
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.glob("r.*"))


def test_a_line_stands_where_its_values_are():
    page = line_chart("T", [Line("a", [(0, 0), (50, 100), (100, float("nan")), (100, 25)])], highest=100)
    points = re.search(r'<polyline class="line c0" points="(.*?)"', page)[1].split()
    x, y = ([float(point.split(",")[axis]) for point in points] for axis in (0, 1))
    assert x == [LEFT, (LEFT + WIDTH - RIGHT) / 2, WIDTH - RIGHT]  # what is no number is left out
    assert y[1] == TOP and y[2] == pytest.approx(y[0] - (y[0] - y[1]) / 4, abs=0.1) and y[0] < HEIGHT
    assert "a from 0 to 25, lowest 0, highest 100" in page


@pytest.mark.parametrize("end, said", [(1, "0 1"), (2, "0 1 2"), (100, "0 20 40 60 80 100")])
def test_what_is_counted_has_no_halves(end, said):
    page = line_chart("T", [Line("a", [(end, 1.0)])])
    assert re.findall(rf'y="{HEIGHT - 34 + 16}"[^>]*>([\d.]+)<', page) == said.split()


@pytest.mark.parametrize("points", [[], [(0, 0)], [(5, 3.0)], [(1, -2.0), (2, -1.0)], [(1, 1e-9), (2, 2e-9)],
                                    [(1, 3.0), (2, 3.0)]])
@pytest.mark.parametrize("from_zero", [True, False])
def test_any_line_can_be_drawn(points, from_zero):
    page = line_chart("T", [Line("a", points)], from_zero=from_zero)
    places = [float(value) for value in re.findall(r'(?:cy|y1|y2)="([-\d.]+)"', page.split("</svg>")[0])]
    assert all(0 <= value <= HEIGHT for value in places) and page.count("<circle") == len(points)


def test_many_classes_are_told_by_their_mistakes():
    names = [f"<{number}>" for number in range(30)]
    counts = [[0] * 30 for _ in range(30)]
    counts[3][4], counts[3][3], counts[5][6] = 3, 1, 2
    page = confusion_table(counts, names, names)
    rows = re.findall(r"<td>(.*?)</td><td>(.*?)</td><td class=number>(.*?)</td><td class=number>(.*?)</td>", page)
    assert rows == [("&lt;3&gt;", "&lt;4&gt;", "3", "75%"), ("&lt;5&gt;", "&lt;6&gt;", "2", "100%")]
    assert "No mistakes" in confusion_table([[0] * 30 for _ in range(30)], names, names)
