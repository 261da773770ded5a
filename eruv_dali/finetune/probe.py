"""Linear probe: the backbone is frozen, a linear classifier is trained on its features to convergence.

Features are scaled to mean 0 and deviation 1 over the training clips. The classifier is multinomial logistic
regression by L-BFGS, so there is no learning rate to choose; its L2 penalty is the one of a few candidates that does
best on the held-out part of the training list, and then the classifier is trained on the whole list.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
STEPS = 200  # L-BFGS iterations, at most


def probe_logits(
    train_VKD: np.ndarray, train_labels: Sequence[int], held_out: np.ndarray, test_VKD: np.ndarray, classes: int
) -> tuple[np.ndarray, float]:
    """Train on the features of K clips of each training video; test on those of the test videos.

    Args:
        train_VKD, test_VKD: float32, K clips per video.
        train_labels: of the training videos.
        held_out: (V,) bool, the training videos that the penalty is chosen on; if none, the middle penalty is used.
        classes: how many there are.

    Returns:
        (test videos, classes) float32 logits, averaged over clips, and the penalty.
    """
    labels = np.asarray(train_labels)
    mean_D = train_VKD.mean((0, 1), dtype=np.float64).astype(np.float32)
    std_D = train_VKD.std((0, 1), dtype=np.float64).astype(np.float32)
    std_D[std_D <= 1e-6 * np.abs(mean_D)] = 1  # a constant feature has no information, nor have its rounding errors
    train_VKD, test_VKD = (train_VKD - mean_D) / std_D, (test_VKD - mean_D) / std_D
    penalty = PENALTIES[len(PENALTIES) // 2]
    if held_out.any():
        fit = {value: _train(train_VKD[~held_out], labels[~held_out], classes, value) for value in PENALTIES}
        loss = {value: _loss(weights, train_VKD[held_out], labels[held_out]) for value, weights in fit.items()}
        penalty = min(loss, key=loss.__getitem__)
    return _logits(_train(train_VKD, labels, classes, penalty), test_VKD), penalty


def _train(clips_VKD: np.ndarray, labels_V: np.ndarray, classes: int, penalty: float) -> torch.Tensor:
    """(D + 1, classes): weights, and the bias in the last row."""
    x_ND = torch.from_numpy(np.ascontiguousarray(clips_VKD.reshape(-1, clips_VKD.shape[-1])))
    y_N = torch.from_numpy(np.repeat(labels_V, clips_VKD.shape[1]))
    weights = torch.zeros(x_ND.shape[1] + 1, classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(torch.addmm(weights[-1], x_ND, weights[:-1]), y_N)
        loss = loss + 0.5 * penalty * weights[:-1].square().sum() / x_ND.shape[1]
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()


def _logits(weights: torch.Tensor, clips_VKD: np.ndarray) -> np.ndarray:
    return (torch.from_numpy(clips_VKD) @ weights[:-1] + weights[-1]).mean(1).numpy()


def _loss(weights: torch.Tensor, clips_VKD: np.ndarray, labels_V: np.ndarray) -> float:
    return float(F.cross_entropy(torch.from_numpy(_logits(weights, clips_VKD)), torch.from_numpy(labels_V)))
