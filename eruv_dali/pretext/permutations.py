"""Sets of permutations that are as different as possible, for puzzles with too many permutations to learn all."""

from functools import cache
from itertools import permutations

import numpy as np

from eruv_dali.errors import EruvError

MOST_PIECES = 9  # all permutations are compared: 9! = 362,880


@cache
def distant_permutations(pieces: int, count: int) -> tuple[tuple[int, ...], ...]:
    """`count` permutations of 0 … pieces - 1, chosen one after another, the first the identity; always the same.

    Each next one is that whose smallest Hamming distance (number of places at which two permutations differ) to those
    chosen is the largest; among these, that with the largest mean distance; among these, the first in lexicographic
    order. (Noroozi and Favaro 2016, section 4.2, choose by the mean distance alone, which is equal for all
    permutations as soon as every piece has been at every place equally often.)

    Raises:
        EruvError: too many pieces, or more permutations than there are.
    """
    if pieces > MOST_PIECES:
        raise EruvError(f"{pieces} pieces have too many permutations to choose from; {MOST_PIECES} are possible")
    everything_NP = np.array(list(permutations(range(pieces))), np.uint8)
    if count > len(everything_NP):
        raise EruvError(f"{count} permutations are more than the {len(everything_NP)} of {pieces} pieces")
    places_PN = np.ascontiguousarray(everything_NP.T)  # one place after another is compared, in long runs
    nearest_N = np.full(len(everything_NP), pieces, np.int64)
    total_N = np.zeros(len(everything_NP), np.int64)
    chosen = [0]
    while len(chosen) < count:
        distance_N = np.zeros(len(everything_NP), np.uint8)
        for place_N, value in zip(places_PN, everything_NP[chosen[-1]], strict=True):
            distance_N += place_N != value
        np.minimum(nearest_N, distance_N, out=nearest_N)
        total_N += distance_N
        # The total is at most pieces · count, so the smallest distance always decides first.
        chosen.append(int(np.argmax(nearest_N * (pieces * count + 1) + total_N)))
    return tuple(tuple(row) for row in everything_NP[chosen].tolist())
