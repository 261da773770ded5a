"""Fine-tuning: all layers of a pre-trained backbone and a linear classifier learn to name actions (Table IV).

    RUN/last.pt       to go on from        RUN/best.pt       the best epoch's network
    RUN/backbone.pt   its backbone alone   RUN/metrics.jsonl    one line an epoch
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.nn import functional as F

from eruv_dali.config import OptimConfig
from eruv_dali.dataset import Dataset
from eruv_dali.device import resolve_device
from eruv_dali.errors import EruvError
from eruv_dali.even_clips import EvenClips, console, names_in
from eruv_dali.files import write_text
from eruv_dali.loader import ClipLoader
from eruv_dali.models import save_backbone
from eruv_dali.pretrained import Pretrained
from eruv_dali.train.checkpoint import load_checkpoint, save_checkpoint
from eruv_dali.train.step import TrainStep, choose_precision

VAL_CLIPS = 3  # a video, when epochs are compared
SAVE_SECONDS = 60.0  # between two states to go on from


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune. 150 epochs, 1e-3, 8 and 5e-4 are the paper's; momentum 0.9 as in its pre-training."""

    epochs: int = 150
    lr: float = 1e-3
    batch_size: int = 8
    weight_decay: float = 5e-4
    momentum: float = 0.9
    seed: int = 0


class ActionNet(nn.Module):
    """Clips (B, 3, T, H, W) float → logits (B, classes) float: a backbone and one linear layer."""

    def __init__(self, backbone: nn.Module, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.feature_dim, classes)

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x_BCTHW))


def train_actions(
    start: Pretrained, train: Sequence[tuple[Path, int]], held_out: np.ndarray, classes: Sequence[str],
    dataset: Dataset, out: Path, recipe: Recipe, *, device: str = "auto", resume: bool = False,
) -> ActionNet:
    """Fine-tune on labelled videos: in each epoch one clip of each, at a random place in time and with a random crop.

    The epoch is kept that does best on the held-out videos (by accuracy, then by loss); where none are held out, the
    last. `start.backbone` is trained in place. The same seed gives the same head, order, places and crops, whatever
    the backbone's weights are.

    Args:
        start: the backbone, and how its clips look.
        train: (path, label) of all training videos; `held_out` (V,) bool: those only for choosing the epoch.
        classes: names.
        dataset: holds all the videos.
        out: folder to write.
        recipe: epochs and the rest.
        resume: go on from last.pt in `out`, if it is there.

    Returns:
        The best epoch's network, in evaluation mode.

    Raises:
        EruvError: a bad recipe, a run in `out` already (and not `resume`) or another one, a loss that is no number.
    """
    for name in ("epochs", "batch_size", "lr"):
        if getattr(recipe, name) <= 0:
            raise EruvError(f"--{name.replace('_', '-')} {getattr(recipe, name)} must be greater than 0")
    last = last_of(out)
    if last.exists() and not resume:
        raise EruvError(f"{out}: holds a run already; add --resume to go on with it, or name another --out")
    torch.manual_seed(recipe.seed)
    net = ActionNet(start.backbone, len(classes))
    place = torch.device("cuda" if resolve_device(device) == "gpu" else "cpu")
    precision = choose_precision("auto", place)
    names = names_in(dataset, [path for path, _ in train])
    clips = [(name, None, label) for name, (_, label), held in zip(names, train, held_out, strict=True) if not held]
    look = {**start.look, "device": device, "dataset": dataset}
    validation = _Validation([train[number] for number in np.flatnonzero(held_out)], 2 * recipe.batch_size, look)
    out.mkdir(parents=True, exist_ok=True)
    with validation, ClipLoader(clips, batch_size=recipe.batch_size, random_crop=True, hold_last=True, shuffle=True,
                                dtype=precision, seed=recipe.seed, num_shards=1, **look) as loader:
        step = TrainStep(net, OptimConfig(lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay),
                         device=place, precision=precision, seed=recipe.seed)
        run = {"recipe": asdict(recipe), "init": start.init, "classes": list(classes), "crop": start.crop,
               "videos": [list(clip) for clip in clips]}
        done, best = _load(last, run, step) if resume and last.exists() else (0, None)
        _forget_from(done, out / "metrics.jsonl")
        _epochs(step, loader, validation, out, recipe, run, done, best)
    net.load_state_dict(load_checkpoint(out / "best.pt")["net"])
    save_backbone(net.backbone, out / "backbone.pt")
    return net.eval()


