"""Ablations: one command, a run for each configuration, one table; stopped, it goes on."""

import csv
import importlib
import json
import sys
from functools import partial
from types import SimpleNamespace

import pytest
from running import outcome

from eruv_dali import ablations

SMALL = ["device=cpu", "data.crop=56", "data.batch_size=2", "data.val_pairs=6", "data.pairs_per_epoch=4",
         "model.width=4", "model.backbone=r3d", "optim.epochs=1", "log.tensorboard=false"]


@pytest.fixture
def run(monkeypatch, capfd):
    """The program within this process: its exit code and what it said."""
    return partial(outcome, monkeypatch, capfd, ablations.main)


@pytest.mark.slow
def test_a_run_for_each_configuration_and_a_table(run, datasets, tmp_path, monkeypatch):
    def run_here(command):
        python, option, module, *words = command
        assert (python, option) == (sys.executable, "-m")
        monkeypatch.setattr(sys, "argv", [module, *words])
        importlib.import_module(module + ".__main__" * (module == "eruv_dali.pretrain")).main()
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(ablations, "subprocess", SimpleNamespace(run=run_here))
    for name, relations in (("rotation", "CS, CR"), ("order", "PI, PD")):
        (tmp_path / f"{name}.yaml").write_text(f"relations: [{relations}]\n")
    files = [tmp_path / "rotation.yaml", tmp_path / "order.yaml"]
    command = [*files, "--data", datasets["raw"], "--out", tmp_path / "out", *SMALL]
    first = run(files[0], *command[2:])
    assert first.returncode == 0, first.stderr
    stamp = (tmp_path / "out/rotation/last.pt").stat().st_mtime_ns
    both = run(*command)
    assert both.returncode == 0, both.stderr
    assert (tmp_path / "out/rotation/last.pt").stat().st_mtime_ns == stamp  # not made again
    rows = list(csv.DictReader((tmp_path / "out/table_2.csv").open()))
    assert [(row["relations"], row["chance"]) for row in rows] == [("CS CR", "50.0"), ("PI PD", "50.0")]
    for row, name in zip(rows, ("rotation", "order"), strict=True):
        result = json.loads((tmp_path / "out" / name / "result.json").read_text())
        assert float(row["accuracy"]) == result["accuracy"]
        for relation in ("CS", "CR", "PI", "PD"):
            value = result["per_relation"].get(relation)
            assert row[relation] == ("" if value is None else str(value))
    assert "Table II" in both.stdout and (tmp_path / "out/tables.md").exists()


@pytest.mark.slow
def test_bad_input_is_found_before_anything_runs(run, datasets, tmp_path):
    (tmp_path / "good.yaml").write_text("relations: [CS]\n")
    (tmp_path / "bad.yaml").write_text("relation: [CS]\n")
    rest = ("--data", datasets["raw"], "--out", tmp_path / "out")
    for files, said in ((["good.yaml", "bad.yaml"], "did you mean 'relations'"),
                        (["good.yaml", "good.yaml"], "two configurations are called good"),
                        (["good.yaml", "--fast"], "--fast: unknown argument")):
        done = run(*(tmp_path / name if name.endswith("yaml") else name for name in files), *rest)
        assert done.returncode == 2 and said in done.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "large.yaml").write_text("data: {batch_size: 900}\n")
    (tmp_path / "crop.yaml").write_text("data: {crop: 200}\n")
    for file, said in (("large.yaml", "large.yaml: data.batch_size = 900 can never be filled"),
                       ("crop.yaml", "crop.yaml: crop 200 does not fit into frames of 128x171")):
        done = run(tmp_path / "good.yaml", tmp_path / file, *rest)
        assert done.returncode == 2 and said in done.stderr
    done = run(tmp_path / "good.yaml", *rest, "--finetune", f"--dataset folder --root {tmp_path / 'absent'}")
    assert done.returncode == 2 and "absent" in done.stderr
    done = run(tmp_path / "good.yaml", *rest, "--finetune", "--dataset folder --rot x")
    assert done.returncode == 2 and "--root" in done.stderr
    done = run(tmp_path / "good.yaml", "--data", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 2 and "no DATASET here" in done.stderr
    assert not (tmp_path / "out").exists()
