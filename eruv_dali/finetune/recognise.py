"""Recognition: train on a split's training videos in one of three ways, and test on its test videos."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eruv_dali.actions import ActionSplit
from eruv_dali.actions.action_scores import action_scores, mean_over_splits
from eruv_dali.actions.split_features import SplitFeatures
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.even_clips import EvenClips
from eruv_dali.evaluate.pretrained import Pretrained
from eruv_dali.files import write_text
from eruv_dali.finetune.held_out import hold_out
from eruv_dali.finetune.knn import knn_scores
from eruv_dali.finetune.probe import probe_logits
from eruv_dali.finetune.recipe import Recipe
from eruv_dali.finetune.task import train_actions
from eruv_dali.train.processes import ALONE, Processes


def finetune_split(
    start: Pretrained, split: ActionSplit, dataset: Dataset, out: Path, recipe: Recipe, *, clips: int = 10,
    val_fraction: float = 0.1, groups: str | None = None, device: str = "auto", resume: bool = False,
    processes: Processes = ALONE, held_out: np.ndarray | None = None,
) -> dict[str, Any]:
    """Fine-tune all layers (see `train_actions`), then test: logits of `clips` clips averaged. → `action_scores`.

    `start.backbone` is trained in place: load it again for every split. `val_fraction` of the training videos, whole
    groups if there are any, are held out to choose the epoch, unless `held_out` (see `hold_out`) says which.

    Raises:
        EruvError: see `hold_out`, `train_actions`, `EvenClips`.
    """
    if held_out is None:
        held_out = hold_out(split.train, split.root, split.classes, fraction=val_fraction, groups=groups,
                            seed=recipe.seed)
    net = train_actions(start, split.train, held_out, split.classes, dataset, out, recipe, device=device, resume=resume,
                        processes=processes)
    with EvenClips([path for path, _ in split.test], clips=clips, batch_size=2 * recipe.batch_size, device=device,
                   dataset=dataset, **start.look) as even:
        logits_VC = even.answers(net, average_clips=True, title="test")
    return action_scores(logits_VC, [label for _, label in split.test], split.classes)


def probe_split(
    start: Pretrained, split: ActionSplit, dataset: Dataset, *, clips: int = 10, val_fraction: float = 0.1,
    groups: str | None = None, batch_size: int = 16, seed: int = 0, device: str = "auto",
    features: SplitFeatures | None = None, held_out: np.ndarray | None = None,
) -> dict[str, Any]:
    """Linear probe (see `probe_logits`) on the averaged conv5 maps of `clips` clips per video. → `action_scores`,
    "penalty".

    `features` of layer "average" for every clip, if several splits share them; otherwise they are computed here.
    `held_out` as in `finetune_split`.

    Raises:
        EruvError: see `hold_out`, `SplitFeatures`.
    """
    if held_out is None:
        held_out = hold_out(split.train, split.root, split.classes, fraction=val_fraction, groups=groups, seed=seed)
    features = features or SplitFeatures(start, [split], dataset, layer="average", clips=clips, batch_size=batch_size,
                                         device=device)
    logits_VC, penalty = probe_logits(features.of(split.train), [label for _, label in split.train], held_out,
                                      features.of(split.test), len(split.classes))
    return {**action_scores(logits_VC, [label for _, label in split.test], split.classes), "penalty": penalty}


def knn_split(
    start: Pretrained, split: ActionSplit, dataset: Dataset, *, k: int, clips: int = 10, batch_size: int = 16,
    device: str = "auto", features: SplitFeatures | None = None,
) -> dict[str, Any]:
    """k nearest training videos vote (see `knn_scores`), by pool5 features averaged over `clips` clips. →
    `action_scores`.

    `features` of layer "pool5", averaged, if several splits share them; otherwise they are computed here.

    Raises:
        EruvError: see `check_k`, `SplitFeatures`.
    """
    check_k(k, split)  # before the features are computed
    features = features or SplitFeatures(start, [split], dataset, layer="pool5", clips=clips, average_clips=True,
                                         batch_size=batch_size, device=device)
    votes_VC = knn_scores(features.of(split.train), [label for _, label in split.train], features.of(split.test),
                          len(split.classes), k=k, device=device)
    return action_scores(votes_VC, [label for _, label in split.test], split.classes)


def check_k(k: int, split: ActionSplit) -> None:
    """Make sure that the split has `k` training videos.

    Raises:
        EruvError: it has fewer, or `k` is below 1.
    """
    if not 1 <= k <= len(split.train):
        raise EruvError(f"k {k} must lie between 1 and {len(split.train)}, the number of training videos")


def write_result(out: Path, settings: dict[str, Any], per_split: dict[str, dict], classes: Sequence[str]) -> dict:
    """Write result.json for all splits: their mean, and each one's figures under "per_split"; returns it."""
    result = {**settings, "splits": list(per_split), "classes": list(classes), **mean_over_splits(per_split, classes),
              "per_split": per_split}
    write_text(out / "result.json", json.dumps(result, indent=1) + "\n")
    return result
