"""Random streams by key: what is drawn depends on its place alone, so that a run can stop, go on or be divided."""

import numpy as np


def stream(seed: int, epoch: int, number: int = 0, attempt: int = 0, purpose: int = 0) -> np.random.Generator:
    """A stream of its own for each combination. Drawing counts up the first word of the counter, so that two streams
    never meet. Changing the order of the words changes every draw there is."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, number, attempt, purpose]))
