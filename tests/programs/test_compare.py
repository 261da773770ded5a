"""compare: every pretext sees as many clips; finished pieces stay, killed ones go on; figures, intervals, gains; bad
input is told before anything runs."""

import csv
import json
import math
import re
import signal
import statistics
import subprocess
import sys
import time
from contextlib import closing
from functools import partial

import pytest
import torch
from running import lasting, outcome, refused

from eruv_dali import EruvError
from eruv_dali.compare import entrants as entrants_module
from eruv_dali.compare.__main__ import main
from eruv_dali.compare.baselines import name_baselines, record_baselines
from eruv_dali.compare.chart import draw_chart
from eruv_dali.compare.entrants import Entrant, entrants
from eruv_dali.compare.page import comparison_page
from eruv_dali.compare.summary import estimate, interval, markdown, rows, student, write_table
from eruv_dali.dataset import Dataset
from eruv_dali.evaluate.pretrained import load_pretrained
from eruv_dali.pretext import PRETEXTS
from eruv_dali.pretrain.run import check_run
from eruv_dali.train.config import load_config
from eruv_dali.train.processes import from_environment

SMALL = ["device=cpu", "data.crop=32", "data.batch_size=2", "data.val_pairs=4", "data.pairs_per_epoch=4",
         "model.width=2", "model.backbone=r3d", "log.tensorboard=false", "data.clip_length=8"]
QUICK = ["--test-clips", "1", "--finetune-epochs", "1", "--knn", "2", "--val-fraction", "0.34"]


@pytest.fixture
def run(monkeypatch, capfd):
    """The program within this process: its exit code and what it said."""
    return partial(outcome, monkeypatch, capfd, main)


def labelled(persons):
    return ["--labelled", "folder", "--root", persons, "--groups", r"/([a-z]+)_", "--test-groups", "ido"]


def test_every_pretext_sees_as_many_clips(datasets):
    with closing(Dataset(datasets["raw"])) as dataset:
        field = entrants(["eruv", "none", "vcop"], dataset, 50, ["data.batch_size=4", "vcop.data.batch_size=3",
                                                                "data.pairs_per_epoch=8", "vcop.pretext.gap=0"])
        assert [entrant.name for entrant in field] == ["eruv", "none", "vcop"] and field[1].clips == 0
        for entrant, clips_a_sample in ((field[0], 2), (field[2], 3)):
            config, batch = entrant.config, entrant.config.data.batch_size * clips_a_sample
            assert entrant.clips == config.optim.max_steps * batch and 50 <= entrant.clips < 50 + batch
            epoch_steps = math.ceil(8 / config.data.batch_size)
            assert (config.optim.epochs - 1) * epoch_steps < config.optim.max_steps <= config.optim.epochs * epoch_steps
        assert field[2].config.optim.lr == 1e-3 and field[0].config.optim.lr == 0.01  # each at its own settings
        assert not field[2].config.data.trimmed  # although vcop_c3d.yaml is for UCF101
        assert field[0].config.data.frame_size == [dataset.frame_height, dataset.frame_width]


def test_clips_that_the_network_does_not_see_do_not_count(datasets):
    """PRP with reconstruct has two clips in a sample, of which the network sees one."""
    with closing(Dataset(datasets["raw"])) as dataset:
        values = ["data.batch_size=4", "prp.pretext.dilations=[1,2]", "data.crop=64"]
        plain, both = (entrants(["prp"], dataset, 50, [*values, f"prp.pretext.reconstruct={word}"])[0]
                       for word in ("false", "true"))
    assert plain.clips == both.clips == 52 and plain.config.optim.max_steps == both.config.optim.max_steps == 13


def test_each_kind_of_network_has_its_own_random_weights(datasets):
    with closing(Dataset(datasets["raw"])) as dataset:
        field = entrants(["none", "eruv", "vcop"], dataset, 8, ["model.width=2", "vcop.model.width=4",
                                                               "data.batch_size=4", "vcop.pretext.gap=0"])
        assert [(entrant.name, entrant.config.model.width) for entrant in field] == [
            ("none", 2), ("none", 4), ("eruv", 2), ("vcop", 4)]
        net = field[1].random_network(3)
        again = load_pretrained("none", backbone="c3d", width=4, seed=3)
        assert all(torch.equal(a, b) for a, b in zip(net.backbone.state_dict().values(),
                                                    again.backbone.state_dict().values(), strict=True))
        alone, = entrants(["none"], dataset, 8, ["model.width=2", "data.clip_length=8", "data.crop=40"])
        net = alone.random_network(0)
        assert (net.clip_length, net.crop, net.frame_size) == (8, 40, (128, 171))


