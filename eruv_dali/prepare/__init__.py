"""From videos to a DATASET: the program, and `prepare` for other programs."""

from eruv_dali.prepare.run import prepare

__all__ = ["prepare"]
