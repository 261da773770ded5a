"""A DATASET: what `prepare` writes and the loaders read."""

from eruv_dali.dataset.columns import FRAME, SEGMENT, VideoRow
from eruv_dali.dataset.opened import Dataset

__all__ = ["FRAME", "SEGMENT", "Dataset", "VideoRow"]
