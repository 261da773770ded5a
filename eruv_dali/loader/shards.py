"""Shards: which part of an epoch this process takes when several train together."""

import os
from typing import Any

import torch.distributed as dist

from eruv_dali.checks import whole_number
from eruv_dali.errors import EruvError


def check_shard(shard_id: Any, num_shards: Any) -> tuple[int, int] | None:
    """The shard that the arguments give, or None if they leave it to the rank of the running process.

    Raises:
        EruvError: one is given without the other, or they are out of range.
    """
    if num_shards is None:
        if shard_id is not None:
            raise EruvError(f"shard_id {shard_id} also needs num_shards, the number of processes")
        return None
    count = whole_number("num_shards", num_shards, least=1)
    if shard_id is None and count > 1:
        raise EruvError(f"num_shards {count} also needs shard_id, the number of this process")
    shard = whole_number("shard_id", 0 if shard_id is None else shard_id, least=0)
    if shard >= count:
        raise EruvError(f"shard_id {shard} must lie between 0 and num_shards - 1 ({count - 1})")
    return shard, count


def running_shard() -> tuple[int, int]:
    """(rank, number of processes) of torch.distributed, or of the environment that torchrun sets, or (0, 1).

    Looked up again for each pass: PyTorch Lightning starts its processes in `fit`, after the loader was made.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    try:
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return 0, 1
    return (rank, world) if 0 <= rank < world else (0, 1)


def rounds(items: int, batch_size: int, num_shards: int, drop_last: bool) -> int:
    """Batches of each shard in an epoch of `items`. The same number for all, or some processes would wait forever."""
    together = batch_size * num_shards
    return items // together if drop_last else -(-items // together)


def numbers_of(start: int, items: int, batch_size: int, shard_id: int, num_shards: int, drop_last: bool) -> range:
    """The numbers of a shard's items, among items `start` to `items` - 1 of an epoch.

    Each shard takes every `num_shards`-th item. If the last round has fewer items than shards, the numbers run on past
    the end, by up to num_shards - 1; with `drop_last`, items that do not fill a batch of every shard are left out.
    """
    left = items - start
    full = rounds(left, batch_size, num_shards, drop_last=True) * batch_size * num_shards
    rest = left - full
    if drop_last:
        rest = 0
    elif rest:
        rest = max(rest, num_shards)
    return range(start + shard_id, start + full + rest, num_shards)
