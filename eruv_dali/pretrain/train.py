"""The pre-training loop: a siamese 3D CNN learns to name the relation between two clips (ERUV, section III-C)."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn import functional as F

from eruv_dali.config import Config, dump_config
from eruv_dali.dataset import Dataset
from eruv_dali.device import resolve_device
from eruv_dali.errors import EruvError
from eruv_dali.files import write_text
from eruv_dali.loader import RelationLoader
from eruv_dali.models import RelationNet, build_backbone, save_backbone
from eruv_dali.pretrain.checkpoint import load_checkpoint, save_checkpoint, seed_everything
from eruv_dali.pretrain.scores import RelationScores

VAL_PAIRS_PER_RELATION = 30  # at the least, so that the accuracy of one relation means something
WARMUP = 0.05  # share of the steps in which a cosine schedule rises

console = Console(stderr=True)


def pretrain(config: Config, dataset: Dataset, out: Path, *, resume: bool = False) -> dict:
    """Pre-train on a prepared DATASET and fill the RUN folder `out`.

    Writes config.yaml, metrics.jsonl, last.pt, best.pt (best validation accuracy), backbone.pt (the best backbone) and
    result.json; returns the content of the last: {"accuracy", "per_relation", …}, fractions of 1.

    Raises:
        EruvError: `out` holds a run already (and not `resume`), or the data cannot serve the configuration.
    """
    if (out / "last.pt").exists() and not resume:
        raise EruvError(f"{out}: holds a run already; add --resume to go on with it, or name another --out")
    device = torch.device("cuda" if resolve_device(config.device) == "gpu" else "cpu")
    precision = _precision(config.optim.precision, device)
    seed_everything(config.seed)
    torch.backends.cudnn.benchmark = True
    with _loader(config, dataset, "train", precision) as train, _loader(config, dataset, "val", precision) as val:
        run = _Run(config, train, val, out, device, precision)
        if resume:
            run.load(load_checkpoint(out / "last.pt"))
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "config.yaml", dump_config(config))
        return run.train()


def _loader(config: Config, dataset: Dataset, split: str, precision: torch.dtype) -> RelationLoader:
    data = config.data
    pairs = data.pairs_per_epoch
    loader = RelationLoader(
        dataset, batch_size=data.batch_size, clip_length=data.clip_length, crop=data.crop, device=config.device,
        dtype=precision, mean=data.mean, std=data.std, relations=config.relations, trimmed=data.trimmed, split=split,
        val_fraction=data.val_fraction, pairs_per_epoch=pairs if split == "train" else data.val_pairs,
        # Held-out pairs are drawn from a seed of their own, the same in every epoch.
        seed=config.seed if split == "train" else config.seed + 1, threads=data.threads,
    )
    if split == "val" and data.val_pairs is None:
        loader.items = max(len(loader.sampler), VAL_PAIRS_PER_RELATION * len(loader.relations))
    return loader


def _precision(name: str, device: torch.device) -> torch.dtype:
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _tensorboard(out: Path):
    """A writer of TensorBoard events, where tensorboard is installed (the extra `log`); otherwise None."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(out)


@dataclass
class _Clock:
    """Where the time of the last steps went."""

    started: float
    waited: float = 0.0
    clips: int = 0


