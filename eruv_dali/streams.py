"""Random streams by key: a draw depends only on its key, so that a run can be stopped, resumed or split."""

import numpy as np


def stream(seed: int, epoch: int, number: int = 0, attempt: int = 0, purpose: int = 0) -> np.random.Generator:
    """A separate stream for each combination of arguments. Drawing increments the first word of the counter, so that
    two streams never overlap. Changing the order of the words changes all draws."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, number, attempt, purpose]))
