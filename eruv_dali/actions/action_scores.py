"""Recognition figures: top-1, top-5, accuracy of each class, confusion matrix; the mean over splits."""

from collections.abc import Sequence
from typing import Any

import numpy as np

TOP = 5


def action_scores(logits_VC: np.ndarray, labels: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
    """Figures of V videos, as fractions of 1.

    Returns:
        "videos", "top1", "top5" (None for 5 classes or fewer, where it is trivial), "per_class" {name: fraction, None
        for a class without videos}, "confusion" (row: the true class, column: the prediction).
    """
    labels_V = np.asarray(labels)
    order_VC = np.argsort(-logits_VC, axis=1, kind="stable")
    confusion = np.zeros((len(classes), len(classes)), int)
    np.add.at(confusion, (labels_V, order_VC[:, 0]), 1)
    top5 = (order_VC[:, :TOP] == labels_V[:, None]).any(1).mean()
    return {
        "videos": len(labels), "top1": float((order_VC[:, 0] == labels_V).mean()),
        "top5": float(top5) if len(classes) > TOP else None,
        "per_class": _per_class(confusion, classes), "confusion": confusion.tolist(),
    }


def mean_over_splits(per_split: dict[str, dict[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """The mean of the splits' top-1 and top-5; the sum of their confusion matrices, and each class's accuracy in it."""
    splits = list(per_split.values())
    confusion = np.sum([split["confusion"] for split in splits], axis=0)
    return {
        "videos": sum(split["videos"] for split in splits),
        "top1": float(np.mean([split["top1"] for split in splits])),
        "top5": None if splits[0]["top5"] is None else float(np.mean([split["top5"] for split in splits])),
        "per_class": _per_class(confusion, classes), "confusion": confusion.tolist(),
    }


def _per_class(confusion: np.ndarray, classes: Sequence[str]) -> dict[str, float | None]:
    tested = confusion.sum(1)
    return {name: float(confusion[n, n] / tested[n]) if tested[n] else None for n, name in enumerate(classes)}
