"""Tables: every figure stands where it belongs, beside the paper's own; runs are put together only where they may."""

import csv
import json
import statistics
import sys

import pytest
import yaml
from running import refused

from eruv_dali import RELATIONS, EruvError
from eruv_dali.errors import run_program
from eruv_dali.tables.__main__ import main
from eruv_dali.tables.filled import markdown, mean_and_deviation, paper_tables
from eruv_dali.tables.runs import read_run


def write(folder, result, config=None):
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def pretrain(folder, accuracy, *, relations=RELATIONS, seed=0, lr=0.01, backbone="c3d", width=64, trimmed=False):
    result = {"program": "pretrain", "pretext": "eruv", "backbone": backbone, "width": width,
              "relations": list(relations),
              "accuracy": accuracy, "per_relation": dict.fromkeys(relations, accuracy), "seed": seed}
    config = {"pretext": {"name": "eruv"}, "relations": list(relations),
              "model": {"backbone": backbone, "width": width}, "optim": {"lr": lr}, "data": {"trimmed": trimmed},
              "seed": seed, "log": {"every_steps": seed}}
    return write(folder, result, config)


def other(folder, pretext, *, trimmed=False, figures=None):
    """A pre-training with another pretext; it need not have an accuracy."""
    return write(folder, {"program": "pretrain", "pretext": pretext, "backbone": "c3d", "width": 64, **(figures or {})},
                 {"pretext": {"name": pretext}, "model": {"backbone": "c3d", "width": 64}, "optim": {},
                  "data": {"trimmed": trimmed}})


def finetune(folder, top1, *, init="none", dataset="ucf101", backbone="c3d", width=64, mode="finetune", seed=0,
             **more):
    return write(folder, {
        "program": "finetune", "dataset": dataset, "backbone": backbone, "width": width, "init": str(init),
        "mode": mode, "splits": ["1", "2", "3"], "classes": ["a", "b"], "top1": top1, "top5": None, "seed": seed,
        "k": 5, "per_split": {}, **more})


def retrieve(folder, top1, *, init="none", dataset="ucf101", queries="video", backbone="c3d", **more):
    return write(folder, {
        "program": "retrieve", "dataset": dataset, "backbone": backbone, "width": 64, "init": str(init),
        "splits": ["1"], "queries": queries, "topk": {"top1": top1, "top5": 0.5, "top50": None}, "per_split": {},
        **more})


def tables(*folders):
    return {table.file: table for table in paper_tables([read_run(folder) for folder in folders])}


def cells(table):
    lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_program_has_its_table_and_the_papers_figure(tmp_path):
    run = pretrain(tmp_path / "pre", 0.5)
    found = tables(
        run, finetune(tmp_path / "f", 0.7, init=run / "backbone.pt"), finetune(tmp_path / "random", 0.6),
        finetune(tmp_path / "r3d", 0.3, dataset="hmdb51", backbone="r3d"),
        finetune(tmp_path / "knn", 0.2, mode="knn"), retrieve(tmp_path / "u", 0.25, init=run / "best.pt"),
        retrieve(tmp_path / "h", 0.1, dataset="hmdb51"), retrieve(tmp_path / "own", 0.9, dataset="folder"))
    assert list(found) == ["table_1", "table_2", "table_4", "fixed_features", "table_5", "table_6", "retrieval_folder"]
    one = cells(found["table_1"])
    assert [row[1] for row in one] == [*RELATIONS, "overall"]
    assert one[0] == ["C3D", "CS", "14.3", "50.0", "71.2", "1"] and one[-1][3:5] == ["50.0", "66.7"]
    assert cells(found["table_2"]) == [
        ["random weights", "C3D", "–", "UCF101", *["–"] * 8, "60.0", "62.1", "1"],
        ["random weights", "R3D", "–", "HMDB51", *["–"] * 8, "30.0", "–", "1"],
        ["CS CV CD CR PI PD PS", "C3D", "14.3", "UCF101", *["50.0"] * 8, "70.0", "70.4", "1 + 1"]]
    assert cells(found["table_4"]) == [
        ["HMDB51", "1, 2, 3", "R3D", "random", "fine-tuned", "30.0", "23.4", "–", "1"],
        ["UCF101", "1, 2, 3", "C3D", "random", "fine-tuned", "60.0", "61.8", "–", "1"],
        ["UCF101", "1, 2, 3", "C3D", "ERUV", "fine-tuned", "70.0", "69.6", "–", "1"]]
    assert cells(found["fixed_features"])[0][4:6] == ["5 nearest", "20.0"]
    assert cells(found["table_5"]) == [
        ["1", "C3D", "ERUV", "video", "25.0", "25.2", "50.0", "40.5", "–", "48.3", "–", "57.6", "–", "70.4", "1"]]
    assert cells(found["table_6"])[0][4:6] == ["10.0", "7.4"]
    assert "paper" not in markdown(found["retrieval_folder"])


