"""From clip requests to batches of clips, through DALI."""

from eruv_dali.loader.clip_loader import ClipBatch, ClipLoader
from eruv_dali.loader.epochs import ClipInfo
from eruv_dali.loader.relation_loader import PairInfo, RelationBatch, RelationLoader

__all__ = ["ClipBatch", "ClipInfo", "ClipLoader", "PairInfo", "RelationBatch", "RelationLoader"]
