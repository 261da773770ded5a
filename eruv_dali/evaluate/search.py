"""Exact nearest neighbours by cosine similarity, in bounded memory, for any number of features."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from eruv_dali.device import torch_device
from eruv_dali.errors import EruvError

QUERIES_AT_ONCE = 1024
BYTES_AT_ONCE = 1 << 28  # of a block of the database, and of its similarities to a block of queries


def nearest(
    queries_QD: np.ndarray | torch.Tensor, database_ND: np.ndarray | torch.Tensor, k: int, *, device: str = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """The `k` rows of the database that are most similar to each query, most similar first.

    The search is exact: every query is compared with every row, block by block, in float64, since the cosines of an
    untrained network's features differ by less than float32 can tell; of equally similar rows the first one in the
    database comes first. Both sides may be larger than memory (`np.load(…,
    mmap_mode="r")`): a block is read when it is needed. A row of zeros has similarity 0 to everything.

    Returns:
        index (Q, k) int64, positions in the database, and similarity (Q, k) float32, cosines from -1 to 1.

    Raises:
        EruvError: features of different or no dimension, k below 1 or above the size of the database.
    """
    for name, features in (("queries", queries_QD), ("database", database_ND)):
        if features.ndim != 2 or not features.shape[1]:
            raise EruvError(f"{name} of shape {tuple(features.shape)}: features must be (number, dimension)")
    (Q, D), (N, D_database) = queries_QD.shape, database_ND.shape
    if D_database != D:
        raise EruvError(f"queries have {D} dimensions, the database has {D_database}; both must come from the same "
                        "network, layer and crop")
    if not 1 <= k <= N:
        raise EruvError(f"k {k} must lie between 1 and {N}, the size of the database")
    place = torch_device(device)
    rows = max(k, min(BYTES_AT_ONCE // (8 * D), BYTES_AT_ONCE // (8 * min(Q, QUERIES_AT_ONCE) or 1), N))
    index_Qk = np.empty((Q, k), np.int64)
    similarity_Qk = np.empty((Q, k), np.float32)
    # Every pass reads the whole database, so it handles as many queries as memory allows.
    at_once = max(QUERIES_AT_ONCE, BYTES_AT_ONCE // (8 * D))
    for first in range(0, Q, at_once):
        chunk_QD = _unit(queries_QD[first : first + at_once], place)
        best = _Best(len(chunk_QD), k, place)
        for start in range(0, N, rows):
            block_ND = _unit(database_ND[start : start + rows], place)
            for top in range(0, len(chunk_QD), QUERIES_AT_ONCE):
                some = slice(top, min(top + QUERIES_AT_ONCE, len(chunk_QD)))
                best.add(some, chunk_QD[some] @ block_ND.T, start)
        index_Qk[first : first + at_once] = best.index_Qk.cpu().numpy()
        similarity_Qk[first : first + at_once] = best.similarity_Qk.cpu().numpy()
    return index_Qk, similarity_Qk


class _Best:
    """The k best so far for each query."""

    def __init__(self, queries: int, k: int, device: torch.device) -> None:
        self.similarity_Qk = torch.full((queries, k), -torch.inf, dtype=torch.float64, device=device)
        self.index_Qk = torch.zeros((queries, k), dtype=torch.int64, device=device)

    def add(self, some: slice, similarity_QN: torch.Tensor, start: int) -> None:
        """Merge a block of the database that starts at row `start`, for some of the queries."""
        k = self.index_Qk.shape[1]
        found, index = _top(similarity_QN, min(k, similarity_QN.shape[1]))
        similarity = torch.cat([self.similarity_Qk[some], found], 1)
        index = torch.cat([self.index_Qk[some], index + start], 1)
        # The sort is stable, and earlier results come first: ties keep the database's order.
        self.similarity_Qk[some], order = (part[:, :k] for part in similarity.sort(dim=1, descending=True, stable=True))
        self.index_Qk[some] = index.gather(1, order)


def _top(similarity_QN: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest of each row and their columns; of equal ones the first."""
    # topk chooses arbitrarily among equals. If the next one equals the last one taken, choose again.
    values, index = similarity_QN.topk(min(k + 1, similarity_QN.shape[1]))
    tied = values[:, k - 1] == values[:, -1] if values.shape[1] > k else torch.zeros(len(values), dtype=torch.bool)
    values, index = values[:, :k].contiguous(), index[:, :k].contiguous()
    if tied.any():
        anew = similarity_QN[tied].sort(dim=1, descending=True, stable=True)
        values[tied], index[tied] = anew.values[:, :k], anew.indices[:, :k]
    by_index = index.argsort(1)
    values, index = values.gather(1, by_index), index.gather(1, by_index)
    values, order = values.sort(dim=1, descending=True, stable=True)
    return values, index.gather(1, order)


def _unit(features_ND: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    if not isinstance(features_ND, torch.Tensor):
        features_ND = torch.from_numpy(np.array(features_ND, np.float32))  # a copy: memory-mapped arrays are read-only
    return F.normalize(features_ND.to(device).double(), dim=1)


def hits(
    index_Qk: np.ndarray, query_label_Q: Sequence[int] | np.ndarray, database_label_N: Sequence[int] | np.ndarray
) -> np.ndarray:
    """(Q, k) bool: whether each neighbour has its query's label."""
    return np.asarray(database_label_N)[index_Qk] == np.asarray(query_label_Q)[:, None]