def test_seeds_share_a_row_and_nothing_else_does(tmp_path):
    seeds = [pretrain(tmp_path / f"p{seed}", 0.4 + seed / 10, seed=seed) for seed in range(3)]
    other = pretrain(tmp_path / "lr", 0.9, lr=0.1)
    tuned = [finetune(tmp_path / f"f{n}", top1, init=seed / "backbone.pt", seed=n)
             for n, (seed, top1) in enumerate(zip(seeds, (0.5, 0.6, 0.8), strict=True))]
    apart = finetune(tmp_path / "f_lr", 0.1, init=other / "backbone.pt")
    unknown = [finetune(tmp_path / f"gone{n}", 0.3, init=tmp_path / f"moved{n}" / "backbone.pt") for n in range(2)]
    found = tables(*seeds, other, *tuned, apart, *unknown)
    assert [row[3] for row in cells(found["table_1"])][::8] == ["50.0 ± 10.0", "90.0"]
    four = cells(found["table_4"])
    spread = 100 * statistics.stdev((0.5, 0.6, 0.8))
    assert sorted((row[3], row[5], row[-1]) for row in four) == sorted([
        ("ERUV", f"63.3 ± {spread:.1f}", "3"), ("ERUV", "10.0", "1"), ("pre-trained", "30.0", "1"),
        ("pre-trained", "30.0", "1")])
    assert [row[-1] for row in cells(found["table_2"])] == ["3 + 3", "1 + 1"]


def test_other_videos_and_another_held_out_share_have_rows_of_their_own(tmp_path):
    def counts(make, file, *told):
        rows = cells(tables(*(make(tmp_path / f"{file}{len(list(tmp_path.iterdir()))}", 0.5, **each)
                              for each in told))[file])
        return [int(row[-1]) for row in rows]

    here = {"dataset": "folder", "root": "/lab", "groups": "/(.)", "test_fraction": 0.3, "classes": ["a", "b"]}
    for key, value in (("root", "/lab2"), ("groups", None), ("test_fraction", 0.5), ("classes", ["c", "d"])):
        assert counts(retrieve, "retrieval_folder", here, here, {**here, key: value}) == [2, 1]
        assert counts(finetune, "table_4", here, here, {**here, key: value}) == [2, 1]
    for mode, file in (("finetune", "table_4"), ("freeze", "fixed_features")):
        assert counts(finetune, file, *({"mode": mode, "val_fraction": share} for share in (0, 0.2, 0.2))) == [1, 2]
    # Official splits are the same wherever they lie; and what an older result does not tell is not taken for a default.
    assert counts(retrieve, "table_5", {"root": "/a"}, {"root": "/b"}, {}) == [3]
    assert counts(retrieve, "retrieval_folder", {"dataset": "folder"}, here, {"dataset": "folder"}) == [2, 1]


def test_ablations_and_small_networks_have_no_figure_of_the_paper(tmp_path):
    some = pretrain(tmp_path / "some", 0.6, relations=("CS", "PI"))
    small = pretrain(tmp_path / "small", 0.6, width=8)
    found = tables(some, small, finetune(tmp_path / "f", 0.7, init=some / "last.pt"),
                   finetune(tmp_path / "g", 0.7, width=8))
    assert {row[4] for row in cells(found["table_1"])} == {"–"}
    assert cells(found["table_2"])[1] == ["CS PI", "C3D", "50.0", "UCF101", "60.0", "60.0", "–", "–", "–", "60.0", "–",
                                          "–", "70.0", "–", "1 + 1"]
    assert {tuple(row[2:7]) for row in cells(found["table_4"])} == {
        ("C3D", "CS PI", "fine-tuned", "70.0", "–"), ("C3D, width 8", "random", "fine-tuned", "70.0", "–")}


def test_table_2_has_the_papers_nine_subsets(tmp_path):
    words = {"CS CD": "65.0", "CS CR": "66.3", "CS CV": "67.9", "CS CV CD CR": "68.8", "PD PS": "66.0",
             "PI PS": "65.0", "PI PD": "65.4", "PI PD PS": "66.4", "CS CV CD CR PI PD PS": "70.4"}
    runs = []
    for number, subset in enumerate(words):
        run = pretrain(tmp_path / f"p{number}", 0.5, relations=subset.split()[::-1])  # in any order
        runs += [run, finetune(tmp_path / f"f{number}", 0.6, init=run / "backbone.pt")]
    found = cells(tables(*runs)["table_2"])
    assert {" ".join(name for name in RELATIONS if name in row[0]): row[13] for row in found} == {
        " ".join(name for name in RELATIONS if name in key): value for key, value in words.items()}


