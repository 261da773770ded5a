"""The training loop, for any task: epochs, checkpoints, exact resumption, stop signals and report.

    Trainer(task, …).train()  ──►  RUN: metrics.jsonl, TensorBoard events, last.pt; the task keeps its best epoch

Besides weights and optimiser, the state of a run is its step: the loader's position, the schedule and dropout follow
from it.
"""

import contextlib
import dataclasses
import errno
import json
import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from eruv_dali.errors import EruvError
from eruv_dali.files import lock, write_text
from eruv_dali.train.checkpoint import checkpoints, load_newest, parts_of, save_checkpoint
from eruv_dali.train.clock import Lap, StepClock
from eruv_dali.train.feature_terms import FeatureTerms
from eruv_dali.train.host_copy import HostCopy
from eruv_dali.train.processes import Agreement, Processes, cores_each, same_buffers
from eruv_dali.train.report import Report
from eruv_dali.train.schedule import build_schedule, scaled
from eruv_dali.train.settings import CheckpointConfig, LogConfig, OptimConfig
from eruv_dali.train.step import TrainStep
from eruv_dali.train.stop import Stopped, StopSignals
from eruv_dali.train.task import Scores, Task
from eruv_dali.train.term_scores import TermScores


def refuse_run(out: Path, resume: bool) -> None:
    """Refuse to start a run in a folder that already holds one.

    Raises:
        EruvError: `out` holds a run, and `resume` is not set; or it is a file.
    """
    if out.exists() and not out.is_dir():
        raise EruvError(f"{out}: is a file; --out names a folder")
    if not resume and checkpoints(out / "last.pt"):
        raise EruvError(f"{out}: holds a run already; continue it with resume=True (--resume), or choose another "
                        "folder")


@contextlib.contextmanager
def only_training(out: Path, resume: bool, processes: Processes) -> Iterator[None]:
    """Hold the RUN folder, which is made if there is none: a second training in it stops with an error. The hold ends
    however this process ends; a file system without locks has none.

    Raises:
        EruvError: another training is writing there, or one has begun since `refuse_run` was asked.
    """
    if not processes.first:
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not lock(folder, needed=False):
            raise EruvError(f"{out}: another training is writing this run; wait for it to end, or choose another "
                            "folder")
        refuse_run(out, resume)
        yield
    finally:
        os.close(folder)


@dataclass(frozen=True, eq=False)
class Interval:
    """The steps of one line of metrics.jsonl, whose figures are on their way from the device.

    Attributes:
        epoch, step, lr, clips: of the line.
        losses: one tensor, a loss for each batch of `infos`, the last of which was trained on in step `step`.
        scores: the tensors of the scores' `state_dict`, in its order.
        laps: the time it took, in parts.
    """

    epoch: int
    step: int
    lr: float
    clips: int
    infos: list
    losses: HostCopy
    scores: HostCopy
    laps: list[Lap]


