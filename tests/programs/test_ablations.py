"""Ablations: one command, a run for each row, one table; stopped, it goes on."""

import csv
import json
from functools import partial

import pytest
import yaml
from running import lasting, outcome

from eruv_dali.ablations import __main__ as ablations
from eruv_dali.ablations.rows import _random
from eruv_dali.ablations.same_recognition import check_same_recognition
from eruv_dali.actions.chosen import chosen_splits
from eruv_dali.errors import EruvError
from eruv_dali.finetune.__main__ import build_parser
from eruv_dali.native import data_dir
from eruv_dali.pretext.eruv import RELATIONS
from eruv_dali.tables.paper import ABLATIONS, PRETRAINING_DATA
from eruv_dali.train.config import flatten, load_config, load_rows

SMALL = ["device=cpu", "data.crop=56", "data.batch_size=2", "data.val_pairs=6", "data.pairs_per_epoch=4",
         "model.width=4", "model.backbone=r3d", "optim.epochs=1", "log.tensorboard=false"]


@pytest.fixture
def run(monkeypatch, capfd):
    """The program within this process: its exit code and what it said."""
    return partial(outcome, monkeypatch, capfd, ablations.main)


def test_table_2_is_the_papers_and_differs_from_its_experiment_in_nothing_but_relations():
    rows = load_rows(data_dir("configs") / ablations.TABLE_2)
    subsets = [tuple(config.pretext.relations) for config in rows.values()]
    assert subsets == [relations for relations in ABLATIONS if relations]  # as printed, in its order
    assert list(rows) == ["_".join(subset) for subset in subsets[:-1]] + ["all"]
    whole = load_config(data_dir("configs") / "thumos14_c3d.yaml")
    for config in rows.values():
        config.pretext.relations = list(RELATIONS)
        assert config == whole


def test_table_3_has_each_methods_own_settings():
    for trimmed in (False, True):  # the rows are run twice, on untrimmed and on trimmed videos
        rows = load_rows(data_dir("configs") / "table3.yaml", [f"data.trimmed={trimmed}"])
        assert {(name, trimmed) for name in rows} == {key for key in PRETRAINING_DATA if key[1] == trimmed}
        for name, file in {"vcop": "vcop_c3d", "vcp": "vcp_c3d", "eruv": "thumos14_c3d"}.items():
            assert rows[name] == load_config(data_dir("configs") / f"{file}.yaml", [f"data.trimmed={trimmed}"])


def test_each_option_beside_the_paper_has_a_row_with_it_alone_one_added_and_one_without_it():
    rows = {name: flatten(config) for name, config in
            load_rows(data_dir("configs") / "eruv_plus_ablation.yaml").items()}
    paper = flatten(load_config(data_dir("configs") / "thumos14_c3d.yaml", ["data.batch_size=64"]))
    changed = {name: {key: value for key, value in row.items() if value != paper[key]} for name, row in rows.items()}
    assert changed["paper"] == {} and rows["plus"] == flatten(load_config(data_dir("configs") / "eruv_plus.yaml"))
    options = [name for name in rows if f"all_but_{name}" in rows]
    added = [name for name in rows if f"plus_{name}" in rows]
    assert {*options} == {*added, "difference", "decorrelation"} and len(options) == 8 and len(rows) == 8 + 6 + 8 + 3
    assert changed["all"] == {key: value for name in options for key, value in changed[name].items()}
    for name in options:
        assert {**changed[f"all_but_{name}"], **changed[name]} == changed["all"]
        assert not changed[f"all_but_{name}"].keys() & changed[name].keys()
    assert changed["plus"] == {**changed["difference"], **changed["decorrelation"]}
    for name in added:
        assert changed[f"plus_{name}"] == {**changed["plus"], **changed[name]}


