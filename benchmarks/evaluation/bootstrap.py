"""How sure a figure is: groups and seeds are drawn again, both with replacement."""

from collections.abc import Mapping
from typing import NamedTuple
from zlib import crc32

import numpy as np

DRAWS = 4000
SPAN = (2.5, 97.5)  # percentiles


class Estimate(NamedTuple):
    """A share or a difference of shares, and its 95 % interval."""

    mean: float
    low: float
    high: float


def estimate(hits: Mapping[str, np.ndarray], units: Mapping[str, np.ndarray]) -> Estimate:
    """The mean over sets of the mean over videos and seeds.

    Seeds are drawn once for all sets, as one network is tested on all of them; units (persons, takes) within each set.

    Args:
        hits: set → (seeds, videos): 1 where a video was recognised; or the difference of two starts with the same
            seeds, for the paired interval.
        units: set → (videos,), what is drawn together.
    """
    seeds = len(next(iter(hits.values())))
    random = np.random.default_rng(crc32(" ".join(sorted(hits)).encode()))
    drawn_BS = random.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS)
    means, draws_B = [], np.zeros(DRAWS)
    for name in sorted(hits):
        names, place = np.unique(units[name], return_inverse=True)
        members_VU = np.eye(len(names))[place]
        sums_SU, sizes_U = hits[name] @ members_VU, members_VU.sum(0)
        drawn_BU = random.multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)
        draws_B += np.einsum("bs,su,bu->b", drawn_BS, sums_SU, drawn_BU) / (drawn_BU @ sizes_U) / seeds
        means.append(hits[name].mean())
    low, high = np.percentile(draws_B / len(hits), SPAN)
    return Estimate(float(np.mean(means)), float(low), float(high))