class Trainer:
    """Trains a task and fills the RUN folder.

    Args:
        task: what is trained.
        optim, checkpoint, log: sections of the configuration. `optim.lr` is for one process: with several it is
            multiplied according to `optim.lr_rule`.
        out: the RUN folder.
        seed: of dropout.
        device, precision: where, and in which dtype, the network computes.
        processes: this process among those that train together; only the first writes.
        resume: continue from the newest intact checkpoint in `out`, if there is one, bit for bit.
        terms: further terms of the loss; then the task's net returns (output, features) in training.
        rate_of: see `TrainStep`.

    Attributes:
        result: `task.result` of the best epoch.

    Raises:
        EruvError: the checkpoint belongs to another run, the loss is not a finite number, a checkpoint cannot be
            written.
        Stopped: SIGINT or SIGTERM was received, and the run was saved.
    """

    def __init__(
        self, task: Task, *, optim: OptimConfig, checkpoint: CheckpointConfig, log: LogConfig, out: Path, seed: int,
        device: torch.device, precision: torch.dtype, processes: Processes, resume: bool,
        terms: FeatureTerms | None = None, rate_of: Callable[[str], float] | None = None,
    ) -> None:
        self.task, self.optim, self.checkpoint, self.log, self.out = task, optim, checkpoint, log, out
        self.device, self.processes, self.terms = device, processes, terms
        lr = scaled(optim.lr, processes.world, optim.lr_rule)
        self.step_by = TrainStep(task.net, dataclasses.replace(optim, lr=lr), device=device, precision=precision,
                                 loss=task.loss, processes=processes, seed=seed, terms=terms,
                                 rate_of=rate_of)
        self.net = self.step_by.net
        self.epoch_steps = len(task.loader)
        self.total_steps = int(min(optim.epochs * self.epoch_steps, optim.max_steps or math.inf))
        self.schedule = build_schedule(self.step_by.optimizer, optim, self.total_steps)
        self.agreement = Agreement(processes)
        self.step = 0  # steps done
        self.validated = 0  # steps done at the last validation
        self.best: list[float] | None = None
        self.result: dict[str, Any] = {}
        self.at_chance: dict[str, int] = {}
        self.interval = self._scores(device)  # over the steps since the last line of metrics.jsonl
        self.unchecked: list[tuple[torch.Tensor, Any]] = []  # losses not yet checked, and the info of their batches
        self.clock, self.laps, self.clips = StepClock(device), list[Lap](), 0
        self.awaited: deque[Interval] = deque()  # ended, their lines not yet written
        self.report: Report | None = None  # of the first process
        self.saved_at = time.monotonic()
        self.signals = StopSignals()
        if resume and checkpoints(out / "last.pt"):
            state, file = load_newest(out / "last.pt")
            with parts_of(file):
                self._load(state, file)

    def train(self) -> dict[str, Any]:
        """Train to the end of the run; returns `result`."""
        with self.signals:
            if not self.processes.first:
                self._train()
                return self.result
            self.out.mkdir(parents=True, exist_ok=True)
            for aside in self.out.glob(".*.aside"):  # left by a process that was killed while writing
                aside.unlink()
            self.report = report = Report(self.out, self.total_steps, self.step, tensorboard=self.log.tensorboard,
                                          at_chance=self.at_chance, cores=cores_each(self.processes))
            report.forget_after(self.step, self.validated)
            with report:
                report.say(self._headline())
                for warning in self.task.warnings():
                    report.warn(warning)
                self._train()
            return self.result

    def _headline(self) -> str:
        precision = str(self.step_by.precision).removeprefix("torch.")
        several = f" on each of {self.processes.world} processes" if self.processes.world > 1 else ""
        begun = f", resuming after {self.step}" if self.step else ""
        return (f"{self.task.program} {self.task.headline()}, {self.total_steps} steps of "
                f"{self.task.loader.batch_size}{several}{begun}, {self.device.type}, {precision}")

    def _train(self) -> None:
        while True:
            if self.step < self.total_steps and not self._validation_due():
                self._train_epoch()
            if not self._validation_due():
                return
            self._validate()
            self._gather_interval()
            self._save()

    def _validation_due(self) -> bool:
        """True at the end of each epoch, and of the run."""
        ended = self.step % self.epoch_steps == 0 or self.step == self.total_steps
        return ended and self.step > self.validated

    def _train_epoch(self) -> None:
        """Train up to the end of the epoch, or of the run."""
        loader = self.task.loader
        epoch, within = divmod(self.step, self.epoch_steps)
        together = loader.batch_size * self.processes.world
        loader.load_state_dict({"epoch": epoch, "position": within * together})
        batches = iter(loader)
        self.net.train()
        self.clock.cut()  # time since the last epoch is not training
        while True:
            self.clock.waiting()
            batch = next(batches)
            self.clock.working()
            target = self.task.target(batch).to(self.device, non_blocking=True)
            whole = (self.step % self.epoch_steps + 1) * together <= loader.items
            origins = self.terms.origins(batch) if self.terms else None
            if origins is not None:
                origins = origins.to(self.device, non_blocking=True)
            lr = self.step_by.optimizer.param_groups[0]["lr"]
            output, loss = self.step_by(batch.clips, target, self.step, whole=whole, origins=origins)
            if self.optim.schedule in ("cosine", "step"):
                self.schedule.step()
            self.interval.add(output, target, loss)
            if isinstance(self.interval, TermScores):
                self.interval.add_terms(self.step_by.terms)
                loss = loss + self.step_by.terms.sum()  # is no finite number either if one of them is none
            self.unchecked.append((loss, batch.info))
            self.clips += batch.clips[..., 0, 0, 0, 0].numel()
            self.step += 1
            self._report_intervals(left=1)
            if self.step % self.log.every_steps == 0 or self.step == self.total_steps:
                self._end_interval(epoch, lr)
                if time.monotonic() - self.saved_at > 60 * self.checkpoint.every_minutes:
                    self._save()
            self._stop_if_asked()
            if self.step == self.total_steps or self.step % self.epoch_steps == 0:
                break
        batches.close()
        self.laps.append(self.clock.cut())
        self._report_intervals()

    def _end_interval(self, epoch: int, lr: float) -> None:
        """Have the figures for a line of metrics.jsonl copied to the host, and write it when they have arrived.
        `lr`: of the last step.

        The host does not wait for them: the device would be idle until the host has queued the next step.
        """
        self.laps.append(self.clock.cut())
        self.interval.add_up(self.processes)
        self.awaited.append(Interval(
            epoch, self.step, lr, self.clips,
            [info for _, info in self.unchecked], _together(self.unchecked),
            HostCopy(list(self.interval.state_dict().values())), self.laps))
        self.interval = self._scores(self.device)
        self.unchecked, self.laps, self.clips = [], [], 0
        self._report_intervals(left=1)

    def _report_intervals(self, left: int = 0) -> None:
        """Check the losses of the intervals that the device is done with and write their lines; wait for the device
        only where more than `left` would remain."""
        while self.awaited and (len(self.awaited) > left or self.awaited[0].scores.ready):
            interval = self.awaited.popleft()
            self._check_losses(interval.losses, interval.step, interval.infos)
            if not self.report:
                continue
            scores = self._scores(torch.device("cpu"))
            scores.load_state_dict(dict(zip(scores.state_dict(), interval.scores.read(), strict=True)))
            laps = [lap.read() for lap in interval.laps]
            seconds, waited = (sum(times) for times in zip(*laps, strict=True))
            self.report.steps({
                "epoch": interval.epoch, "step": interval.step, **scores.figures(),
                "clips_per_second": interval.clips * self.processes.world / seconds, "data_wait": waited / seconds,
                "lr": interval.lr,
            }, self.task.loader)

    def _check_losses(self, losses: HostCopy, step: int, infos: Sequence[Any]) -> None:
        """Stop if a loss is not a finite number. The last of the losses is that of step `step`."""
        (found,) = losses.read()
        for number, loss in enumerate(found.tolist(), step - len(found) + 1):
            if not math.isfinite(loss):
                file = self.out / "bad_batch.json"
                samples = self.task.describe(infos[number - step - 1])
                write_text(file, json.dumps({"step": number, "loss": str(loss), "samples": samples}, indent=1))
                raise EruvError(f"loss is {loss} at step {number}; its batch is described in {file}; lower the "
                                f"learning rate ({self.optim.lr}), and start a new run from the last checkpoint")

    @torch.no_grad()
    def _validate(self) -> None:
        same_buffers(self.processes, self.net)
        epoch = (self.step - 1) // self.epoch_steps
        if self.report:
            self.report.status("validating")
        self.net.eval()
        val = self.task.validate(self.step_by, self.processes, self._pause)
        if val and self.optim.schedule == "plateau":
            self.schedule.step(val["loss"])
        self.validated = self.step
        if self.report and val:
            self.report.validation({"epoch": epoch, "step": self.step, "val": val}, self.task.advice)
        # If nothing is held out, the last epoch counts as the best.
        if val or self.step == self.total_steps:
            rank = self.task.rank(val) if val else [float(epoch)]
            if self.best is None or rank > self.best:
                self.best, self.result = rank, self.task.result(val, epoch, self.step)
                if self.processes.first:
                    self.task.save_best(self.out, val, epoch)

    def _pause(self) -> None:
        """Called between batches of a validation. Several processes agree to stop only at a step."""
        if self.processes.world == 1:
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if not self.agreement.reached(self.signals.received is not None):
            return
        self._gather_interval()
        self._save()
        number = self.signals.received or signal.SIGTERM
        name = signal.Signals(number).name
        start = "python" if self.processes.world == 1 else "torchrun …"
        raise Stopped(f"{name}: saved after step {self.step} of {self.total_steps}; "
                      f"{self.task.resumed_by(start, self.out)}", number)

    def _gather_interval(self) -> None:
        """Add what all processes counted since the last logging step to the first process's scores, which it saves."""
        self.interval.add_up(self.processes)
        if not self.processes.first:
            self.interval = self._scores(self.device)

    def _scores(self, device: torch.device) -> Scores:
        """The scores of training steps, with nothing counted yet."""
        scores = self.task.scores(device)
        return TermScores(scores, self.terms.names, device) if self.terms else scores

    def _save(self) -> None:
        """Save the run, if this is the first process, and if no loss has spoilt the weights."""
        self._report_intervals()  # their steps will not be done again
        self._check_losses(_together(self.unchecked), self.step, [info for _, info in self.unchecked])
        self.unchecked = []
        self.saved_at = time.monotonic()
        if not self.processes.first:
            return
        save_checkpoint(self.out / "last.pt", {
            "net": self.net.state_dict(), "optimizer": self.step_by.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(), "scaler": self.step_by.scaler.state_dict(),
            "step": self.step, "validated": self.validated, "best": self.best, "result": self.result,
            "interval": self.interval.state_dict(), "at_chance": self.at_chance, "fingerprint": self.task.fingerprint,
            "samples_a_step": self._samples_a_step(),
        }, keep=self.checkpoint.keep)

    def _load(self, state: dict[str, Any], file: Path) -> None:
        """Continue from a checkpoint, if it belongs to the run that the task describes."""
        before, now = {**self.task.defaults, **state["fingerprint"]}, self.task.fingerprint
        for key in before | now:
            if key not in self.task.free and now.get(key) != before.get(key):
                raise EruvError(f"{key} = {_short(now.get(key))} was {_short(before.get(key))} when this run began "
                                f"({file}); resume with what it was, or start a new run in another folder")
        if state["samples_a_step"] != self._samples_a_step():
            raise EruvError(f"batches of {self.task.loader.batch_size} on {self.processes.world} process(es) are "
                            f"{self._samples_a_step()} samples a step, and were {state['samples_a_step']} when this "
                            f"run began ({file}); resume with as many, or start a new run in another folder")
        self.net.load_state_dict(state["net"])
        self.step_by.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step_by.scaler.load_state_dict(state["scaler"])
        self.step, self.validated, self.best = state["step"], state["validated"], state["best"]
        self.result, self.at_chance = state["result"], state["at_chance"]
        if self.processes.first:  # includes the other processes' counts
            self.interval.load_state_dict(state["interval"])

    def _samples_a_step(self) -> int:
        return self.task.loader.batch_size * self.processes.world


def _together(unchecked: Sequence[tuple[torch.Tensor, Any]]) -> HostCopy:
    losses = [loss for loss, _ in unchecked]
    return HostCopy([torch.stack(losses) if losses else torch.zeros(0)])


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


@contextlib.contextmanager
def disk_errors_named(out: Path) -> Iterator[None]:
    """Report a file that cannot be written in one line."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise
        space = "free some space, or " if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
        kept = f"nothing was saved yet; {space}choose another folder"
        if checkpoints(out / "last.pt"):
            kept = "the last checkpoint is intact, continue with resume=True (--resume)"
        raise EruvError(f"{error.filename or out}: {error.strerror}; {kept}") from None
