"""Labelled action datasets as they unpack, and their official splits: UCF101, HMDB51, or one folder per class."""

from eruv_dali.actions.split import DATASETS, ActionSplit, read_split

__all__ = ["DATASETS", "ActionSplit", "read_split"]
