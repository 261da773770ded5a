"""Random streams: NumPy's Philox with this key and counter, so that draws never change."""

import numpy as np
import pytest

from eruv_dali.streams import pick, stream


@pytest.mark.parametrize("seed", [0, 7, 2**53 + 1, 2**64 - 1])
def test_it_is_philox_with_this_key_and_counter(seed):
    key, counter = np.array([seed, 3], np.uint64), np.array([0, 9, 2, 1], np.uint64)
    expected = np.random.Generator(np.random.Philox(key=key, counter=counter))
    random = stream(seed, 3, 9, 2, 1)
    assert np.array_equal(random.integers(2**50, size=50), expected.integers(2**50, size=50))
    assert np.array_equal(random.permutation(99), expected.permutation(99))


def test_large_seeds_are_distinct():
    """As floats, which a list of them becomes, these two are one number."""
    assert stream(2**53, 0).integers(2**60) != stream(2**53 + 1, 0).integers(2**60)


def test_pick_draws_as_choice_does():
    for seed in range(50):
        options = np.arange(seed + 1)
        one, other = stream(seed, 0), stream(seed, 0)
        assert pick(one, options) == other.choice(options)
        assert one.integers(2**40) == other.integers(2**40)
