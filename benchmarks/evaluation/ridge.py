"""A linear classifier of fixed features in closed form: ridge regression on the classes, so that it costs nothing.

Hastie, Tibshirani, Friedman, "The Elements of Statistical Learning", sections 3.4.1 and 4.2. `finetune --freeze` trains
by logistic regression, which takes a thousand times as long on so few videos.
"""

import numpy as np

from evaluation.folds import leave_out

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)  # beside features of variance 1


def probe(train_VKD: np.ndarray, labels: np.ndarray, groups: np.ndarray, test_VKD: np.ndarray, classes: int
          ) -> tuple[np.ndarray, float]:
    """Train on K clips of each video, test on the mean over K clips.

    Features are scaled to mean 0 and deviation 1 over the training clips. The penalty is the one with the smallest
    squared error on training groups left out in turn; the middle one where there is only one group.

    Args:
        train_VKD, test_VKD: features. labels, groups: of the training videos.

    Returns:
        (test videos,) the predicted label, and the penalty.
    """
    mean_D, std_D = train_VKD.mean((0, 1), dtype=np.float64), train_VKD.std((0, 1), dtype=np.float64)
    # What is constant in training has no information, nor have its rounding errors.
    scale_D = np.divide(1, std_D, out=np.zeros_like(std_D), where=std_D > 1e-6 * np.maximum(np.abs(mean_D), 1e-12))
    train_VKD, test_VKD = (train_VKD - mean_D) * scale_D, (test_VKD - mean_D) * scale_D
    target_VC = np.eye(classes)[labels]
    penalty = PENALTIES[len(PENALTIES) // 2]
    if len(np.unique(groups)) > 1:
        error = np.zeros(len(PENALTIES))
        for _, held in leave_out(groups):
            said_PVC = _predict(train_VKD[~held], target_VC[~held], train_VKD[held], PENALTIES)
            error += np.square(said_PVC - target_VC[held]).sum((1, 2))
        penalty = PENALTIES[int(error.argmin())]
    return _predict(train_VKD, target_VC, test_VKD, (penalty,))[0].argmax(1), penalty


def _predict(
    train_VKD: np.ndarray, target_VC: np.ndarray, test_VKD: np.ndarray, penalties: tuple[float, ...]
) -> np.ndarray:
    """(penalties, test videos, C): regression with an intercept."""
    x_ND = train_VKD.reshape(-1, train_VKD.shape[-1])
    y_NC = np.repeat(target_VC, train_VKD.shape[1], 0)
    centre_D, middle_C = x_ND.mean(0), y_NC.mean(0)
    values_D, vectors_DD = np.linalg.eigh((x_ND - centre_D).T @ (x_ND - centre_D) / len(x_ND))
    moment_DC = vectors_DD.T @ ((x_ND - centre_D).T @ (y_NC - middle_C) / len(x_ND))
    test_VD = (test_VKD.mean(1) - centre_D) @ vectors_DD
    return np.stack([test_VD @ (moment_DC / (values_D + penalty)[:, None]) + middle_C for penalty in penalties])