@pytest.mark.slow
def test_a_run_for_each_row_and_a_table(run, datasets, tmp_path):
    (tmp_path / "rows.yaml").write_text(yaml.safe_dump({
        "model": {"width": 4, "backbone": "c3d"}, "relations": ["CS"],
        "rows": {"rotation": {"relations": ["CS", "CR"]}, "order": {"relations": ["PI", "PD"], "model": {"width": 2},
                                                                    "optim.lr": 0.5}}}, sort_keys=False))
    (tmp_path / "rotation.yaml").write_text("relations: [CS, CR]\nmodel: {width: 4, backbone: c3d}\n")
    small = [word for word in SMALL if not word.startswith("model.width")]
    rest = ["--data", datasets["raw"], "--out", tmp_path / "out", *small]
    first = run(tmp_path / "rotation.yaml", *rest)
    assert first.returncode == 0, first.stderr
    before = lasting(tmp_path / "out/rotation")
    both = run(tmp_path / "rows.yaml", *rest)
    assert both.returncode == 0, both.stderr
    assert lasting(tmp_path / "out/rotation") == before  # not made again
    rows = list(csv.DictReader((tmp_path / "out/table_2.csv").open()))
    assert [(row["relations"], row["chance"]) for row in rows] == [("CS CR", "50.0"), ("PI PD", "50.0")]
    for row, name in zip(rows, ("rotation", "order"), strict=True):
        result = json.loads((tmp_path / "out" / name / "result.json").read_text())
        assert float(row["accuracy"]) == result["accuracy"]
        for relation in ("CS", "CR", "PI", "PD"):
            value = result["per_relation"].get(relation)
            assert row[relation] == ("" if value is None else str(value))
    assert "Table II" in both.stdout and (tmp_path / "out/tables.md").exists()
    other = load_config(tmp_path / "out/order/config.yaml")
    assert (other.model.width, other.optim.lr, other.model.backbone) == (2, 0.5, "r3d")  # row, row, command line
    done = run(tmp_path / "rows.yaml", *rest, "optim.lr=0.1")  # finished, but not this
    assert done.returncode == 2
    assert "out/rotation: holds a pre-training with optim.lr = 0.01, not 0.1" in done.stderr


@pytest.mark.slow
def test_a_finished_series_with_fine_tunings_is_known_again(run, datasets, persons, tmp_path):
    (tmp_path / "order.yaml").write_text("{relations: [PI, PD]}\n")
    words = (tmp_path / "order.yaml", "--data", datasets["raw"], "--out", tmp_path / "out", *SMALL, "--finetune",
             f"--dataset folder --root {persons} --groups /([a-z]+)_ --test-groups ido --epochs 1 --clips 1")
    assert run(*words).returncode == 0
    runs = [tmp_path / "out" / name for name in ("order", "order_finetune", "random_finetune")]
    before = list(map(lasting, runs))
    again = run(*words)
    assert again.returncode == 0, again.stderr
    assert list(map(lasting, runs)) == before
    other = run(*(words[:-1]), f"{words[-1]} --val-fraction 0.4")
    assert other.returncode == 2 and "holds a run of finetune with val_fraction = 0.1, not 0.4" in other.stderr


@pytest.mark.parametrize("more, said", [
    (["--epochs", "9"], "epochs = 5, not 9"), (["--freeze"], "mode = finetune, not freeze"),
    (["--seed", "3"], "seed = 0, not 3"), (["--test-groups", "eli"], r"splits = \['ido'\], not \['eli'\]"),
    (["--crop", "40"], "crop = 56, not 40"), ("model.width=16", "width = 4, not 16"),
    ("model.input=difference", "input = rgb, not difference"),
])
def test_another_fine_tuning_is_not_taken_for_the_one_asked_for(persons, tmp_path, more, said):
    run = tmp_path / "random_finetune"
    given = ["--dataset", "folder", "--root", str(persons), "--groups", "/([a-z]+)_", "--init", "none", "--out",
             str(run), "--test-groups", "ido", "--epochs", "5"]

    def check(words, values):
        args = build_parser().parse_args([*given, *words])
        check_same_recognition(run, args, chosen_splits(args), load_config(None, [*SMALL, *values]))

    words, values = (more, []) if isinstance(more, list) else ([], [more])
    check(words, values)  # there is nothing yet
    run.mkdir()
    (run / "result.json").write_text(json.dumps({
        "program": "finetune", "mode": "finetune", "dataset": "folder", "backbone": "r3d", "width": 4, "seed": 0,
        "crop": 56, "epochs": 5, "splits": ["ido"], "classes": ["bend", "run", "wave1"]}))
    check([], [])
    with pytest.raises(EruvError, match=f"random_finetune: holds a run of finetune with {said}; move it away"):
        check(words, values)