def test_pieces_of_frames_are_evaluated_on_whole_crops(datasets):
    """Pieces as small as a puzzle's leave nothing to pool, which is told before anything runs."""
    values = ["model.width=2", "puzzle3d.data.crop=24", "puzzle3d.pretext.jitter=8", "data.crop=40"]
    with closing(Dataset(datasets["raw"])) as dataset:
        field = entrants(["vcop", "puzzle3d", "none"], dataset, 8, [*values, "vcop.pretext.gap=0"], test_crop=48)
        assert [(entrant.folder, entrant.crop) for entrant in field] == [("vcop", 48), ("puzzle3d", 48), ("none", 48)]
        assert [entrant.config.data.crop for entrant in field[:2]] == [40, 24]  # the value for one, in any order
        assert field[2].random_network(0).crop == 48
        with pytest.raises(EruvError, match="puzzle3d: evaluation, --test-crop 24: .* too small to pool"):
            entrants(["puzzle3d"], dataset, 8, values)
        with pytest.raises(EruvError, match="clips of 200x200 pixels do not fit into the DATASET's frames of 128x171"):
            entrants(["puzzle3d"], dataset, 8, values, test_crop=200)


def test_a_pretext_of_the_registry_takes_part_without_more(datasets, monkeypatch):
    class Other(PRETEXTS["vcop"]):
        name = "other"

    monkeypatch.setitem(PRETEXTS, "other", Other)
    with closing(Dataset(datasets["raw"])) as dataset:
        entrant, = entrants_module.entrants(["other"], dataset, 30, ["other.pretext.gap=2"])
    assert entrant.config.pretext.gap == 2 and entrant.config.optim.lr == 0.01  # no configs/other_c3d.yaml


def put(out, measure, seed, top1, entrant):
    folder = out / f"{entrant.folder}_seed{seed}_{measure}"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"topk": {"top1": top1}} if measure == "retrieval" else
                                                   {"top1": top1}))


def made_with(tmp_path, name, seed, **network):
    folder = tmp_path / f"{name}_seed{seed}_knn"
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps({"top1": 0.5, "backbone": "c3d", "width": 64, **network}))


def random_of(*words, crop=112):
    return Entrant("none", load_config(None, list(words)), 0, "none", crop)


def test_names_of_random_weights_do_not_depend_on_the_order(tmp_path):
    pretext = Entrant("eruv", load_config(None), 64, "eruv", 112)
    field = [random_of("model.width=2"), pretext, random_of("model.width=4"), random_of("data.clip_length=8")]
    names = [entrant.folder for entrant in name_baselines(field, tmp_path, {})]
    assert all(re.fullmatch("none_[0-9a-f]{8}", names[place]) for place in (0, 2, 3)) and names[1] == "eruv"
    assert len(set(names)) == 4
    assert [entrant.folder for entrant in name_baselines(field[::-1], tmp_path, {})] == names[::-1]
    assert [entrant.folder for entrant in name_baselines(field[:2], tmp_path, {})] == ["none", "eruv"]


def test_results_of_another_random_network_are_not_taken(tmp_path):
    """Folders of comparisons that recorded nothing: only what their result.json says tells whose they are."""
    wide, narrow = random_of(), random_of("model.width=4")
    made_with(tmp_path, "none", 0, crop=112, frame_size=[128, 171])
    made_with(tmp_path, "none2", 0, width=4)
    made_with(tmp_path, "none3", 0, width=8)
    made_with(tmp_path, "none3", 1, width=2)  # of another order of --pretexts
    for field in ([wide, narrow], [narrow, wide]):
        named = name_baselines(field, tmp_path, {})
        assert {entrant.config.model.width: entrant.folder for entrant in named} == {64: "none", 4: "none2"}
    for other in (random_of("model.width=8"), random_of("model.input=difference"), random_of(crop=80)):
        (named,) = name_baselines([other], tmp_path, {})
        assert named.folder.startswith("none_")
    short = random_of("data.clip_length=8")  # which an old result does not tell from 16
    assert {entrant.folder[:5] for entrant in name_baselines([wide, short], tmp_path, {})} == {"none_"}
    recorded = record_baselines([wide], {})
    assert [entrant.folder == "none" for entrant in name_baselines([wide, short], tmp_path, recorded)] == [True, False]
    assert name_baselines([short], tmp_path, json.loads(json.dumps(recorded)))[0].folder.startswith("none_")
    (tmp_path / "none_seed0_knn" / "result.json").write_text("[")
    with pytest.raises(EruvError, match="none_seed0_knn/result.json: is damaged; remove"):
        name_baselines([wide], tmp_path, {})


