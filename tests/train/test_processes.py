"""Several processes: two train as one with the doubled batch; a killed one is started again and nothing is lost."""

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from running import metrics

from eruv_dali.errors import EruvError
from eruv_dali.pretrain.__main__ import main
from eruv_dali.train.processes import from_environment
from eruv_dali.train.schedule import scaled

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SMALL = ["device=cpu", "data.crop=40", "data.batch_size=2", "data.val_pairs=9", "data.pairs_per_epoch=32",
         "model.width=4", "model.backbone=r3d", "optim.epochs=2", "log.every_steps=2", "log.tensorboard=false",
         "checkpoint.every_minutes=0"]


def run(command, **kinds):
    return subprocess.run([*map(str, command)], capture_output=True, text=True, **kinds)


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_doubled_batch(datasets, monkeypatch, tmp_path):
    """In float64, where what is left of a difference is no rounding: weights after 6 steps agree to 1e-9."""
    script = Path(__file__).with_name("train_in_double.py")
    monkeypatch.setattr(sys, "argv", [script.name, str(datasets["raw"]), str(tmp_path / "one.pt"), "4", "0.02"])
    runpy.run_path(str(script))
    two = run([*TORCHRUN, script, datasets["raw"], tmp_path / "two.pt", 2, 0.01])
    assert two.returncode == 0, two.stderr
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    worst = max((one[name] - two[name]).abs().max().item() for name in one)
    assert worst < 1e-9
    moved = one["stem.1.running_mean" if "stem.1.running_mean" in one else "backbone.stem.1.running_mean"]
    assert moved.abs().max() > 0.01


@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_nothing_is_lost(datasets, tmp_path):
    command = [*TORCHRUN, "--max-restarts", "1", "-m", "eruv_dali.pretrain", "--data", datasets["raw"], *SMALL]
    whole = run([*command, "--out", tmp_path / "whole"])
    assert whole.returncode == 0, whole.stderr
    torchrun = subprocess.Popen([*map(str, command), "--out", str(tmp_path / "killed")], stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)
    last = tmp_path / "killed" / "last.pt"
    while not last.exists():
        assert torchrun.poll() is None
        time.sleep(0.01)
    worker = _worker(torchrun.pid, rank="1")
    os.kill(worker, signal.SIGKILL)
    _, errors = torchrun.communicate(timeout=300)
    assert torchrun.returncode == 0, errors
    assert "resuming after" in errors
    a, b = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "killed"))
    assert a["step"] == b["step"] == 16
    for name, value in a["net"].items():
        assert torch.equal(value, b["net"][name]), name
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "killed")
    val = [line["val"] for line in metrics(tmp_path / "whole") if "val" in line]
    assert [v["samples"] for v in val] == [9, 9]  # 5 of one process and 4 of the other


def test_several_processes_need_a_common_folder(datasets, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["pretrain", "--data", str(datasets["raw"])])
    with pytest.raises(EruvError, match="several processes need --out RUN"):
        main()


@pytest.mark.slow
def test_a_batch_that_no_process_can_fill_is_refused(datasets, tmp_path):
    done = run([*TORCHRUN, "-m", "eruv_dali.pretrain", "--data", datasets["raw"], "--out", tmp_path / "run", *SMALL,
                "data.batch_size=17"])
    assert "data.batch_size = 17 x 2 processes = 34 can never be filled: an epoch has 32" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rule, rate", [("linear", 0.04), ("sqrt", 0.02), ("none", 0.01)])
def test_the_rate_of_four_processes(rule, rate):
    assert scaled(0.01, 4, rule) == pytest.approx(rate)


def test_one_process_alone_knows_it():
    assert from_environment().world == 1 and from_environment().first


def _worker(parent: int, rank: str) -> int:
    """The process of this rank below torchrun."""
    for folder in Path("/proc").iterdir():
        try:
            ppid = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if ppid == parent and f"\0RANK={rank}\0" in "\0" + (folder / "environ").read_text():
                return int(folder.name)
        except (OSError, ValueError, IndexError):
            continue
    raise AssertionError("no such worker")
