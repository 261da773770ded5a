"""Pre-training as a task for the training loop: samples of a pretext, and the network's predictions for them."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eruv_dali.models import HeadOptions, build_backbone, save_backbone
from eruv_dali.pretext.loader import PretextBatch, PretextLoader
from eruv_dali.train.checkpoint import save_checkpoint
from eruv_dali.train.config import Config, defaults, flatten
from eruv_dali.train.feature_terms import FeatureTerms
from eruv_dali.train.kind_scores import KindScores
from eruv_dali.train.loss_scores import LossScores
from eruv_dali.train.processes import Processes
from eruv_dali.train.step import TrainStep

# Keys that may differ between a run's start and its resumption. How the videos were prepared is not compared either:
# the resulting segments are.
FREE_KEYS = (
    "optim.epochs", "optim.max_steps", "optim.compile", "checkpoint.every_minutes", "checkpoint.keep",
    "log.every_steps", "log.tensorboard", "device", "data.dataset", "data.videos", "data.threads", "data.pack",
    "data.rule", "data.threshold", "data.segment_length", "data.min_length",
    "data.batch_size",  # the samples of all processes together are compared
)


class PretrainTask:
    """Implements `train.task.Task`.

    Args:
        config: everything that determines the run.
        loader, val_loader: of the training and the held-out videos.
    """

    program = "pretrain"
    free: tuple[str, ...] = FREE_KEYS

    def __init__(self, config: Config, loader: PretextLoader, val_loader: PretextLoader) -> None:
        self.config, self.loader, self.val_loader, self.pretext = config, loader, val_loader, loader.pretext
        model = config.model
        self.head = HeadOptions(model.head, model.hidden, model.dropout)
        backbone = build_backbone(model.backbone, width=model.width, input=model.input)
        self.net = self.pretext.net(backbone, self.head)
        self.terms = FeatureTerms(config.loss, self.pretext.positives)
        self._clips = loader.batch_size * self.net.seen  # whose features a batch has
        self.terms.check(self._clips, self.pretext)
        self.net.features_too = bool(self.terms)
        self.fingerprint = {**flatten(config), "digest of the segments": _digest(loader, val_loader)}
        self.defaults = defaults(self.pretext.name)

    def headline(self) -> str:
        model, pretext = self.config.model, self.pretext
        parameters = sum(p.numel() for p in self.net.backbone.parameters())
        count = len(pretext.kinds)
        kinds = f"{count} {pretext.kind_word}{'s' * (count > 1)}, " if count else ""
        seen = " on frame differences" if model.input == "difference" else ""
        return (f"{model.backbone}{seen} ({parameters / 1e6:.2f} M parameters) by {pretext.name}, {kinds}"
                f"{len(pretext.segments)} + {len(self.val_loader.pretext.segments)} segments (training + held out)")

    def warnings(self) -> list[str]:
        alone = [] if len(self.pretext.kinds) != 1 or self.terms else [
            f"there is only one {self.pretext.kind_word}, {self.pretext.kinds[0]}, so nothing to tell apart: any "
            f"network is right always; add others, such as {self.pretext.kind_word}s=CS,CR"]
        return alone + self.pretext.warnings() + self.terms.warnings(self._clips, self.net.backbone.feature_dim)

    def target(self, batch: PretextBatch) -> torch.Tensor:
        return self.pretext.target(batch.label, batch.clips)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.pretext.loss(output, target)

    def scores(self, device: torch.device) -> KindScores | LossScores:
        return KindScores(self.pretext.kinds, device) if self.pretext.kinds else LossScores(device)

    def validate(self, step: TrainStep, processes: Processes, pause: Any) -> dict[str, Any]:
        scores, loader = self.scores(step.device), self.val_loader
        loader.set_epoch(0)
        first = processes.rank  # number of the batch's first sample
        for batch in loader:
            # Samples added so that all processes have the same number of batches do not count.
            count = len(range(first, min(first + len(batch.label) * processes.world, loader.items), processes.world))
            first += loader.batch_size * processes.world
            target = self.target(batch)[:count].to(step.device, non_blocking=True)
            output = step.answer(batch.clips)[:count]
            if count:
                scores.add(output, target, self.loss(output, target))
            pause()
        scores.add_up(processes)
        if isinstance(scores, LossScores):
            return {"loss": scores.loss, "samples": scores.count}
        return {"accuracy": scores.accuracy, f"per_{self.pretext.kind_word}": scores.per_kind,
                "confusion": scores.confusion.tolist(), "loss": scores.loss, "samples": scores.count}

    def rank(self, val: dict[str, Any]) -> list[float]:
        return [val["accuracy"]] if self.pretext.kinds else [-val["loss"]]

    def result(self, val: dict[str, Any], epoch: int, step: int) -> dict[str, Any]:
        model, pretext = self.config.model, self.pretext
        figures = {"loss": val["loss"]}
        if pretext.kinds:
            per_kind = f"per_{pretext.kind_word}"
            figures = {f"{pretext.kind_word}s": list(pretext.kinds), "accuracy": val["accuracy"],
                       per_kind: val[per_kind], "confusion": val["confusion"], "chance": 1 / len(pretext.kinds)}
        return {"program": "pretrain", "pretext": pretext.name, "backbone": model.backbone, "width": model.width,
                "input": model.input, "head": model.head, "seed": self.config.seed, **figures, "epoch": epoch,
                "step": step, "samples": val["samples"]}

    def save_best(self, out: Path, val: dict[str, Any], epoch: int) -> None:
        save_checkpoint(out / "best.pt", {"net": self.net.state_dict(), "model": vars(self.config.model),
                                          "epoch": epoch, **val})
        save_backbone(self.net.backbone, out / "backbone.pt")

    def advice(self, kind: str) -> str:
        return self.pretext.advice(kind, self.head)

    def resumed_by(self, start: str, out: Path) -> str:
        return f"continue with: {start} -m eruv_dali.pretrain --out {out} --resume"

    def describe(self, info: list) -> list[dict[str, Any]]:
        return [{"kind": sample.kind, "clips": [clip._asdict() for clip in sample.clips]} for sample in info]


def _digest(*loaders: PretextLoader) -> str:
    """A digest of the segments, training and held out, by the names of their videos."""
    digest = hashlib.sha256()
    for loader in loaders:
        segments, videos = loader.pretext.segments, loader.videos.videos
        names = "\n".join(videos[number].name for number in np.unique(segments["video"]))
        digest.update(f"{names}\n{loader.items}".encode() + segments.tobytes())
    return digest.hexdigest()
