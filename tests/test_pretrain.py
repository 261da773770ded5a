"""Pre-training: a run's files, exact resume, and what a person is told."""

import json
import subprocess
import sys

import pytest
import torch

from eruv_dali.config import load_config
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.loader import RelationLoader
from eruv_dali.models import RelationNet, build_backbone, load_backbone
from eruv_dali.pretrain.train import pretrain
from eruv_dali.relations import RELATIONS

SMALL = ["device=cpu", "data.crop=56", "data.batch_size=2", "data.val_pairs=8", "data.pairs_per_epoch=8",
         "model.width=4", "model.backbone=r3d", "optim.epochs=2", "log.every_steps=2"]


def program(*arguments, folder=None):
    command = [sys.executable, "-m", "eruv_dali.pretrain", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_a_run_and_its_files(datasets, tmp_path):
    result = pretrain(load_config(None, SMALL), Dataset(datasets["raw"]), tmp_path / "run")
    assert json.loads((tmp_path / "run/result.json").read_text()) == result
    assert 0 <= result["accuracy"] <= 1 and set(result["per_relation"]) == set(RELATIONS)
    assert result["pairs"] == 8
    right = sum(result["confusion"][k][k] for k in range(7))
    assert result["accuracy"] == right / 8
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [2, 4, 6, 8]
    assert [line["epoch"] for line in lines if "val" in line] == [0, 1]
    assert max(line["val"]["accuracy"] for line in lines if "val" in line) == result["accuracy"]
    backbone = load_backbone(tmp_path / "run/backbone.pt")
    best = torch.load(tmp_path / "run/best.pt", weights_only=True)["net"]
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, best[f"backbone.{name}"])
    assert load_config(tmp_path / "run/config.yaml") == load_config(None, SMALL)


def test_resumed_it_ends_with_the_weights_of_a_run_never_stopped(datasets, tmp_path):
    dataset, whole, broken = Dataset(datasets["raw"]), tmp_path / "whole", tmp_path / "broken"
    pretrain(load_config(None, SMALL), dataset, whole)
    pretrain(load_config(None, [*SMALL, "optim.max_steps=4"]), dataset, broken)  # as if stopped after the first epoch
    pretrain(load_config(None, SMALL), Dataset(datasets["raw"]), broken, resume=True)
    a, b = (torch.load(run / "last.pt", weights_only=True) for run in (whole, broken))
    assert a["step"] == b["step"] == 8
    assert all(torch.equal(a["net"][name], b["net"][name]) for name in a["net"])


def test_the_network_learns_a_batch_by_heart(datasets):
    """Pixels, labels and gradients belong together: a batch seen again and again is soon named without a mistake."""
    torch.manual_seed(0)
    with RelationLoader(datasets["raw"], batch_size=8, crop=56, device="cpu", pairs_per_epoch=8) as loader:
        (batch,) = loader
    net = RelationNet(build_backbone("c3d", width=4), 7, dropout=0.0)
    optimizer = torch.optim.AdamW(net.parameters(), 0.005)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(net(batch.clips), batch.relation)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2
    assert torch.equal(net(batch.clips).argmax(1), batch.relation)


def test_a_second_run_in_the_same_place_is_refused(datasets, tmp_path):
    dataset = Dataset(datasets["raw"])
    pretrain(load_config(None, [*SMALL, "optim.max_steps=1"]), dataset, tmp_path)
    with pytest.raises(EruvError, match="holds a run already"):
        pretrain(load_config(None, SMALL), dataset, tmp_path)
    with pytest.raises(EruvError, match="another network"):
        pretrain(load_config(None, [*SMALL, "model.width=8"]), dataset, tmp_path, resume=True)
    last = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(last[: len(last) // 2])
    with pytest.raises(EruvError, match="last.pt: damaged checkpoint"):
        pretrain(load_config(None, SMALL), dataset, tmp_path, resume=True)


def test_videos_are_prepared_once(videos, tmp_path):
    arguments = ["--videos", videos / "long", *SMALL, "optim.max_steps=1", "data.val_fraction=0.5", "relations=CS,PI"]
    refused = program(*arguments, "--out", tmp_path / "run", folder=tmp_path)
    assert refused.returncode == 2 and "2 videos with segments are too few" in refused.stderr
    (folder,) = tmp_path.glob("dataset_long_*")
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}
    program(*arguments, "--out", tmp_path / "run", folder=tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (folder / "records").iterdir()} == stamps


def test_the_program_prints_accuracy_beside_chance(datasets, tmp_path):
    done = program("--data", datasets["jpeg"], "--out", tmp_path / "run", *SMALL, "optim.max_steps=2")
    assert done.returncode == 0, done.stderr
    assert "14.3%" in done.stderr and "overall" in done.stderr and "same shot" in done.stderr


@pytest.mark.parametrize("arguments, message", [
    (["--data", "{none}"], "no DATASET here"),
    (["--videos", "{none}/absent"], "no such file or folder"),
    (["--data", "{data}", "optim.epoch=1"], "unknown configuration key 'optim.epoch'; did you mean 'optim.epochs'"),
    (["--data", "{data}", "device=gpu"], "device 'gpu'"),
    (["--device", "gpu"], "device 'gpu'"),
    (["--resume"], "--resume needs --out"),
    (["--out", "{none}", "--resume"], "no run to resume here"),
    (["--config", "{none}/c.yaml"], "c.yaml: cannot be read"),
])
def test_one_clear_line_and_exit_code_2(datasets, tmp_path, arguments, message):
    if {"gpu", "device=gpu"} & set(arguments) and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    done = program(*[argument.format(none=tmp_path, data=datasets["raw"]) for argument in arguments], folder=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
