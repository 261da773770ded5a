"""The samples of a pre-training run: those that it trains on, and those of held-out videos that it is judged by."""

import torch

from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.pretext.loader import PretextLoader
from eruv_dali.train.config import Config
from eruv_dali.train.processes import ALONE, Processes, cores_each

VAL_SAMPLES_PER_KIND = 30  # at least, so that the accuracy of one kind is meaningful


def sample_loader(
    config: Config, dataset: Dataset, split: str, precision: torch.dtype, processes: Processes = ALONE
) -> PretextLoader:
    """The loader of one part, "train" or "val", of a run with this configuration; epoch 0 of "val" is what every
    validation sees.

    Raises:
        EruvError: see `PretextLoader`; a batch that an epoch can never fill.
    """
    data = config.data
    loader = PretextLoader(
        dataset, config.pretext.name, options=config.pretext, batch_size=data.batch_size, clip_length=data.clip_length,
        crop=data.crop, device=config.device, dtype=precision, mean=data.mean, std=data.std, trimmed=data.trimmed,
        split=split, val_fraction=data.val_fraction,
        samples_per_epoch=data.pairs_per_epoch if split == "train" else data.val_pairs,
        # Held-out samples are drawn from their own seed, the same in every epoch.
        seed=config.seed if split == "train" else config.seed + 1,
        shard_id=processes.rank, num_shards=processes.world,
        threads=data.threads or cores_each(processes),
    )
    if split == "val" and data.val_pairs is None:
        loader.items = max(len(loader.pretext), VAL_SAMPLES_PER_KIND * max(1, len(loader.pretext.kinds)))
    if split == "train":
        together = data.batch_size * processes.world
        refuse_large_batch(data.batch_size, loader.items, processes)
        # Full batches only, the same number for every process: past its end an epoch continues with a further pass.
        loader.items = -(-loader.items // together) * together
    return loader


def refuse_large_batch(batch_size: int, items: int, processes: Processes) -> None:
    """Raises:
        EruvError: the batch of all processes together has more samples than an epoch, which has `items`.
    """
    together = batch_size * processes.world
    if together > items:
        processes_too = f" x {processes.world} processes = {together}" if processes.world > 1 else ""
        raise EruvError(f"data.batch_size = {batch_size}{processes_too} can never be filled: an epoch has {items} "
                        "samples (segments of the training videos, or data.pairs_per_epoch); lower the one or set "
                        f"data.pairs_per_epoch={together} or more")
