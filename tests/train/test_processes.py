"""Several processes: two train as one with the doubled batch; a killed one is started again and nothing is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from forked import all_ended, program, ranks
from own_statistics import own_statistics
from running import metrics, refused
from train_in_double import train_in_double

from eruv_dali.pretrain.__main__ import main
from eruv_dali.train.processes import Processes, cores_each, from_environment
from eruv_dali.train.schedule import scaled

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SMALL = ["device=cpu", "data.crop=40", "data.batch_size=2", "data.val_pairs=9", "data.pairs_per_epoch=32",
         "model.width=4", "model.backbone=r3d", "optim.epochs=2", "log.every_steps=2", "log.tensorboard=false",
         "checkpoint.every_minutes=0"]


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_doubled_batch(datasets, tmp_path):
    """In float64, where what is left of a difference is no rounding: weights after 6 steps agree to 1e-9."""
    two = ranks(tmp_path / "said", 2, train_in_double, datasets["raw"], tmp_path / "two.pt", 2, 0.01)
    train_in_double(datasets["raw"], tmp_path / "one.pt", 4, 0.02)
    all_ended(two)
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    worst = max((one[name] - two[name]).abs().max().item() for name in one)
    assert worst < 1e-9
    moved = one["stem.1.running_mean" if "stem.1.running_mean" in one else "backbone.stem.1.running_mean"]
    assert moved.abs().max() > 0.01


@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_nothing_is_lost(datasets, tmp_path):
    words = ["--data", datasets["raw"], *SMALL, "--out"]
    command = [*TORCHRUN, "--max-restarts", "1", "-m", "eruv_dali.pretrain", *words, tmp_path / "killed"]
    torchrun = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    all_ended(ranks(tmp_path / "said", 2, program, main, *words, tmp_path / "whole"))
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


def test_running_statistics_become_the_first_processs(tmp_path):
    all_ended(ranks(tmp_path / "said", 2, own_statistics, tmp_path))
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True).tolist() == [1, 1]


def test_each_process_has_its_share_of_the_cores(monkeypatch):
    monkeypatch.setattr("eruv_dali.train.processes.cores", lambda: 8)
    assert [cores_each(Processes(world=4, local_world=local)) for local in (1, 2, 16)] == [8, 4, 1]


@pytest.fixture
def first_of_two(monkeypatch):
    """As torchrun sets it for the first of two processes; the other never comes, so that joining it would fail."""
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)


def test_several_processes_need_a_common_folder(first_of_two, datasets, monkeypatch, capsys):
    assert "under torchrun --out RUN is needed" in refused(monkeypatch, capsys, main, "--data", datasets["raw"])


@pytest.mark.parametrize("source", ["--data", "--videos"])
def test_a_batch_that_no_process_can_fill_is_refused_before_they_join_or_prepare(first_of_two, datasets, videos,
                                                                                monkeypatch, capsys, tmp_path, source):
    words = [source, datasets["raw"] if source == "--data" else videos, "--out", tmp_path / "run", *SMALL]
    said = "data.batch_size = {} x 2 processes = {} can never be filled: an epoch has {} samples"
    assert said.format(17, 34, 32) in refused(monkeypatch, capsys, main, *words, "data.batch_size=17")
    if source == "--data":  # as many as there are segments
        assert "data.batch_size = 50 x 2 processes = 100 can never be filled: an epoch has " in refused(
            monkeypatch, capsys, main, *words, "data.batch_size=50", "data.pairs_per_epoch=null")
    assert not list(tmp_path.iterdir())


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