def test_table_3_sets_trimmed_beside_untrimmed_videos(tmp_path):
    runs = []
    for trimmed in (True, False):
        for name in ("vcop", "pace"):
            run = other(tmp_path / f"{name}{trimmed}", name, trimmed=trimmed)
            runs += [run, finetune(tmp_path / f"{name}{trimmed}_f", 0.6 if trimmed else 0.5, init=run / "backbone.pt")]
    relations = [name for name in RELATIONS if name not in ("CV", "CD")]
    run = pretrain(tmp_path / "eruv", 0.4, relations=relations, trimmed=True)
    runs += [run, finetune(tmp_path / "eruv_f", 0.7, init=run / "backbone.pt")]
    found = tables(*runs)
    assert cells(found["table_3"]) == [
        ["VCOP", "C3D", "UCF101", "1, 2, 3", "60.0", "66.7", "50.0", "64.9", "1 + 1"],
        ["pace", "C3D", "UCF101", "1, 2, 3", "60.0", "–", "50.0", "–", "1 + 1"],
        ["ERUV", "C3D", "UCF101", "1, 2, 3", "70.0", "71.2", "–", "70.4", "1 + 0"]]
    assert [(row[3], row[6]) for row in cells(found["table_4"])] == [
        ("VCOP", "65.6"), ("ERUV, trimmed", "–"), ("VCOP, trimmed", "65.6"), ("pace", "–"), ("pace, trimmed", "–")]
    assert "table_3" not in tables(*runs[4:8])  # nothing trimmed


def test_all_rows_of_the_paper(tmp_path):
    """As many as printed, each once, ours among them; figures of the paper taken from its print."""
    run = other(tmp_path / "vcop", "vcop")
    runs = [finetune(tmp_path / "f", 0.5, init=run / "backbone.pt"),
            retrieve(tmp_path / "r", 0.1, init=run / "backbone.pt", dataset="hmdb51", backbone="c3d")]
    found = {table.file: cells(table) for table in paper_tables([read_run(folder) for folder in runs], whole=True)}
    assert {name: len(rows) for name, rows in found.items()} == {
        "table_1": 8, "table_2": 10, "table_3": 3, "table_4": 34, "table_5": 15, "table_6": 12}
    four = {(row[0], row[2], row[3]): row[5:7] for row in found["table_4"]}
    assert len(four) == 34 and four["UCF101", "C3D", "VCOP"] == ["50.0", "65.6"]
    assert four["HMDB51", "R(2+1)D", "VCP"] == ["–", "32.2"] and four["UCF101", "C3D", "MAS"] == ["–", "58.8"]
    six = {(row[1], row[2]): row[4:] for row in found["table_6"]}
    assert six["C3D", "VCOP"][:4] == ["10.0", "7.4", "50.0", "22.6"]
    assert six["R(2+1)D", "ERUV"] == ["–", "9.3", "–", "26.4", "–", "38.5", "–", "51.8", "–", "73.9", "0"]
    assert [row[-2] for row in found["table_3"]] == ["64.9", "68.7", "70.4"]


def test_mean_and_deviation():
    assert mean_and_deviation([]) == mean_and_deviation([0.5, None]) == (None, None)
    assert mean_and_deviation([0.5]) == (0.5, None)
    assert mean_and_deviation([0.25, 0.75]) == (0.5, pytest.approx(0.5**1.5))


def test_program_writes_markdown_and_csv(tmp_path, monkeypatch, capsys):
    folders = [finetune(tmp_path / f"f{n}", value, seed=n) for n, value in enumerate((0.5, 0.75))]
    words = ["tables", *map(str, folders), str(folders[0] / "result.json"), "--out", str(tmp_path / "out")]  # one twice
    monkeypatch.setattr(sys, "argv", words)
    main()
    assert capsys.readouterr().out == (tmp_path / "out" / "tables.md").read_text()
    with open(tmp_path / "out" / "table_4.csv", newline="") as file:
        row, = csv.DictReader(file)
    assert float(row["top1"]) == 0.625 and float(row["top1_paper"]) == 0.618 and row["top5"] == ""
    assert float(row["top1_deviation"]) == pytest.approx(0.125 * 2**0.5)
    assert row["runs"].split("; ") == [str(folder.resolve()) for folder in folders]


@pytest.mark.parametrize("text, said", [
    (None, "no such file"), ("{", "is not JSON"), ("[1]", "its program is None"),
    ('{"program": "prepare"}', "its program is 'prepare', not one of pretrain, finetune, retrieve"),
    ('{"program": "pretrain", "backbone": "c3d"}', "without 'width'"),
    ('{"program": "pretrain", "pretext": "eruv", "backbone": "x", "width": 1, "relations": [], "accuracy": 0, '
     '"per_relation": {}}',
     "backbone 'x' is not one of c3d"),
    ('{"program": "pretrain", "pretext": "eruv", "backbone": "c3d", "width": 1, "relations": ["CS"], "accuracy": 66.7, '
     '"per_relation": {}}',
     "accuracy is 66.7, not a fraction of 1"),
])
def test_missing_and_foreign_files(tmp_path, monkeypatch, capsys, text, said):
    if text:
        (tmp_path / "result.json").write_text(text)
    with pytest.raises(EruvError, match="result.json"):
        read_run(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tables", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        run_program(main)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and said in error and error.count("\n") == 1


def test_a_file_is_no_folder_for_tables(tmp_path, monkeypatch, capsys):
    (tmp_path / "x").touch()
    said = refused(monkeypatch, capsys, main, "--paper", "--out", tmp_path / "x")
    assert said.endswith("x: is a file; --out names a folder")
