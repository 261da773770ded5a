"""Fine-tuning as a task for the training loop: all layers of a pre-trained backbone and a linear classifier learn to
recognise actions (Table IV).

    RUN/last.pt       for --resume         RUN/best.pt          the best epoch's network
    RUN/backbone.pt   its backbone alone   RUN/metrics.jsonl    one line per logging step and epoch
    RUN/config.yaml   the format of backbone.pt's clips
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn
from torch.nn import functional as F

from eruv_dali.dataset import Dataset
from eruv_dali.device import torch_device
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.even_clips import EvenClips, names_in
from eruv_dali.evaluate.pretrained import Pretrained
from eruv_dali.files import write_text
from eruv_dali.finetune.layer_rates import rates_by_name
from eruv_dali.finetune.recipe import Recipe
from eruv_dali.loader import ClipLoader
from eruv_dali.loader.clip_loader import ClipBatch
from eruv_dali.models import Backbone, save_backbone
from eruv_dali.models.rescale import rescale_convolutions
from eruv_dali.train.checkpoint import load_checkpoint, parts_of, save_checkpoint
from eruv_dali.train.kind_scores import KindScores
from eruv_dali.train.loop import Trainer, disk_errors_named, only_training, refuse_run
from eruv_dali.train.processes import ALONE, Processes, cores_each, join, take_device
from eruv_dali.train.settings import CheckpointConfig, LogConfig, OptimConfig
from eruv_dali.train.step import TrainStep, choose_precision

VAL_CLIPS = 3  # per video, when epochs are compared
UNTOLD = ("frame_size", "clip_length", "mean", "std")  # what the fingerprints of older checkpoints do not have


class ActionNet(nn.Module):
    """Clips (B, 3, T, H, W) float → logits (B, classes) float: a backbone and one linear layer."""

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.feature_dim, classes)

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x_BCTHW))


class FinetuneTask:
    """Implements `train.task.Task`.

    Args:
        net: the network.
        loader: of the training clips.
        held_out: (path, label) of the videos that choose the epoch; `look`: the format of their clips (`EvenClips`).
        classes: names.
        fingerprint: the settings that determine the run.
    """

    program = "finetune"
    free: tuple[str, ...] = ("recipe.epochs",)

    def __init__(
        self, net: ActionNet, loader: ClipLoader, held_out: Sequence[tuple[Path, int]], look: dict[str, Any],
        classes: Sequence[str], fingerprint: dict[str, Any],
    ) -> None:
        self.net, self.loader, self.classes, self.fingerprint = net, loader, tuple(classes), fingerprint
        self.defaults = {**{f"recipe.{key}": value for key, value in asdict(Recipe()).items()},
                         **{key: value for key, value in fingerprint.items() if key in UNTOLD}}
        self.labels = torch.tensor([label for _, label in held_out])
        self.even = EvenClips([path for path, _ in held_out], clips=VAL_CLIPS, batch_size=2 * loader.batch_size, **look
                              ) if held_out else None

    def headline(self) -> str:
        return (f"{self.net.backbone.name}, {self.loader.items} training videos of {len(self.classes)} classes, "
                f"{len(self.labels)} held out")

    def warnings(self) -> list[str]:
        return []

    def target(self, batch: ClipBatch) -> torch.Tensor:
        return batch.label

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(output, target)

    def scores(self, device: torch.device) -> KindScores:
        return KindScores(self.classes, device)

    def validate(self, step: TrainStep, processes: Processes, pause: Any) -> dict[str, Any]:
        if self.even is None:
            return {}
        logits_VC = torch.from_numpy(self.even.answers(self.net, average_clips=True, pause=pause))
        return {"accuracy": float((logits_VC.argmax(1) == self.labels).float().mean()),
                "loss": float(F.cross_entropy(logits_VC, self.labels))}

    def rank(self, val: dict[str, Any]) -> list[float]:
        return [val["accuracy"], -val["loss"]]

    def result(self, val: dict[str, Any], epoch: int, step: int) -> dict[str, Any]:
        return {"epoch": epoch, "step": step, **val}

    def save_best(self, out: Path, val: dict[str, Any], epoch: int) -> None:
        save_checkpoint(out / "best.pt", {"net": self.net.state_dict(), "epoch": epoch, **val})

    def advice(self, kind: str) -> str:
        return "train longer"

    def resumed_by(self, start: str, out: Path) -> str:
        return "continue with the same command and --resume"  # `out` says neither which videos, nor which splits

    def describe(self, info: list) -> list[dict[str, Any]]:
        return [{"clips": [clip._asdict()]} for clip in info]

    def close(self) -> None:
        if self.even:
            self.even.close()

    def __enter__(self) -> "FinetuneTask":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def train_actions(
    start: Pretrained, train: Sequence[tuple[Path, int]], held_out: np.ndarray, classes: Sequence[str],
    dataset: Dataset, out: Path, recipe: Recipe, *, device: str = "auto", resume: bool = False,
    processes: Processes = ALONE,
) -> ActionNet:
    """Fine-tune on labelled videos: in each epoch one clip of each, at a random time and with a random crop.

    The epoch that does best on the held-out videos (by accuracy, then by loss) is kept; if none are held out, the last.
    `start.backbone` is trained in place. The same seed gives the same head, order, positions and crops, whatever the
    backbone's weights are.

    Args:
        start: the backbone, and the format of its clips.
        train: (path, label) of all training videos; `held_out` (V,) bool: those used only to choose the epoch.
        classes: names.
        dataset: contains all the videos.
        out: folder to write.
        recipe: epochs and the rest; batch size and learning rate are for one process.
        resume: continue from last.pt in `out`, if it exists.
        processes: this process among those that train together; only the first writes.

    Returns:
        The best epoch's network, in evaluation mode.

    Raises:
        EruvError: a run in `out` already (without `resume`) or a different one, a loss that is not a
            finite number.
        Stopped: SIGINT or SIGTERM was received, and the run was saved.
    """
    refuse_run(out, resume)
    place = torch_device(device, processes.local_rank)
    take_device(processes, place)
    join(processes, place)
    torch.manual_seed(recipe.seed)
    if recipe.rescale:
        rescale_convolutions(start.backbone)
    net = ActionNet(start.backbone, len(classes))
    precision = choose_precision("auto", place)
    names = names_in(dataset, [path for path, _ in train])
    clips = [(name, None, label) for name, (_, label), held in zip(names, train, held_out, strict=True) if not held]
    left_out = [video for video, held in zip(train, held_out, strict=True) if held]
    look = {**start.look, "device": device, "dataset": dataset, "threads": cores_each(processes)}
    fingerprint = {**{f"recipe.{key}": value for key, value in asdict(recipe).items()}, "init": start.init,
                   "classes": list(classes), "crop": start.crop,
                   "frame_size": [dataset.frame_height, dataset.frame_width], "clip_length": start.clip_length,
                   "mean": list(start.mean), "std": list(start.std), "videos": [list(clip) for clip in clips]}
    # BatchNorm learns nothing from a batch of one single frame; an epoch's last batch is left out if it is one.
    single_frames = start.backbone.averages_frames and start.clip_length == 1
    if single_frames and recipe.batch_size == 1:
        raise EruvError("batch_size 1 (--batch-size) is one frame, of which BatchNorm learns nothing; raise it to 2 or "
                        "more")
    alone = single_frames and 0 < len(clips) % (recipe.batch_size * processes.world) <= processes.world
    with (
        disk_errors_named(out),
        only_training(out, resume, processes),
        ClipLoader(clips, batch_size=recipe.batch_size, random_crop=True, hold_last=True, shuffle=True, dtype=precision,
                   drop_last=alone, seed=recipe.seed, shard_id=processes.rank, num_shards=processes.world, **look
                   ) as loader,
        FinetuneTask(net, loader, left_out, look, classes, fingerprint
                     ) as task,
    ):
        optim = OptimConfig(epochs=recipe.epochs, lr=recipe.lr, momentum=recipe.momentum,
                            weight_decay=recipe.weight_decay, schedule="constant")
        trainer = Trainer(task, optim=optim, checkpoint=CheckpointConfig(), log=LogConfig(), out=out, seed=recipe.seed,
                          device=place, precision=precision, processes=processes, resume=resume,
                          rate_of=rates_by_name(start.backbone, recipe.layer_rate) if recipe.layer_rate < 1 else None)
        if processes.first:  # a run that is refused has changed nothing
            _write_config(out, start, recipe.seed)
        trainer.train()
    with parts_of(out / "best.pt"):
        net.load_state_dict(load_checkpoint(out / "best.pt")["net"])
    if processes.first:
        save_backbone(net.backbone, out / "backbone.pt")
    return net.eval()


def _write_config(out: Path, start: Pretrained, seed: int) -> None:
    """Write the format of backbone.pt's clips, for loading it later (see `load_pretrained`)."""
    config = {
        "data": {"clip_length": start.clip_length, "crop": start.crop, "frame_size": list(start.frame_size),
                 "mean": list(start.mean), "std": list(start.std)},
        "model": {"backbone": start.backbone.name, "width": start.backbone.width,
                  "input": start.backbone.input},
        "seed": seed,
    }
    write_text(out / "config.yaml", yaml.safe_dump(config, sort_keys=False))
