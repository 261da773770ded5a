"""The loop does not wait for the device: it reads losses, scores and times when the device is done with them."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from eruv_dali.errors import EruvError
from eruv_dali.train import clock, loop
from eruv_dali.train.clock import StepClock
from eruv_dali.train.host_copy import HostCopy
from eruv_dali.train.kind_scores import KindScores
from eruv_dali.train.processes import ALONE
from eruv_dali.train.settings import CheckpointConfig, LogConfig, OptimConfig

DEVICE = torch.device("cpu:0")  # the device; "cpu" is the host
READS = ("item", "tolist", "__bool__", "__float__", "__int__", "numpy", "cpu", "__array__")
waits: list[str] = []  # where the host read from the device at once


class OnDevice(torch.Tensor):
    """A tensor that the host must wait for; what is computed from it is one too."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in READS:
            waits.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})


class Late(HostCopy):
    """Arrives when the host asks for the third time; before, reading it is waiting for the device."""

    def __init__(self, tensors):
        self._copies, self.asked = [tensor.as_subclass(torch.Tensor) for tensor in tensors], 0

    @property
    def ready(self):
        self.asked += 1
        return self.asked > 3

    def read(self):
        if 0 < self.asked <= 3:  # only the scores' copy is asked
            waits.append("read")
        return self._copies


class Loader:
    """Batches of 2 in epochs of 12 steps; the batch of step `bad` holds a value that is no number."""

    batch_size, items, device, bad = 2, 24, "cpu", None

    def load_state_dict(self, state):
        pass

    def __iter__(self):
        for step in range(1, 13):
            clips = torch.rand(2, 1, 2, 2, 3, generator=torch.Generator().manual_seed(step))
            if step == self.bad:
                clips[0] = math.nan
            yield SimpleNamespace(clips=clips.as_subclass(OnDevice), label=torch.tensor([0, 1]), info=[step, step])

    def __len__(self):
        return 12


class Task:
    """Trains one linear layer; holds nothing out."""

    program, fingerprint, free = "pretrain", {}, ()

    def __init__(self):
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
        self.loader = Loader()
        self.warnings, self.headline = lambda: [], lambda: "nothing"
        self.loss, self.target = F.cross_entropy, lambda batch: batch.label
        self.validate, self.rank = lambda *_: {}, lambda val: [0.0]
        self.result, self.save_best = lambda *_: {}, lambda *_: None
        self.describe = lambda info: [{"step": step} for step in info]

    def scores(self, device):
        scores = KindScores(("one", "other"), device)
        if device == DEVICE:
            scores.confusion = scores.confusion.as_subclass(OnDevice)
            scores.loss_sum = scores.loss_sum.as_subclass(OnDevice)
        return scores


def train(out, task, every_steps=3):
    # The iterator of a real loader can be closed; so can a generator.
    return loop.Trainer(
        task, optim=OptimConfig(epochs=1, schedule="constant"), checkpoint=CheckpointConfig(),
        log=LogConfig(every_steps=every_steps, tensorboard=False), out=out, seed=0, device=DEVICE,
        precision=torch.float32, processes=ALONE, resume=False).train()


def lines(out):
    return [{key: value for key, value in json.loads(line).items() if key not in ("clips_per_second", "data_wait")}
            for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_the_host_waits_for_no_step_before_the_epoch_ends(tmp_path, monkeypatch):
    train(tmp_path / "early", Task())
    monkeypatch.setattr(loop, "HostCopy", Late)
    waits.clear()
    told = []
    monkeypatch.setattr(loop.Trainer, "_validate", lambda self, told=told, was=loop.Trainer._validate: (
        told.append(list(waits)), was(self))[1])
    train(tmp_path / "late", Task())
    assert told == [["read"]]  # of the last interval, when the epoch is over
    assert [line["step"] for line in lines(tmp_path / "late")] == [3, 6, 9, 12]
    assert lines(tmp_path / "late") == lines(tmp_path / "early")


def test_a_line_is_written_as_soon_as_its_figures_have_arrived(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "HostCopy", Late)
    written = {}
    monkeypatch.setattr(loop.Report, "steps", lambda self, figures, loader: written.setdefault(
        figures["step"], trainer.step))
    trainer = loop.Trainer(
        Task(), optim=OptimConfig(epochs=1, schedule="constant"), checkpoint=CheckpointConfig(),
        log=LogConfig(every_steps=5, tensorboard=False), out=tmp_path, seed=0, device=DEVICE,
        precision=torch.float32, processes=ALONE, resume=False)
    trainer.train()
    assert written == {5: 8, 10: 12, 12: 12}


@pytest.mark.parametrize("bad", [1, 4, 5, 12])
def test_a_loss_that_is_no_number_is_found_late_under_its_own_step(tmp_path, monkeypatch, bad):
    monkeypatch.setattr(loop, "HostCopy", Late)
    task = Task()
    task.loader.bad = bad
    with pytest.raises(EruvError, match=f"loss is nan at step {bad};"):
        train(tmp_path, task)
    assert json.loads((tmp_path / "bad_batch.json").read_text()) == {
        "step": bad, "loss": "nan", "samples": [{"step": bad}] * 2}
    assert [line["step"] for line in lines(tmp_path)] == [step for step in (3, 6, 9) if step < bad]
    assert not (tmp_path / "last.pt").exists()


def test_a_lap_on_a_gpu_is_read_from_its_events(monkeypatch):
    """Ten seconds a step, four of which it waits; only reading the lap waits, for its last event."""
    waited_for = []

    class Event:
        now = 0.0

        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.time = Event.now

        def synchronize(self):
            waited_for.append(self.time)

        def elapsed_time(self, later):
            return 1000 * (later.time - self.time)

    monkeypatch.setattr(clock.torch.cuda, "Event", Event)
    watch = StepClock(torch.device("cuda"))
    laps = []
    for steps in (3, 2):
        for _ in range(steps):
            watch.waiting()
            Event.now += 4
            watch.working()
            Event.now += 6
        laps.append(watch.cut())
    assert not waited_for
    assert [lap.read() for lap in laps] == [(30, 12), (20, 8)] and waited_for == [30, 50]


@pytest.mark.gpu
def test_copies_from_a_gpu_arrive_whole():
    x = torch.ones(2000, 2000, device="cuda")
    for _ in range(50):
        x = x @ x / 2000
    copy = HostCopy([x.sum(), x[0]])
    assert not copy.ready
    total, row = copy.read()
    assert copy.ready and total.is_pinned() and torch.equal(row, torch.ones(2000)) and total == 4e6
