"""From clip requests to batches of clips, through DALI."""

from eruv_dali.loader.clip_loader import ClipBatch, ClipLoader
from eruv_dali.loader.epochs import ClipInfo

__all__ = ["ClipBatch", "ClipInfo", "ClipLoader"]
