"""Measures of features as they are: which videos a nearest neighbour, a vote, a linear classifier get right."""

from collections.abc import Sequence

import numpy as np

from eruv_dali.evaluate.search import nearest
from eruv_dali.finetune.knn import knn_scores
from evaluation.folds import draw_labelled, leave_out
from evaluation.ridge import probe
from evaluation.sets import LabelledVideos

MEASURES = ("retrieval", "retrieval, z-scored", "kNN, z-scored", "probe")
K = 3


def standardise(train_ND: np.ndarray, test_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides less the training side's mean, divided by its deviation; what is constant there becomes 0."""
    mean, std = train_ND.mean(0, dtype=np.float64), train_ND.std(0, dtype=np.float64)
    scale = np.divide(1, std, out=np.zeros_like(std), where=std > 1e-6 * np.maximum(np.abs(mean), 1e-12))
    return ((train_ND - mean) * scale).astype(np.float32), ((test_ND - mean) * scale).astype(np.float32)


def hits_of(
    videos: LabelledVideos, features: dict[str, np.ndarray], share: float, seed: int,
    measures: Sequence[str] = MEASURES,
) -> dict[str, np.ndarray]:
    """measure → (N,) bool: whether each video is recognised when its group is left out.

    features: as `network_features`; share: of the training side's labels that are given, drawn by `seed`.
    """
    labels, classes = videos.labels, len(videos.classes)
    hits = {measure: np.zeros(len(labels), bool) for measure in measures}
    for fold, test in leave_out(videos.groups):
        train = draw_labelled(~test, labels, share, videos.name, fold, seed)
        sides = features["pool5"][train], features["pool5"][test]
        scaled = standardise(*sides)
        for measure in measures:
            if measure == "probe":
                said, _ = probe(features["average"][train], labels[train], videos.groups[train],
                                features["average"][test], classes)
            elif measure.startswith("kNN"):
                said = knn_scores(scaled[0], labels[train], scaled[1], classes, k=min(K, int(train.sum())),
                                  device="cpu").argmax(1)
            else:
                database, queries = scaled if "z-scored" in measure else sides
                said = labels[train][nearest(queries, database, 1, device="cpu")[0][:, 0]]
            hits[measure][test] = said == labels[test]
    return hits
