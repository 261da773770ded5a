"""RelationLoader: ERUV's samples in ERUV's terms, pairs of clips and their relations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from eruv_dali.checks import whole_number
from eruv_dali.dataset import Dataset
from eruv_dali.loader.epochs import ClipInfo
from eruv_dali.pretext.eruv import RELATIONS, EruvOptions
from eruv_dali.pretext.loader import PretextLoader
from eruv_dali.pretext.pretext import Sample


class PairInfo(NamedTuple):
    """Where a pair came from, and the name of its relation."""

    relation: str
    clips: tuple[ClipInfo, ClipInfo]


class RelationBatch(NamedTuple):
    """A batch of B pairs.

    Attributes:
        clips: (B, 2, 3, T, H, W), values (x / 255 - mean) / std; clips[:, k] is channels_last_3d.
        relation: (B,) int64, position in the loader's `relations`, on the CPU unless `labels_on_device`.
        info: list of B PairInfo.
    """

    clips: torch.Tensor
    relation: torch.Tensor
    info: list[PairInfo]


class RelationLoader(PretextLoader):
    """Loads batches of clip pairs in random relations from a prepared DATASET, decoding ahead in other threads.

        with RelationLoader("my_dataset", batch_size=8) as loader:
            for batch in loader:
                loss = F.cross_entropy(net(batch.clips), batch.relation)

    Args:
        dataset: a DATASET folder, or an opened Dataset.
        relations: any of RELATIONS; a label is a position in this list.
        pairs_per_epoch: by default one for each segment.
        others: as in `PretextLoader`. With `trimmed`, CV and CD drop out.

    Attributes:
        relations: those in use.

    Raises:
        EruvError: a bad argument, no such DATASET, a relation that these videos cannot show, or videos or a pack that
            have changed since prepare.
    """

    def __init__(
        self, dataset: str | Path | Dataset, *, batch_size: int = 8, clip_length: int = 16, crop: int = 112,
        device: str | torch.device = "auto", dtype: str | torch.dtype = "float32",
        mean: Sequence[float] = (0.0, 0.0, 0.0), std: Sequence[float] = (1.0, 1.0, 1.0),
        relations: Sequence[str] = RELATIONS, trimmed: bool = False, split: str = "all", val_fraction: float = 0.1,
        pairs_per_epoch: int | None = None, drop_last: bool = False, labels_on_device: bool = False, seed: int = 0,
        shard_id: int | None = None, num_shards: int | None = None, threads: int | None = None,
    ) -> None:
        if pairs_per_epoch is not None:
            whole_number("pairs_per_epoch", pairs_per_epoch, least=1)
        asked: Any = relations if isinstance(relations, str) else list(relations)  # a string is refused with the rest
        super().__init__(
            dataset, "eruv", options=EruvOptions(relations=asked), batch_size=batch_size, clip_length=clip_length,
            crop=crop, device=device, dtype=dtype, mean=mean, std=std, trimmed=trimmed, split=split,
            val_fraction=val_fraction, samples_per_epoch=pairs_per_epoch, drop_last=drop_last,
            labels_on_device=labels_on_device, seed=seed, shard_id=shard_id, num_shards=num_shards, threads=threads)
        self.relations = self.pretext.kinds

    def _batch(self, items: list[Sample], clips: torch.Tensor) -> RelationBatch:
        clips, relation, info = super()._batch(items, clips)
        return RelationBatch(clips, relation, [PairInfo(*told) for told in info])
