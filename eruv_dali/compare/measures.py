"""The measures: what a network is evaluated by, each a RUN as finetune or retrieve write it."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eruv_dali.actions import ActionSplit
from eruv_dali.actions.retrieval import retrieve_splits
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.pretrained import Pretrained
from eruv_dali.finetune.held_out import hold_out
from eruv_dali.finetune.program import recognise
from eruv_dali.finetune.recipe import Recipe
from eruv_dali.pretrain.once import release


@dataclass(frozen=True)
class Labelled:
    """The labelled videos, and how networks are evaluated on them.

    Attributes:
        splits: (name, split) each; figures are their mean.
        dataset: all their videos, prepared.
        words: of the command line: dataset, groups, test_groups, leave_one_out, test_fraction, device; test_clips,
            batch_size, knn, val_fraction, finetune_epochs, finetune_lr, finetune_weight_decay.
    """

    splits: list[tuple[str, ActionSplit]]
    dataset: Dataset
    words: argparse.Namespace

    def check(self, measures: Sequence[str], seeds: Sequence[int]) -> None:
        """Find what would stop a measure at its beginning.

        Raises:
            EruvError: more neighbours than training videos, no part of them that can be held out.
        """
        for _, split in self.splits:
            if "knn" in measures and not 1 <= self.words.knn <= len(split.train):
                raise EruvError(f"--knn {self.words.knn} must lie between 1 and {len(split.train)}, the number of "
                                "training videos")
            for seed in seeds if {"probe", "finetune"} & set(measures) else ():
                hold_out(split.train, split.root, split.classes, fraction=self.words.val_fraction,
                         groups=self.words.groups, seed=seed)


def measure(name: str, load: Callable[[], Pretrained], labelled: Labelled, out: Path, seed: int) -> None:
    """Evaluate a network by one measure, unless `out` holds the finished run; resume it if it is unfinished.

    `load` loads the network anew, whenever it is called.

    Raises:
        EruvError: see `finetune` and `retrieve`.
        Stopped: SIGINT or SIGTERM was received, and the run was saved.
    """
    if (out / "result.json").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    release()
    words = labelled.words
    args = argparse.Namespace(
        dataset=words.dataset, groups=words.groups, test_groups=words.test_groups, leave_one_out=words.leave_one_out,
        test_fraction=words.test_fraction, device=words.device, clips=words.test_clips, batch_size=words.batch_size,
        val_fraction=words.val_fraction, epochs=words.finetune_epochs, lr=words.finetune_lr,
        weight_decay=words.finetune_weight_decay, seed=seed, out=out, resume=True,
        layer_rate=Recipe.layer_rate, rescale=Recipe.rescale, freeze=name == "probe",
        knn=words.knn if name == "knn" else None, queries="video")
    if name == "retrieval":
        retrieve_splits(args, load(), labelled.splits, labelled.dataset)
    else:
        recognise(args, load, labelled.splits, labelled.dataset)


def read_figure(name: str, out: Path) -> float | None:
    """Top-1 of a finished run, fraction of 1; None if it is not finished.

    Raises:
        EruvError: its result.json is damaged.
    """
    file = out / "result.json"
    if not file.exists():
        return None
    try:
        result = json.loads(file.read_text())
        return float((result["topk"] if name == "retrieval" else result)["top1"])
    except (ValueError, KeyError, TypeError):
        raise EruvError(f"{file}: is damaged; remove {out} and run again") from None
