"""Clip requests: which clips a loader reads."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClipRequest:
    """One clip to load.

    Attributes:
        video: position in the dataset's list of videos; `shot`: number within it; `segment`: as in segments.csv.
        frames: (T,) int64, source frames in the order shown.
        rotation: degrees counter-clockwise, applied to the crop.
        crop: (top, left) of the crop in the resized frame, pixels.
        speed: source frames from one frame to the next, in temporal order.
    """

    video: int
    shot: int
    segment: int
    frames: np.ndarray
    rotation: int
    crop: tuple[int, int]
    speed: int
