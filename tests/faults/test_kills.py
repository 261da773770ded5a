"""Killed at any moments and started again, prepare and pretrain end as if nothing had happened."""

import os
import signal
import time

import pytest
import torch
from alike import same_dataset
from forked import Forked, program
from running import metrics

from eruv_dali.dataset import Dataset
from eruv_dali.prepare.__main__ import main as prepare_program
from eruv_dali.pretrain.__main__ import main as pretrain_program
from eruv_dali.pretrain.run import pretrain
from eruv_dali.train.config import load_config

RUN = ["device=cpu", "data.crop=40", "data.batch_size=2", "data.pairs_per_epoch=20", "data.val_pairs=4",
       "model.width=2", "model.backbone=r3d", "optim.epochs=2", "log.every_steps=2", "log.tensorboard=false",
       "checkpoint.every_minutes=0", "data.val_fraction=0.3"]


def kill_in_a_moment(process: Forked, seconds: float) -> bool:
    """Kill it after so many seconds; False if it had ended by then."""
    end = time.monotonic() + seconds
    while process.running and time.monotonic() < end:
        time.sleep(0.002)
    if not process.running:
        return False
    os.kill(process.pid, signal.SIGKILL)
    assert process.ended() == -signal.SIGKILL
    return True


@pytest.mark.parametrize("pack", ["video", "jpeg", "raw", "none"])
def test_prepare(films, undisturbed, tmp_path, draw, pack):
    out, kills = tmp_path / "out", 0
    command = (films, "--out", out, "--device", "cpu", "--pack", pack, "--workers", draw.choice([1, 2]))
    for number in range(draw.randint(1, 4)):
        kills += kill_in_a_moment(Forked(tmp_path / f"said{number}", program, prepare_program, *command),
                                  draw.uniform(0, 4))
    last = Forked(tmp_path / "said", program, prepare_program, *command)
    assert last.ended() == 0, last.stderr
    print(f"{kills} kills")
    same_dataset(out, undisturbed[pack])


@pytest.fixture(scope="session")
def trained(datasets, made_once):
    """A run that nothing disturbed."""
    return made_once("faults_trained", lambda folder: pretrain(
        load_config(None, RUN), Dataset(datasets["raw"]), folder / "run")) / "run"


def test_pretrain(datasets, trained, tmp_path, draw):
    out, kills = tmp_path / "run", 0
    for number in range(draw.randint(1, 4)):
        resume = ["--resume"] if (out / "config.yaml").exists() else []
        kills += kill_in_a_moment(Forked(tmp_path / f"said{number}", program, pretrain_program, "--data",
                                         datasets["raw"], "--out", out, *RUN, *resume), draw.uniform(0, 8))
    resume = ["--resume"] if (out / "config.yaml").exists() else []
    last = Forked(tmp_path / "said", program, pretrain_program, "--data", datasets["raw"], "--out", out, *RUN, *resume)
    assert last.ended() == 0, last.stderr
    print(f"{kills} kills")
    one, other = (torch.load(run / "last.pt", weights_only=True) for run in (out, trained))
    assert one["step"] == other["step"] == 20
    assert all(torch.equal(one["net"][name], other["net"][name]) for name in other["net"])
    assert metrics(out) == metrics(trained)
    assert (out / "result.json").read_text() == (trained / "result.json").read_text()
