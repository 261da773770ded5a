"""Recognition: train on a split's training videos in one of three ways, and test on its test videos."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eruv_dali.actions import ActionSplit
from eruv_dali.actions.features import VideoFeatures
from eruv_dali.actions.scores import action_scores, mean_over_splits
from eruv_dali.dataset import Dataset
from eruv_dali.even_clips import EvenClips
from eruv_dali.files import write_text
from eruv_dali.finetune.held_out import hold_out
from eruv_dali.finetune.knn import knn_scores
from eruv_dali.finetune.probe import probe_logits
from eruv_dali.finetune.train import Recipe, train_actions
from eruv_dali.pretrained import Pretrained


def finetune_split(
    start: Pretrained, split: ActionSplit, dataset: Dataset, out: Path, recipe: Recipe, *, clips: int = 10,
    val_fraction: float = 0.1, groups: str | None = None, device: str = "auto", resume: bool = False,
) -> dict[str, Any]:
    """Fine-tune all layers (see `train_actions`), then test: logits of `clips` clips averaged. → `action_scores`.

    `start.backbone` is trained in place: load it anew for every split. `val_fraction` of the training videos, whole
    groups where there are any, choose the epoch.

    Raises:
        EruvError: see `hold_out`, `train_actions`, `EvenClips`.
    """
    held_out = hold_out(split.train, split.root, split.classes, fraction=val_fraction, groups=groups, seed=recipe.seed)
    net = train_actions(start, split.train, held_out, split.classes, dataset, out, recipe, device=device, resume=resume)
    with EvenClips([path for path, _ in split.test], clips=clips, batch_size=2 * recipe.batch_size, device=device,
                   dataset=dataset, **start.look) as even:
        logits_VC = even.answers(net, average_clips=True, title="test")
    return action_scores(logits_VC, [label for _, label in split.test], split.classes)


def probe_split(
    features: VideoFeatures, split: ActionSplit, *, val_fraction: float = 0.1, groups: str | None = None, seed: int = 0
) -> dict[str, Any]:
    """Linear probe (see `probe_logits`) on `features` of single clips, layer "average". → `action_scores`, "penalty".

    Raises:
        EruvError: see `hold_out`.
    """
    held_out = hold_out(split.train, split.root, split.classes, fraction=val_fraction, groups=groups, seed=seed)
    logits_VC, penalty = probe_logits(features.of(split.train), [label for _, label in split.train], held_out,
                                      features.of(split.test), len(split.classes))
    return {**action_scores(logits_VC, [label for _, label in split.test], split.classes), "penalty": penalty}


def knn_split(features: VideoFeatures, split: ActionSplit, *, k: int, device: str = "auto") -> dict[str, Any]:
    """k nearest training videos vote (see `knn_scores`), by `features` averaged over clips. → `action_scores`.

    Raises:
        EruvError: see `knn_scores`.
    """
    votes_VC = knn_scores(features.of(split.train), [label for _, label in split.train], features.of(split.test),
                          len(split.classes), k=k, device=device)
    return action_scores(votes_VC, [label for _, label in split.test], split.classes)


def write_result(out: Path, settings: dict[str, Any], per_split: dict[str, dict], classes: Sequence[str]) -> dict:
    """Write result.json of all splits: their mean, and each one's figures under "per_split"; returns it."""
    result = {**settings, "splits": list(per_split), "classes": list(classes), **mean_over_splits(per_split, classes),
              "per_split": per_split}
    write_text(out / "result.json", json.dumps(result, indent=1) + "\n")
    return result