class _Validation:
    """The held-out videos, if there are any."""

    def __init__(self, videos: Sequence[tuple[Path, int]], batch_size: int, look: dict[str, Any]) -> None:
        self.labels = torch.tensor([label for _, label in videos])
        self.even = EvenClips([path for path, _ in videos], clips=VAL_CLIPS, batch_size=batch_size, **look
                              ) if videos else None

    def __call__(self, net: nn.Module) -> dict[str, float]:
        """{"accuracy", "loss"} of the network; nothing where nothing is held out."""
        if self.even is None:
            return {}
        logits_VC = torch.from_numpy(self.even.answers(net.eval(), average_clips=True))
        return {"accuracy": float((logits_VC.argmax(1) == self.labels).float().mean()),
                "loss": float(F.cross_entropy(logits_VC, self.labels))}

    def __enter__(self) -> "_Validation":
        return self

    def __exit__(self, *_: object) -> None:
        if self.even:
            self.even.close()


def _epochs(
    step: TrainStep, loader: ClipLoader, validation: _Validation, out: Path, recipe: Recipe, run: dict[str, Any],
    done: int, best: list[float] | None,
) -> None:
    """Train the epochs that are left; best.pt is the network of the best one."""
    columns = [TextColumn("fine-tune, epoch {task.fields[epoch]}"), BarColumn(bar_width=20), MofNCompleteColumn(),
               TextColumn("{task.fields[state]}"), TimeRemainingColumn()]
    saved = time.monotonic()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=recipe.epochs * len(loader), completed=done * len(loader), epoch=done, state="")
        for epoch in range(done, recipe.epochs):
            loader.set_epoch(epoch)
            step.net.train()
            loss_sum = torch.zeros((), dtype=torch.float64, device=step.device)
            right = torch.zeros((), dtype=torch.int64, device=step.device)
            for number, batch in enumerate(loader):
                label_B = batch.label.to(step.device, non_blocking=True)
                logits_BC, loss = step(batch.clips, label_B, epoch * len(loader) + number)
                loss_sum += loss.double() * len(label_B)
                right += (logits_BC.argmax(1) == label_B).sum()
                bar.update(task, advance=1, epoch=epoch)
            figures = {"epoch": epoch, "loss": float(loss_sum) / loader.items, "accuracy": int(right) / loader.items}
            if not math.isfinite(figures["loss"]):
                raise EruvError(f"{out}: the loss is {figures['loss']} in epoch {epoch}; lower --lr ({recipe.lr})")
            figures["val"] = val = validation(step.net)
            with open(out / "metrics.jsonl", "a") as file:
                file.write(json.dumps(figures) + "\n")
            bar.update(task, state=f"loss {figures['loss']:.3f}" + (f", held out {val['accuracy']:.1%}" if val else ""))
            reached = [val["accuracy"], -val["loss"]] if val else [float(epoch)]
            if best is None or reached > best:
                best = reached
                if val or epoch == recipe.epochs - 1:
                    save_checkpoint(out / "best.pt", {"net": step.net.state_dict(), "epoch": epoch, **val})
            if time.monotonic() - saved > SAVE_SECONDS or epoch == recipe.epochs - 1:
                save_checkpoint(last_of(out), {
                    "net": step.net.state_dict(), "optimizer": step.optimizer.state_dict(),
                    "scaler": step.scaler.state_dict(), "epochs": epoch + 1, "best": best, "run": run})
                saved = time.monotonic()


def _forget_from(epoch: int, file: Path) -> None:
    """Drop the lines of epochs that will come again."""
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    write_text(file, "".join(lines[:epoch]))


def last_of(out: Path) -> Path:
    """Where the newest state of a fine-tuning lies."""
    return out / "last.pt"


def _load(last: Path, run: dict[str, Any], step: TrainStep) -> tuple[int, list[float]]:
    """Go on from a checkpoint: epochs done, the best so far."""
    state = load_checkpoint(last)
    if (before := state.get("run")) != run:
        other = next((key for key in run if not isinstance(before, dict) or before.get(key) != run[key]), "run")
        raise EruvError(f"{last}: of another run (its {other} is not the one asked for now); resume with the old "
                        "settings, or name another --out")
    step.net.load_state_dict(state["net"])
    step.optimizer.load_state_dict(state["optimizer"])
    step.scaler.load_state_dict(state["scaler"])
    return state["epochs"], state["best"]