class _Run:
    """A training run: the network, what trains it, and how far it has come."""

    def __init__(self, config: Config, train: RelationLoader, val: RelationLoader, out: Path, device: torch.device,
                 precision: torch.dtype) -> None:
        self.config, self.train_loader, self.val_loader, self.out = config, train, val, out
        self.device, self.precision = device, precision
        model, optim = config.model, config.optim
        backbone = build_backbone(model.backbone, width=model.width)
        net = RelationNet(backbone, len(train.relations), head=model.head, hidden=model.hidden, dropout=model.dropout)
        self.net = net.to(device, memory_format=torch.channels_last_3d)
        if optim.name == "sgd":
            self.optimizer = torch.optim.SGD(net.parameters(), optim.lr, momentum=optim.momentum,
                                             weight_decay=optim.weight_decay, fused=device.type == "cuda" or None)
        else:
            self.optimizer = torch.optim.AdamW(net.parameters(), optim.lr, weight_decay=optim.weight_decay)
        self.total_steps = min(optim.epochs * len(train), optim.max_steps or math.inf)
        self.scheduler = self._schedule()
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
        self.step, self.best = 0, -1.0
        self.result: dict = {}
        self.events = _tensorboard(out) if config.log.tensorboard else None

    def train(self) -> dict:
        config = self.config
        parameters = sum(p.numel() for p in self.net.backbone.parameters())
        console.print(
            f"[bold]pretrain[/] {config.model.backbone} ({parameters / 1e6:.2f} M parameters), "
            f"{len(self.train_loader.relations)} relations, {len(self.train_loader.sampler)} + "
            f"{len(self.val_loader.sampler)} segments (training + held out), {self.total_steps} steps of "
            f"{config.data.batch_size} pairs, {self.device.type}, {str(self.precision).removeprefix('torch.')}",
            highlight=False,
        )
        columns = [TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(),
                   TextColumn("{task.fields[state]}"), TimeRemainingColumn()]
        with Progress(*columns, console=console) as self.progress:
            self.task = self.progress.add_task("", total=self.total_steps, completed=self.step, state="", epoch="")
            while self.step < self.total_steps:
                epoch = self.train_loader.epoch
                self._train_epoch(epoch)
                self._validate(epoch)
                self._save()
        write_text(self.out / "result.json", json.dumps(self.result, indent=1) + "\n")
        return self.result

    def _train_epoch(self, epoch: int) -> None:
        scores = RelationScores(self.train_loader.relations, self.device)
        saved, clock = time.monotonic(), _Clock(time.monotonic())
        batches = iter(self.train_loader)
        self.net.train()
        while self.step < self.total_steps:
            asked = time.monotonic()
            batch = next(batches, None)
            if batch is None:
                break
            clock.waited += time.monotonic() - asked
            clock.clips += 2 * len(batch.relation)
            relation = batch.relation.to(self.device, non_blocking=True)
            with torch.autocast(self.device.type, self.precision, enabled=self.precision is not torch.float32):
                logits = self.net(batch.clips)
                loss = F.cross_entropy(logits.float(), relation)
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if self.config.optim.schedule == "cosine":
                self.scheduler.step()
            scores.add(logits, relation, loss)
            self.step += 1
            if self.step % self.config.log.every_steps == 0 or self.step == self.total_steps:
                self._log_steps(epoch, scores, clock)
                scores, clock = RelationScores(self.train_loader.relations, self.device), _Clock(time.monotonic())
            # After an epoch's last batch the loader stands in the next: that is saved once this one is validated.
            due = time.monotonic() - saved > 60 * self.config.checkpoint.every_minutes
            if due and self.train_loader.epoch == epoch:
                self._save()
                saved = time.monotonic()

    @torch.no_grad()
    def _validate(self, epoch: int) -> None:
        scores = RelationScores(self.val_loader.relations, self.device)
        self.net.eval()
        self.val_loader.set_epoch(0)
        self.progress.update(self.task, epoch=epoch, state="validating")
        for batch in self.val_loader:
            relation = batch.relation.to(self.device)
            with torch.autocast(self.device.type, self.precision, enabled=self.precision is not torch.float32):
                logits = self.net(batch.clips).float()
            scores.add(logits, relation, F.cross_entropy(logits, relation))
        figures = {"accuracy": scores.accuracy, "per_relation": scores.per_relation}
        self._log({"epoch": epoch, "step": self.step, "val": {**figures, "loss": scores.loss, "pairs": scores.count}})
        if self.config.optim.schedule == "plateau":
            self.scheduler.step(scores.loss)
        if scores.accuracy > self.best:
            self.best = scores.accuracy
            self.result = {**figures, "chance": 1 / len(scores.relations), "epoch": epoch, "step": self.step,
                           "pairs": scores.count, "confusion": scores.confusion.tolist()}
            save_checkpoint(self.out / "best.pt", net=self.net.state_dict(), epoch=epoch, **figures)
            save_backbone(self.net.backbone, self.out / "backbone.pt")
        self.progress.console.print(f"epoch {epoch}: validation accuracy {scores.accuracy:.1%}, loss {scores.loss:.3f}",
                                    highlight=False)

    def _log_steps(self, epoch: int, scores: RelationScores, clock: _Clock) -> None:
        loss = scores.loss
        if not math.isfinite(loss):
            raise EruvError(f"loss is {loss} at step {self.step}; lower optim.lr ({self.config.optim.lr})")
        seconds = time.monotonic() - clock.started
        line = {
            "epoch": epoch, "step": self.step, "loss": loss, "accuracy": scores.accuracy,
            "clips_per_second": clock.clips / seconds, "data_wait": clock.waited / seconds,
            "lr": self.optimizer.param_groups[0]["lr"],
        }
        self._log(line)
        state = (f"loss {loss:.3f} accuracy {scores.accuracy:.0%} {line['clips_per_second']:.0f} clips/s "
                 f"data wait {line['data_wait']:.0%}")
        self.progress.update(self.task, completed=self.step, epoch=epoch, state=state)

    def _log(self, line: dict) -> None:
        with open(self.out / "metrics.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        if self.events:
            kind, figures = ("val", line["val"]) if "val" in line else ("train", line)
            for name, value in {**figures, **figures.get("per_relation", {})}.items():
                if isinstance(value, float):
                    self.events.add_scalar(f"{kind}/{name}", value, line["step"])
            self.events.flush()

    def _schedule(self):
        optim = self.config.optim
        if optim.schedule == "plateau":
            return torch.optim.lr_scheduler.ReduceLROnPlateau(
                self.optimizer, factor=optim.factor, patience=optim.patience)

        def share(step: int) -> float:
            if optim.schedule == "constant":
                return 1.0
            rise = max(1, round(WARMUP * self.total_steps))
            if step < rise:
                return (step + 1) / rise
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, self.total_steps - rise))))

        return torch.optim.lr_scheduler.LambdaLR(self.optimizer, share)

    def _save(self) -> None:
        save_checkpoint(
            self.out / "last.pt", net=self.net.state_dict(), optimizer=self.optimizer.state_dict(),
            scheduler=self.scheduler.state_dict(), scaler=self.scaler.state_dict(),
            loader=self.train_loader.state_dict(), step=self.step, best=self.best, result=self.result,
            model=vars(self.config.model),
        )

    def load(self, state: dict) -> None:
        """Go on from a checkpoint."""
        if state["model"] != vars(self.config.model):
            raise EruvError(f"{self.out / 'last.pt'}: of another network ({state['model']}) than the configuration "
                            f"asks for ({vars(self.config.model)})")
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self.train_loader.load_state_dict(state["loader"])
        self.step, self.best, self.result = state["step"], state["best"], state["result"]