def test_figures_intervals_gains_and_the_papers(tmp_path):
    """The numbers by hand; an interval covers what it must; seeds are paired with their own random weights."""
    config = load_config(None)
    field = [Entrant("eruv", config, 64, "eruv", 112), Entrant("none", config, 0, "none", 112)]
    for seed, (mine, random) in enumerate(((0.5, 0.4), (0.7, 0.5), (0.6, 0.6))):
        put(tmp_path, "retrieval", seed, mine, field[0])
        put(tmp_path, "retrieval", seed, random, field[1])
    put(tmp_path, "finetune", 1, 0.25, field[0])
    found = rows(field, ["retrieval", "finetune"], [0, 1, 2], tmp_path, "hmdb51")
    text = markdown(found, "Words.")
    half = 4.303 * 0.1 / math.sqrt(3)
    spread = f"± 10.0 ({100 * (0.6 - half):.1f} to {100 * (0.6 + half):.1f})"
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "C3D" in line]
    assert lines[0] == ["ERUV", "C3D, width 64, 16x112x112", "64", f"60.0 {spread}", "8.6", "25.0", "33.7", "1 to 3"]
    random = f"50.0 ± 10.0 ({100 * (0.5 - half):.1f} to {100 * (0.5 + half):.1f})"
    assert lines[1] == ["random weights", "C3D, width 64, 16x112x112", "0", random, "7.4", "–", "24.7", "0 to 3"]
    low, high = 0.1 - half, 0.1 + half
    assert lines[2] == ["ERUV", "C3D, width 64, 16x112x112", f"+10.0 ± 10.0 ({100 * low:.1f} to {100 * high:.1f})", "–"]
    assert "paper, HMDB51, width 64" in text
    write_table(found, tmp_path, tmp_path / "c.csv")
    table = list(csv.DictReader((tmp_path / "c.csv").open()))
    assert [(row["pretext"], row["measure"], row["paper"]) for row in table] == [
        ("eruv", "retrieval", "0.086"), ("eruv", "finetune", "0.337"), ("none", "retrieval", "0.074"),
        ("none", "finetune", "0.247")]
    first = table[0]
    assert float(first["mean"]) == pytest.approx(0.6) and first["values"] == "0.5 0.7 0.6"
    assert float(first["low"]) == pytest.approx(0.6 - half) and float(first["gain_high"]) == pytest.approx(high)
    assert table[1]["deviation"] == table[1]["low"] == table[1]["gain"] == table[3]["mean"] == ""
    page = comparison_page(found, 0.1, "Words <b>.")
    assert "Words &lt;b&gt;." in page and not re.search(r"(src|href)=|url\(|https?://", page)
    first = page.split("<li>")[1]  # ERUV by retrieval
    assert 'class="mean" style="width: 60.00%"' in first and '<span class="figure">60.0</span>' in first
    low = 100 * (0.6 - half)
    assert f'class="between" style="left: {low:.2f}%; width: {min(100, 100 * (0.6 + half)) - low:.2f}%"' in first
    assert re.findall(r'class="seed" style="left: ([\d.]+)%"', first) == ["50.00", "70.00", "60.00"]
    assert 'class="paper" style="left: 8.60%"' in first and 'class="chance" style="left: 10.00%"' in first
    assert "not finished" in page.split("<li>")[4] and page.split("<li>")[4].startswith("<span>random weights")
    for line in lines[:2]:  # the table has what the Markdown has, but for the paper's figures
        assert "".join(f"<td>{cell}</td>" for cell in line[:2]) in page
        assert all(f"<td class=number>{line[place]}</td>" in page for place in (2, 3, 5, 7))
    assert f"<td class=number>{lines[2][2]}</td>" in page
    draw_chart(found, 0.1, "Title", tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    put(tmp_path, "probe", 0, "high", field[0])
    with pytest.raises(EruvError, match="eruv_seed0_probe/result.json: is damaged; remove"):
        rows(field, ["probe"], [0], tmp_path, "folder")


def test_estimates():
    assert estimate([]) is None and estimate([0.5]).half is None
    assert student(1) == 12.706 and student(60) == pytest.approx(2.000, abs=1e-3)
    assert student(30) == pytest.approx(2.042) and student(31) == pytest.approx(2.0395, abs=5e-4)
    few = estimate([0.9, 1.0])
    assert interval(few) == (pytest.approx(0.95 - few.half), 1) and few.half > 0.6
    assert interval(estimate([-0.4, 0.1]), least=-1) == (-1, 1) and interval(estimate([0.1, 0.4]))[0] == 0
    random = torch.Generator().manual_seed(0)
    inside = [abs((found := estimate(torch.randn(5, generator=random).tolist())).mean) <= found.half
              for _ in range(2000)]
    assert statistics.fmean(inside) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("words, said", [
    (["--pretexts", "eruv,vcpo"], "--pretexts vcpo: not one of eruv, "),
    (["--pretexts", "eruv,eruv"], "--pretexts eruv: named twice"),
    (["--pretexts", ","], "--pretexts names none"),
    (["--evaluate", "knn,prob"], "--evaluate prob: not one of retrieval, knn, probe, finetune"),
    (["--clips", "0"], "--clips 0 must be greater than 0"),
    (["--seeds", "-1"], "--seeds -1 must be at least 0"),
    (["--seeds", "1", str(2**63)], f"--seeds {2**63} must be at most"),
    (["--knn", "100"], "--knn 100 must lie between 1 and 9"),
    (["--val-fraction", "1"], "val_fraction 1.0 must lie between 0 and 1"),
    (["optim.epoch=3"], "did you mean 'optim.epochs'"),
    (["optim.epochs=3"], "optim.epochs is decided by --clips"),
    (["vcop.seed=3"], "seed is decided by --seeds"),
    (["loose"], "'loose' is not of the form key=value"),
    (["vcop.pretext.clips=1"], "vcop: pretext.clips 1 must be at least 2"),
    (["vcop.pretext.gap=400"], "vcop: "),
    (["--pretexts", "none,eruv", "vcop.pretext.gap=4"], "vcop is not among --pretexts none,eruv"),
    (["--pretexts", "none", "data.crop=300"], "clips of 300x300 pixels do not fit into the DATASET's frames of 128x"),
    (["data.crop=300"], "eruv: crop 300 does not fit"),
    (["--data", "absent"], "absent"),
    (["--test-groups", "nobody"], "test group 'nobody' is not one of"),
    (["--root", "absent"], "absent"),
])
def test_mistakes_are_found_before_anything_runs(monkeypatch, capfd, datasets, persons, tmp_path, words, said):
    # One preparation of the labelled videos for all: most mistakes are found before it.
    rest = ["--pretexts", "eruv,vcop,none", "--data", datasets["raw"], "--clips", "12", "--out", tmp_path / "out",
            *labelled(persons), *QUICK, *SMALL]
    line = refused(monkeypatch, capfd, main, *rest, *words)
    assert said in line, line
    assert not list(tmp_path.glob("out/*_seed*"))


@pytest.mark.slow
def test_one_command_adds_pieces_and_repeats_none(run, datasets, persons, tmp_path):
    out = tmp_path / "out"
    rest = ["--data", datasets["raw"], "--clips", "12", "--out", out, *labelled(persons), *QUICK, *SMALL]
    done = run("--pretexts", "eruv", "--seeds", 0, "--evaluate", "retrieval", *rest)
    assert done.returncode == 0, done.stderr
    before = {folder: lasting(out / folder) for folder in ("eruv_seed0", "eruv_seed0_retrieval")}
    done = run("--pretexts", "eruv,vcop,none", "--seeds", 0, 1, *rest)
    assert done.returncode == 0, done.stderr
    assert {folder: lasting(out / folder) for folder in before} == before
    assert (out / "compare.md").read_text() in done.stdout
    table = list(csv.DictReader((out / "compare.csv").open()))
    assert {(row["pretext"], row["measure"]) for row in table} == {
        (name, measure) for name in ("eruv", "vcop", "none") for measure in ("retrieval", "knn", "probe", "finetune")}
    for row in table:
        values = []
        for name in row["runs"].split():
            result = json.loads((out / name / "result.json").read_text())
            values.append(result["topk"]["top1"] if row["measure"] == "retrieval" else result["top1"])
            assert (result["init"] == "none") is (row["pretext"] == "none") and result["width"] == 2
        assert float(row["mean"]) == pytest.approx(statistics.fmean(values)) and row["seeds"] == "0 1"
    clips = {name: json.loads((out / f"{name}_seed1" / "result.json").read_text())["step"] for name in ("eruv", "vcop")}
    assert clips["vcop"] <= 2 and clips["eruv"] <= 3  # of the best epoch
    states = {name: torch.load(out / f"{name}_seed1" / "last.pt", weights_only=True)["step"] for name in clips}
    assert states == {"eruv": 3, "vcop": 2}  # 3 x 2 x 2 and 2 x 2 x 3 clips
    assert len({*out.glob("dataset_*")}) == 1 and (out / "compare.png").exists()
    assert (out / "compare.html").read_text().count("<li>") == 12  # three starts, four measures

    for words, said in ((["--clips", "24"], "was begun with clips = 12, not 24"),
                        (["--knn", "3"], "was begun with knn = 2, not 3"),
                        (["eruv.optim.lr=0.5"], "eruv_seed0: holds a pre-training with optim.lr = 0.01, not 0.5")):
        done = run("--pretexts", "eruv,vcop,none", "--seeds", 0, 1, *rest, *words)
        assert done.returncode == 2 and said in done.stderr
    (out / "eruv_seed0").rename(out / "vcop_seed2")
    done = run("--pretexts", "vcop", "--seeds", 2, *rest)
    assert done.returncode == 2 and "vcop_seed2: holds a pre-training with " in done.stderr


@pytest.mark.slow
def test_random_weights_of_another_width_have_their_own_results(run, datasets, persons, tmp_path):
    out = tmp_path / "out"
    rest = ["--pretexts", "none", "--seeds", 0, "--evaluate", "knn", "--data", datasets["raw"], "--clips", "12",
            "--out", out, *labelled(persons), *QUICK, *SMALL]
    for width in (2, 4, 2):
        done = run(*rest, f"model.width={width}")
        assert done.returncode == 0, done.stderr
        (row,) = csv.DictReader((out / "compare.csv").open())
        assert json.loads((out / row["runs"] / "result.json").read_text())["width"] == int(row["width"]) == width
        assert (row["runs"] == "none_seed0_knn") is (width == 2)
    assert len(list(out.glob("none*_knn"))) == 2


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_weights(run, datasets, persons, tmp_path):
    words = ["--pretexts", "eruv,none", "--data", datasets["raw"], "--clips", "200", "--seeds", 0, "--evaluate", "knn",
             *labelled(persons), *QUICK, *SMALL, "checkpoint.every_minutes=0", "log.every_steps=1"]
    command = [sys.executable, "-m", "eruv_dali.compare", *map(str, words), "--out", str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = tmp_path / "killed" / "eruv_seed0" / "last.pt"
    while process.poll() is None and not last.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert last.exists() and not (last.parent / "result.json").exists()
    for name in ("killed", "whole"):
        done = run(*words, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert ("resuming after" in done.stdout + done.stderr) is (name == "killed")
    weights = [torch.load(tmp_path / name / "eruv_seed0" / "last.pt", weights_only=True)["net"]
               for name in ("killed", "whole")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])
    tables = [(tmp_path / name / "compare.csv").read_text() for name in ("killed", "whole")]
    assert tables[0] == tables[1]


def test_one_process(monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert from_environment().world == 2
    line = refused(monkeypatch, capfd, main, "--pretexts", "eruv", "--data", tmp_path, "--clips", 1, "--labelled",
                   "folder", "--root", tmp_path, "--out", tmp_path / "out")
    assert "without torchrun" in line


def test_check_run_tells_what_a_pretext_is_given(datasets):
    with closing(Dataset(datasets["raw"])) as dataset:
        config = load_config(None, ["data.crop=32", "data.batch_size=2"], **{"data.dataset": str(datasets["raw"])})
        pretext = check_run(config, dataset)
    assert pretext.name == "eruv" and len(pretext) > 0
