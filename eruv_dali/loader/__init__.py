"""From clip requests to batches of clips, through DALI."""

from eruv_dali.loader.relation_loader import ClipInfo, PairInfo, RelationBatch, RelationLoader

__all__ = ["ClipInfo", "PairInfo", "RelationBatch", "RelationLoader"]