def test_the_random_networks_of_a_series():
    rows = [(name, load_config(None, [*SMALL, f"model.input={seen}"])) for name, seen in
            (("a", "difference"), ("b", "rgb"), ("c", "rgb"))]
    assert [(name, config.model.input, config.model.width) for name, config in _random(rows)] == [
        ("random", "difference", 4), ("random_rgb", "rgb", 4)]


@pytest.mark.slow
def test_bad_input_is_found_before_anything_runs(run, datasets, persons, tmp_path):
    (tmp_path / "good.yaml").write_text("relations: [CS]\n")
    (tmp_path / "bad.yaml").write_text("relation: [CS]\n")
    for name, rows in (("no_rows", "[]"), ("key", "{a: {relation: [CS]}}"), ("name", "{yes: {}}"), ("row", "{a: [1]}")):
        (tmp_path / f"{name}.yaml").write_text(f"rows: {rows}\n")
    rest = ("--data", datasets["raw"], "--out", tmp_path / "out")
    for files, said in ((["good.yaml", "bad.yaml"], "did you mean 'relations'"),
                        (["good.yaml", "good.yaml"], "two configurations are called good"),
                        (["no_rows.yaml"], "no_rows.yaml: rows = [] must map names to what differs"),
                        (["key.yaml"], "key.yaml: row a: unknown configuration key 'relation'"),
                        (["name.yaml"], "a row is called True"), (["row.yaml"], "row a = [1] must map keys"),
                        (["good.yaml", "--fast"], "--fast: unknown argument")):
        done = run(*(tmp_path / name if name.endswith("yaml") else name for name in files), *rest)
        assert done.returncode == 2 and said in done.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "large.yaml").write_text("data: {batch_size: 900}\n")
    (tmp_path / "crop.yaml").write_text("data: {crop: 200}\n")
    for file, said in (("large.yaml", "large: data.batch_size = 900 can never be filled"),
                       ("crop.yaml", "crop: crop 200 does not fit into frames of 128x171")):
        done = run(tmp_path / "good.yaml", tmp_path / file, *rest)
        assert done.returncode == 2 and said in done.stderr
    done = run(tmp_path / "good.yaml", *rest, "--finetune", f"--dataset folder --root {tmp_path / 'absent'}")
    assert done.returncode == 2 and "absent" in done.stderr
    done = run(tmp_path / "good.yaml", *rest, "--finetune", f"--dataset folder --root {tmp_path} --freeze --lr 1")
    assert done.returncode == 2 and "--lr is for training all layers" in done.stderr
    done = run(tmp_path / "good.yaml", *rest, "--finetune", "--dataset folder --rot x")
    assert done.returncode == 2 and "--root" in done.stderr
    done = run(tmp_path / "good.yaml", *rest, "--finetune", "--root 'x")
    assert done.returncode == 2 and done.stderr == "error: --finetune \"--root 'x\": No closing quotation\n"
    done = run(tmp_path / "good.yaml", "--data", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 2 and "no DATASET here" in done.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "out/random_finetune").mkdir(parents=True)
    (tmp_path / "out/random_finetune/result.json").write_text('{"width": 8}')
    done = run(tmp_path / "good.yaml", *rest, "--finetune", f"--dataset folder --root {persons}")
    assert done.returncode == 2 and "out/random_finetune: holds a run of finetune with width = 8, not 64" in done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 1
