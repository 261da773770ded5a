"""The pre-training loop: a siamese 3D CNN learns to name the relation between two clips (ERUV, section III-C)."""

import dataclasses
import hashlib
import json
import math
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from eruv_dali.config import Config, dump_config, flatten
from eruv_dali.dataset import Dataset
from eruv_dali.device import resolve_device
from eruv_dali.errors import EruvError
from eruv_dali.files import write_text
from eruv_dali.loader import RelationLoader
from eruv_dali.loader.engine import default_threads
from eruv_dali.models import RelationNet, build_backbone, save_backbone
from eruv_dali.pretrain.scores import RelationScores
from eruv_dali.train.checkpoint import checkpoints, load_newest, save_checkpoint
from eruv_dali.train.clock import StepClock
from eruv_dali.train.processes import ALONE, Agreement, Processes, join
from eruv_dali.train.report import Report
from eruv_dali.train.schedule import build_schedule, scaled
from eruv_dali.train.step import TrainStep, choose_precision
from eruv_dali.train.stop import Stopped, StopSignals
from eruv_dali.visualize.confusion import draw_confusion
from eruv_dali.visualize.curves import draw_curves

VAL_PAIRS_PER_RELATION = 30  # at the least, so that the accuracy of one relation means something

# What may differ between a run's start and its resumption. How the videos were prepared is not compared either: the
# segments that came of it are.
FREE_KEYS = (
    "optim.epochs", "optim.max_steps", "optim.compile", "checkpoint.every_minutes", "checkpoint.keep",
    "log.every_steps", "log.tensorboard", "device", "data.dataset", "data.videos", "data.threads", "data.pack",
    "data.rule", "data.threshold", "data.segment_length", "data.min_length",
    "data.batch_size",  # the pairs of all processes together are compared
)


def pretrain(
    config: Config, dataset: Dataset, out: Path, *, resume: bool = False, processes: Processes = ALONE
) -> dict[str, Any]:
    """Pre-train on a prepared DATASET and fill the RUN folder `out`.

    Writes config.yaml, metrics.jsonl, last.pt, best.pt (best validation accuracy), backbone.pt (the best backbone),
    result.json, curves.png and confusion.png; returns the content of result.json: {"accuracy", "per_relation", …},
    fractions of 1, of the best epoch.

    Args:
        config: everything that decides the run. `data.batch_size` and `optim.lr` are for one process: with several,
            each takes its own batch, and the rate is multiplied as `optim.lr_rule` says.
        dataset: what `prepare` wrote.
        out: the RUN folder.
        resume: go on from the newest whole checkpoint in `out`, bit for bit.
        processes: this process among those that train together; only the first writes.

    Raises:
        EruvError: `out` holds a run already (and not `resume`), or another run than `config` describes; the data cannot
            serve the configuration; the loss is no number any more; a file cannot be written.
        Stopped: SIGINT or SIGTERM came, and the run was saved.
    """
    device = torch.device("cpu")
    if resolve_device(config.device) == "gpu":
        device = torch.device("cuda", processes.local_rank)
    join(processes, device)
    if not resume and checkpoints(out / "last.pt"):
        raise EruvError(f"{out}: holds a run already; add --resume to go on with it, or name another --out")
    state, file = load_newest(out / "last.pt") if resume else (None, None)
    precision = choose_precision(config.optim.precision, device)
    torch.manual_seed(config.seed)
    torch.backends.cudnn.benchmark = True
    with (
        _loader(config, dataset, "train", precision, processes) as train,
        _loader(config, dataset, "val", precision, processes) as val,
        StopSignals() as signals,
    ):
        run = _Run(config, train, val, out, device, precision, processes, signals)
        if resume:
            run.load(state, file)
        try:
            return run.train()
        except OSError as error:
            if error.filename is None and error.strerror is None:
                raise
            raise EruvError(f"{error.filename or out}: {error.strerror}; the last checkpoint is intact, go on with "
                            "--resume") from None


