"""RelationLoader: ERUV's samples under their own names, pairs of clips and their relations."""

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
    """Loads batches of clip pairs in random relations from a prepared DATASET, decoding ahead on DALI's threads.

        with RelationLoader("my_dataset", batch_size=8) as loader:
            for batch in loader:
                loss = F.cross_entropy(net(batch.clips), batch.relation)

    Args:
        dataset: a DATASET folder, or one opened.
        relations: any of RELATIONS; a label is a position in this list.
        pairs_per_epoch: by default one for each segment.
        others: those of `PretextLoader`: batch_size, clip_length, crop, device, dtype, mean, std, trimmed (CV and CD
            then drop out), split, val_fraction, drop_last, labels_on_device, seed, shard_id, num_shards, threads.

    Attributes:
        relations: those that are asked.

    Raises:
        EruvError: a bad argument, no such DATASET, a relation that these videos cannot show, or videos or a pack that
            are not what prepare left.
    """

    def __init__(
        self, dataset: str | Path | Dataset, *, relations: Sequence[str] = RELATIONS,
        pairs_per_epoch: int | None = None, **others: Any,
    ) -> None:
        if pairs_per_epoch is not None:
            whole_number("pairs_per_epoch", pairs_per_epoch, least=1)
        asked = relations if isinstance(relations, str) else list(relations)
        super().__init__(dataset, "eruv", options=EruvOptions(relations=asked), samples_per_epoch=pairs_per_epoch,
                         **others)
        self.relations = self.pretext.kinds

    def _batch(self, items: list[Sample], clips: torch.Tensor) -> RelationBatch:
        clips, relation, info = super()._batch(items, clips)
        return RelationBatch(clips, relation, [PairInfo(*told) for told in info])
