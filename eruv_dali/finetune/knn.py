"""Recognition without training: a vote of the k most similar training videos.

Source of the vote's weights, exp(cosine / 0.07): Wu, Xiong, Yu, Lin, "Unsupervised Feature Learning via Non-Parametric
Instance Discrimination", CVPR 2018, section 3.4.
"""

from collections.abc import Sequence

import numpy as np

from eruv_dali.evaluate.search import nearest

TEMPERATURE = 0.07


def knn_scores(
    train_ND: np.ndarray, train_labels: Sequence[int], test_VD: np.ndarray, classes: int, *, k: int,
    device: str = "auto",
) -> np.ndarray:
    """(V, classes) float64: for each test video the votes of its k nearest training videos (one vector each).

    Raises:
        EruvError: k below 1 or above the number of training videos; features of different dimension.
    """
    index_Vk, similarity_Vk = nearest(test_VD, train_ND, k, device=device)
    # Only their ratios matter; the largest is factored out so that none overflows.
    weight_Vk = np.exp((similarity_Vk - similarity_Vk[:, :1]).astype(np.float64) / TEMPERATURE)
    votes_VC = np.zeros((len(test_VD), classes))
    np.add.at(votes_VC, (np.arange(len(test_VD))[:, None], np.asarray(train_labels)[index_Vk]), weight_Vk)
    return votes_VC
