"""Random streams by key: a draw depends only on its key, so that a run can be stopped, resumed or split."""

import numpy as np
from numpy.random.bit_generator import ISeedSequence


class _NoSeed(ISeedSequence):
    """Philox draws a seed from the operating system even if its state is set next, which takes longer than the rest."""

    def generate_state(self, n_words: int, dtype=np.uint32) -> np.ndarray:
        return np.zeros(n_words, dtype)


_NO_SEED, _NO_BUFFER = _NoSeed(), np.zeros(4, np.uint64)


def stream(seed: int, epoch: int, number: int = 0, attempt: int = 0, purpose: int = 0) -> np.random.Generator:
    """A separate stream for each combination of arguments. Drawing increments the first word of the counter, so that
    two streams never overlap. Changing the order of the words changes all draws."""
    philox = np.random.Philox(_NO_SEED)  # type: ignore[arg-type]  # NumPy documents the interface, its stubs do not
    philox.state = {
        "bit_generator": "Philox",
        "state": {"counter": np.array([0, number, attempt, purpose], np.uint64),
                  "key": np.array([seed, epoch], np.uint64)},
        "buffer": _NO_BUFFER, "buffer_pos": 4, "has_uint32": 0, "uinteger": 0,
    }
    return np.random.Generator(philox)


def pick(random: np.random.Generator, options):
    """One of a sequence, each equally likely: the draw of `random.choice`, which first makes an array of them."""
    return options[random.integers(len(options))]
