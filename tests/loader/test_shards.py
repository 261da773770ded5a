"""Shards: every process has as many batches, none sees what another sees, and a state of any of them resumes all."""

import random

import pytest

from eruv_dali import EruvError, RelationLoader
from eruv_dali.loader.shards import check_shard, numbers_of, rounds, running_shard


def test_what_is_left_is_divided_evenly_whatever_the_shards():
    """Thousands of random epochs, broken off anywhere and gone on with by other numbers of shards and batch sizes."""
    draw = random.Random(0)
    for _ in range(3000):
        items, position, seen = draw.randint(1, 60), 0, []
        while position < items:
            batch_size, shards = draw.randint(1, 7), draw.randint(1, 6)
            numbers = [list(numbers_of(position, items, batch_size, shard, shards, False)) for shard in range(shards)]
            batches = [-(-len(some) // batch_size) for some in numbers]
            assert set(batches) == {rounds(items - position, batch_size, shards, False)}
            done = draw.randint(1, batches[0])
            seen += [number for some in numbers for number in some[: done * batch_size]]
            position += done * batch_size * shards
        assert sorted(n for n in seen if n < items) == list(range(items))  # each once
        assert len(seen) - items < 6 and len(set(seen)) == len(seen)  # and few too many, none twice


def test_dropping_the_last_leaves_whole_batches_for_all():
    draw = random.Random(1)
    for _ in range(2000):
        items, position = draw.randint(1, 60), draw.randint(0, 30)
        batch_size, shards = draw.randint(1, 7), draw.randint(1, 6)
        if position > items:
            continue
        numbers = [list(numbers_of(position, items, batch_size, shard, shards, True)) for shard in range(shards)]
        full = (items - position) // (batch_size * shards)
        assert all(len(some) == full * batch_size for some in numbers)
        assert sorted(sum(numbers, [])) == list(range(position, position + full * batch_size * shards))


def test_states_of_all_shards_agree_at_every_step(datasets):
    """7 pairs in batches of 2 for 3 shards: the second round has one pair, and is filled up to one for each."""
    options = dict(batch_size=2, device="cpu", pairs_per_epoch=7, seed=4, num_shards=3)
    states, seen = [], []
    for shard in range(3):
        with RelationLoader(datasets["raw"], shard_id=shard, **options) as loader:
            assert len(loader) == 2
            states.append([])
            for batch in loader:
                seen += batch.info
                states[-1].append(loader.state_dict())
    assert states == [[{"epoch": 0, "position": 6}, {"epoch": 1, "position": 0}]] * 3
    with RelationLoader(datasets["raw"], batch_size=2, device="cpu", pairs_per_epoch=7, seed=4) as loader:
        whole = [info for batch in loader for info in batch.info]
    assert len(seen) == 9 and set(map(repr, whole)) < set(map(repr, seen)) and len(set(map(repr, seen))) == 9


def test_the_shard_is_that_of_the_running_processes(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert running_shard() == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert running_shard() == (0, 1)  # Lightning sets it alone, and starts torch.distributed afterwards
    monkeypatch.setenv("RANK", "3")
    assert running_shard() == (3, 4)
    assert check_shard(None, None) is None and check_shard(None, 1) == (0, 1) and check_shard(2, 3) == (2, 3)
    for wrong in ((1, None), (None, 2), (2, 2), (-1, 2), (0.0, 1)):
        with pytest.raises(EruvError):
            check_shard(*wrong)