def _loader(
    config: Config, dataset: Dataset, split: str, precision: torch.dtype, processes: Processes
) -> RelationLoader:
    data, pairs = config.data, config.data.pairs_per_epoch
    loader = RelationLoader(
        dataset, batch_size=data.batch_size, clip_length=data.clip_length, crop=data.crop, device=config.device,
        dtype=precision, mean=data.mean, std=data.std, relations=config.relations, trimmed=data.trimmed, split=split,
        val_fraction=data.val_fraction, pairs_per_epoch=pairs if split == "train" else data.val_pairs,
        # Held-out pairs are drawn from a seed of their own, the same in every epoch.
        seed=config.seed if split == "train" else config.seed + 1,
        shard_id=processes.rank, num_shards=processes.world,
        threads=data.threads or max(1, default_threads() // processes.local_world),
    )
    if split == "val" and data.val_pairs is None:
        loader.items = max(len(loader.pairs), VAL_PAIRS_PER_RELATION * len(loader.relations))
    if split == "train":
        together = data.batch_size * processes.world
        if together > loader.items:
            processes_too = f" x {processes.world} processes = {together}" if processes.world > 1 else ""
            raise EruvError(f"data.batch_size = {data.batch_size}{processes_too} pairs can never be filled: an epoch "
                            f"has {loader.items} (segments of the training videos, or data.pairs_per_epoch); lower the "
                            f"one or set data.pairs_per_epoch={together} or more")
        # Whole batches only, the same number for every process: beyond its end an epoch is a further pass.
        loader.items = -(-loader.items // together) * together
    return loader


class _Run:
    """A training run: the network, what trains it, and how far it has come."""

    def __init__(
        self, config: Config, train: RelationLoader, val: RelationLoader, out: Path, device: torch.device,
        precision: torch.dtype, processes: Processes, signals: StopSignals,
    ) -> None:
        self.config, self.train_loader, self.val_loader, self.out = config, train, val, out
        self.device, self.processes, self.signals = device, processes, signals
        model = config.model
        backbone = build_backbone(model.backbone, width=model.width)
        self.net = RelationNet(backbone, len(train.relations), head=model.head, hidden=model.hidden,
                               dropout=model.dropout)
        lr = scaled(config.optim.lr, processes.world, config.optim.lr_rule)
        self.step_by = TrainStep(self.net, dataclasses.replace(config.optim, lr=lr), device=device,
                                 precision=precision, processes=processes, seed=config.seed)
        self.epoch_steps = len(train)
        self.total_steps = int(min(config.optim.epochs * self.epoch_steps, config.optim.max_steps or math.inf))
        self.schedule = build_schedule(self.step_by.optimizer, config.optim, self.total_steps)
        self.agreement = Agreement(processes)
        self.step = 0  # steps done
        self.validated = 0  # after so many steps the last validation took place
        self.best = -1.0
        self.result: dict[str, Any] = {}
        self.at_chance: dict[str, int] = {}
        self.interval = RelationScores(train.relations, device)  # of the steps since the last line of metrics.jsonl
        self.unchecked: list[tuple[torch.Tensor, list]] = []  # losses nobody has looked at, and their batches' info
        self.clock, self.seconds, self.waited, self.clips = StepClock(device), 0.0, 0.0, 0
        self.saved_at = time.monotonic()

    def train(self) -> dict[str, Any]:
        config, log = self.config, self.config.log
        if not self.processes.first:
            self._train(None)
            return self.result
        self.out.mkdir(parents=True, exist_ok=True)
        for aside in self.out.glob(".*.aside"):  # of a process killed while it wrote
            aside.unlink()
        write_text(self.out / "config.yaml", dump_config(config))
        report = Report(self.out, self.total_steps, self.step, tensorboard=log.tensorboard, at_chance=self.at_chance)
        report.forget_after(self.step, self.validated)
        with report:
            report.say(self._headline())
            report.relations(self.train_loader.pairs)
            self._train(report)
        write_text(self.out / "result.json", json.dumps(self.result, indent=1) + "\n")
        draw_curves(self.out / "metrics.jsonl", self.out / "curves.png")
        draw_confusion(self.result["confusion"], self.result["relations"], self.out / "confusion.png",
                       title=f"{self.result['pairs']} pairs of held-out videos, epoch {self.result['epoch']}")
        return self.result

    def _headline(self) -> str:
        model, precision = self.config.model, str(self.step_by.precision).removeprefix("torch.")
        parameters = sum(p.numel() for p in self.net.backbone.parameters())
        several = f" on each of {self.processes.world} processes" if self.processes.world > 1 else ""
        begun = f", going on after {self.step}" if self.step else ""
        return (f"pretrain {model.backbone} ({parameters / 1e6:.2f} M parameters), {len(self.train_loader.relations)} "
                f"relations, {len(self.train_loader.pairs)} + {len(self.val_loader.pairs)} segments (training + "
                f"held out), {self.total_steps} steps of {self.config.data.batch_size} pairs{several}{begun}, "
                f"{self.device.type}, {precision}")

    def _train(self, report: Report | None) -> None:
        while True:
            if self.step < self.total_steps and not self._validation_due():
                self._train_epoch(report)
            if not self._validation_due():
                return
            self._validate(report)
            self._gather_interval()
            self._save()

    def _validation_due(self) -> bool:
        """At the end of each epoch, and of the run."""
        ended = self.step % self.epoch_steps == 0 or self.step == self.total_steps
        return ended and self.step > self.validated

    def _train_epoch(self, report: Report | None) -> None:
        """Train up to the end of the epoch, or of the run."""
        epoch, within = divmod(self.step, self.epoch_steps)
        together = self.config.data.batch_size * self.processes.world
        self.train_loader.load_state_dict({"epoch": epoch, "position": within * together})
        batches = iter(self.train_loader)
        self.net.train()
        self.clock.lap()  # whatever came between is not training
        while True:
            self.clock.waiting()
            batch = next(batches)
            self.clock.working()
            relation_B = batch.relation.to(self.device, non_blocking=True)
            logits_BR, loss = self.step_by(batch.clips, relation_B, self.step)
            if self.config.optim.schedule == "cosine":
                self.schedule.step()
            self.interval.add(logits_BR, relation_B, loss)
            self.unchecked.append((loss, batch.info))
            self.clips += 2 * len(relation_B)
            self.step += 1
            self._stop_if_asked()
            if self.step % self.config.log.every_steps == 0 or self.step == self.total_steps:
                self._log_steps(epoch, report)
                if time.monotonic() - self.saved_at > 60 * self.config.checkpoint.every_minutes:
                    self._save()
            if self.step == self.total_steps or self.step % self.epoch_steps == 0:
                break
        batches.close()
        self._lap()

    def _lap(self) -> None:
        seconds, waited = self.clock.lap()
        self.seconds, self.waited = self.seconds + seconds, self.waited + waited

    def _log_steps(self, epoch: int, report: Report | None) -> None:
        self._check_losses()
        self._lap()
        self.interval.add_up(self.processes)
        if report:
            report.steps({
                "epoch": epoch, "step": self.step, "loss": self.interval.loss, "accuracy": self.interval.accuracy,
                "clips_per_second": self.clips * self.processes.world / self.seconds,
                "data_wait": self.waited / self.seconds, "lr": self.step_by.optimizer.param_groups[0]["lr"],
            }, self.train_loader)
        self.interval = RelationScores(self.train_loader.relations, self.device)
        self.seconds, self.waited, self.clips = 0.0, 0.0, 0

    def _check_losses(self) -> None:
        """Stop where a loss is no finite number, before weights spoilt by it are saved."""
        if not self.unchecked:
            return
        losses = torch.stack([loss for loss, _ in self.unchecked]).tolist()
        first = self.step - len(losses)
        for number, loss in enumerate(losses):
            if not math.isfinite(loss):
                file = self.out / "bad_batch.json"
                pairs = [{"relation": pair.relation, "clips": [clip._asdict() for clip in pair.clips]}
                         for pair in self.unchecked[number][1]]
                write_text(file, json.dumps({"step": first + number + 1, "loss": str(loss), "pairs": pairs}, indent=1))
                raise EruvError(f"loss is {loss} at step {first + number + 1}; its batch is described in {file}; lower "
                                f"optim.lr ({self.config.optim.lr}), and go on from the last checkpoint in a new run")
        self.unchecked = []

    @torch.no_grad()
    def _validate(self, report: Report | None) -> None:
        scores = RelationScores(self.val_loader.relations, self.device)
        self.net.eval()
        self.val_loader.set_epoch(0)
        if report:
            report.status("validating")
        for batch in self.val_loader:
            relation_B = batch.relation.to(self.device, non_blocking=True)
            logits_BR = self.step_by.answer(batch.clips)
            scores.add(logits_BR, relation_B, F.cross_entropy(logits_BR, relation_B))
            if self.processes.world == 1:  # several have not the same number of batches, and agree at a step
                self._stop_if_asked()
        scores.add_up(self.processes)
        epoch = (self.step - 1) // self.epoch_steps
        figures = {"accuracy": scores.accuracy, "per_relation": scores.per_relation,
                   "confusion": scores.confusion.tolist()}
        if self.config.optim.schedule == "plateau":
            self.schedule.step(scores.loss)
        self.validated = self.step
        if report:
            val = {**figures, "loss": scores.loss, "pairs": scores.count}
            report.validation({"epoch": epoch, "step": self.step, "val": val}, self.config.model.head)
        if scores.accuracy > self.best:
            self.best = scores.accuracy
            model = self.config.model
            self.result = {"program": "pretrain", "backbone": model.backbone, "width": model.width,
                           "head": model.head, "seed": self.config.seed,
                           "relations": list(scores.relations), **figures,
                           "chance": 1 / len(scores.relations), "epoch": epoch, "step": self.step,
                           "pairs": scores.count}
            if self.processes.first:
                save_checkpoint(self.out / "best.pt", {"net": self.net.state_dict(), "model": vars(model),
                                                       "epoch": epoch, **figures})
                save_backbone(self.net.backbone, self.out / "backbone.pt")

    def _stop_if_asked(self) -> None:
        if not self.agreement.reached(self.signals.received is not None):
            return
        self._gather_interval()
        self._save()
        number = self.signals.received or signal.SIGTERM
        name = signal.Signals(number).name
        start = "python" if self.processes.world == 1 else "torchrun …"
        raise Stopped(f"{name}: saved after step {self.step} of {self.total_steps}; go on with: "
                      f"{start} -m eruv_dali.pretrain --out {self.out} --resume", number)

    def _gather_interval(self) -> None:
        """Hand what all processes counted since the last logging step to the first, which saves it."""
        self.interval.add_up(self.processes)
        if not self.processes.first:
            self.interval = RelationScores(self.train_loader.relations, self.device)

    def _save(self) -> None:
        """Save the run, if this is the first process."""
        self._check_losses()
        self.saved_at = time.monotonic()
        if not self.processes.first:
            return
        save_checkpoint(self.out / "last.pt", {
            "net": self.net.state_dict(), "optimizer": self.step_by.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(), "scaler": self.step_by.scaler.state_dict(),
            "step": self.step, "validated": self.validated, "best": self.best, "result": self.result,
            "interval": {"confusion": self.interval.confusion, "loss_sum": self.interval.loss_sum},
            "at_chance": self.at_chance, "config": flatten(self.config), "pairs_a_step": self._pairs_a_step(),
            "data": self._data(),
        }, keep=self.config.checkpoint.keep)

    def load(self, state: dict[str, Any], file: Path) -> None:
        """Go on from a checkpoint, if it is of the run that the configuration describes."""
        before, now = state["config"], flatten(self.config)
        for key, value in before.items():
            if key not in FREE_KEYS and now.get(key) != value:
                raise EruvError(f"{key} = {now.get(key)} was {value} when this run began ({file}); resume with the old "
                                "value, or start a new run with another --out")
        if state["pairs_a_step"] != self._pairs_a_step():
            raise EruvError(f"data.batch_size = {self.config.data.batch_size} on {self.processes.world} process(es) is "
                            f"{self._pairs_a_step()} pairs a step, and was {state['pairs_a_step']} when this run began "
                            f"({file}); resume with as many, or start a new run with another --out")
        if state["data"] != self._data():
            raise EruvError(f"{self.train_loader.videos.folder}: not the segments that this run began with ({file}); "
                            "resume with the old DATASET, or start a new run with another --out")
        self.net.load_state_dict(state["net"])
        self.step_by.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.step_by.scaler.load_state_dict(state["scaler"])
        self.step, self.validated, self.best = state["step"], state["validated"], state["best"]
        self.result, self.at_chance = state["result"], state["at_chance"]
        if self.processes.first:  # the others' counts are in it
            self.interval.confusion.copy_(state["interval"]["confusion"])
            self.interval.loss_sum.copy_(state["interval"]["loss_sum"])

    def _pairs_a_step(self) -> int:
        return self.config.data.batch_size * self.processes.world

    def _data(self) -> str:
        """A digest of the segments, training and held out, by the names of their videos."""
        digest = hashlib.sha256()
        for loader in (self.train_loader, self.val_loader):
            segments, videos = loader.pairs.segments, loader.videos.videos
            names = "\n".join(videos[number].video for number in np.unique(segments["video"]))
            digest.update(f"{names}\n{loader.items}".encode() + segments.tobytes())
        return digest.hexdigest()
