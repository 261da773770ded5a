"""Nearest neighbours: exact, in blocks, from memory or from disk."""

import numpy as np
import pytest
import torch

from eruv_dali import EruvError
from eruv_dali.evaluate import search
from eruv_dali.evaluate.search import hits, nearest


def brute_force(queries, database, k):
    unit = [part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12) for part in (queries, database)]
    similarity = unit[0].astype(np.float64) @ unit[1].T.astype(np.float64)
    index = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return index, np.take_along_axis(similarity, index, 1)


@pytest.mark.parametrize("queries, database, dim, k", [(1, 1, 1, 1), (7, 50, 3, 50), (33, 1000, 16, 20)])
@pytest.mark.parametrize("block", [1 << 28, 8 * 16 * 37])
def test_against_brute_force_in_one_block_and_in_many(monkeypatch, queries, database, dim, k, block):
    monkeypatch.setattr(search, "BYTES_AT_ONCE", block)
    monkeypatch.setattr(search, "QUERIES_AT_ONCE", 1024 if block > 1 << 20 else 5)
    random = np.random.default_rng(1)
    q, d = (random.standard_normal((n, dim)).astype(np.float32) for n in (queries, database))
    index, similarity = nearest(q, d, k, device="cpu")
    wanted, wanted_similarity = brute_force(q, d, k)
    assert index.dtype == np.int64 and similarity.dtype == np.float32
    np.testing.assert_allclose(similarity, wanted_similarity, atol=1e-6)
    assert dim == 1 or (index == wanted).all()


def test_neighbours_that_float32_cannot_tell_apart():
    """Features of an untrained network: cosines of 0.99999 and more, 1e-7 apart."""
    random = np.random.default_rng(2)
    features = (random.random(192) + 1e-3 * random.standard_normal((60, 192))).astype(np.float32)
    index, _ = nearest(features[:30], features[30:], 30, device="cpu")
    assert (index == brute_force(*(part.astype(np.float64) for part in (features[:30], features[30:])), 30)[0]).all()


@pytest.mark.parametrize("block", [1 << 28, 8 * 2 * 5])
def test_equals_come_in_the_order_of_the_database_and_zeros_are_like_nothing(monkeypatch, block):
    monkeypatch.setattr(search, "BYTES_AT_ONCE", block)
    database = np.tile(np.array([[1, 0], [0, 1], [-1, 0], [0, 0]], np.float32), (25, 1))
    index, similarity = nearest(np.array([[2, 0], [0, 0]], np.float32), database, 30, device="cpu")
    assert index[0, :25].tolist() == list(range(0, 100, 4)) and (similarity[0, :25] == 1).all()
    assert index[0, 25:].tolist() == [1, 3, 5, 7, 9] and (similarity[0, 25:] == 0).all()
    assert index[1].tolist() == list(range(30)) and (similarity[1] == 0).all()


def test_memory_mapped_and_torch_features(tmp_path):
    database = np.random.default_rng(2).standard_normal((300, 8)).astype(np.float16)
    np.save(tmp_path / "features.npy", database)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    expected = nearest(database[:9], database, 4, device="cpu")
    for queries in (mapped[:9], torch.from_numpy(database[:9])):
        for got, wanted in zip(nearest(queries, mapped, 4, device="cpu"), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert (expected[0][:, 0] == np.arange(9)).all()  # each is most like itself


def test_bad_features():
    some = np.ones((4, 8), np.float32)
    with pytest.raises(EruvError, match="queries have 8 dimensions, the database has 5"):
        nearest(some, np.ones((9, 5), np.float32), 1, device="cpu")
    with pytest.raises(EruvError, match="k 5 must lie between 1 and 4"):
        nearest(some, some, 5, device="cpu")
    with pytest.raises(EruvError, match="shape"):
        nearest(some[0], some, 1, device="cpu")


def test_hits():
    assert hits(np.array([[0, 2], [1, 0]]), [5, 6], [5, 7, 6]).tolist() == [[True, False], [False, False]]


@pytest.mark.gpu
def test_gpu_finds_what_the_cpu_finds():
    random = np.random.default_rng(3)
    q, d = (random.standard_normal((n, 64)).astype(np.float32) for n in (40, 5000))
    for got, wanted in zip(nearest(q, d, 10, device="gpu"), nearest(q, d, 10, device="cpu"), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
