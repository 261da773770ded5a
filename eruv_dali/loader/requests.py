"""Clip requests: which clips a loader reads."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClipRequest:
    """One clip to load.

    Attributes:
        video: position in the dataset's list of videos; `shot`: number within it; `segment`: as in segments.csv.
        frames: (T,) int64, source frames in the order shown.
        rotation: degrees counter-clockwise, applied to the crop after `flip` and `tiles`.
        crop: (top, left) of the crop in the resized frame, pixels.
        speed: source frames from one frame to the next, in temporal order.
        flip: whether the crop is mirrored left to right, before all that follows.
        tiles: which quarter of the mirrored crop (0 top left, 1 top right, 2 bottom left, 3 bottom right) is shown top
            left, top right, bottom left and bottom right; the crop must be even. None: as they are.
        color: (12,) a 3x4 matrix, row by row: shown RGB = matrix · (R, G, B, 1), on the scale of 0 to 1, clipped to
            it, before the clip is normalised; None: as it is.

    The order is frames, crop, flip, tiles, rotation, color. The last three fields are only carried out by a loader
    that was made for them (ClipFormat.transforms); another refuses the request.
    """

    video: int
    shot: int
    segment: int
    frames: np.ndarray
    rotation: int
    crop: tuple[int, int]
    speed: int
    flip: bool = False
    tiles: tuple[int, int, int, int] | None = None
    color: tuple[float, ...] | None = None
