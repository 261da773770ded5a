"""Matrices of colours, for `ClipRequest.color`: 12 numbers, a 3x4 matrix row by row, on the scale of 0 to 1.

    shown (R, G, B) = matrix · (R, G, B, 1), clipped to 0..1

Several changes in a row are one matrix again, so that a clip is changed in one pass over its pixels.
"""

from collections.abc import Sequence
from math import cos, inf, isfinite, pi, sin

import numpy as np

from eruv_dali.errors import EruvError

Matrix = tuple[float, ...]  # 12 numbers
Amount = float | Sequence[float]  # of a jitter: a number, or the least and the largest factor

MID_GREY = 0.5
# Y, the luma of ITU-R BT.601, and the two axes of colour of NTSC (1953), I and Q, in which a hue is an angle.
YIQ = np.array([(0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])
# What a picture is the sum of: its luma, and its colour. The third is its colour, a quarter of a turn on, from red to
# yellow, green and blue. 3x3 matrices, row by row; plain numbers, since NumPy takes longer over matrices so small.
LUMA, COLOR, COLOR_TURNED = ((np.linalg.inv(YIQ) @ np.array(part, float) @ YIQ).ravel().tolist() for part in (
    [(1, 0, 0), (0, 0, 0), (0, 0, 0)], [(0, 0, 0), (0, 1, 0), (0, 0, 1)], [(0, 0, 0), (0, 0, 1), (0, -1, 0)]))


def replicated_channel(channel: int) -> Matrix:
    """Channel 0 (red), 1 (green) or 2 (blue) in the place of all three.

    Raises:
        EruvError: another channel.
    """
    if channel not in (0, 1, 2):
        raise EruvError(f"channel {channel} must be 0, 1 or 2")
    return 3 * (*(float(column == channel) for column in range(3)), 0.0)


def color_jitter(
    random: np.random.Generator, brightness: Amount = 0.0, contrast: Amount = 0.0, saturation: Amount = 0.0,
    hue: Amount = 0.0,
) -> Matrix:
    """Colours changed at random: four changes, whose factors and order are distributed as in torchvision's ColorJitter.

    Brightness multiplies all channels. Contrast moves them away from mid-grey, 0.5, or towards it; torchvision's is
    about the mean of the picture's luma, which cannot be known before the picture is. Saturation moves them away from
    their luma (ITU-R BT.601), or towards it. Hue turns the colours about the axis of greys, in YIQ, which keeps their
    luma; torchvision's turns them the same way in HSV, which keeps their largest channel. Only the result is clipped
    to 0..1; torchvision clips after each change.

    Args:
        random: draws the factors, uniformly.
        brightness, contrast, saturation: a number a, at least 0, for factors between max(0, 1 - a) and 1 + a; or the
            least and the largest factor, at least 0. A factor of 1 changes nothing.
        hue: a number a from 0 to 0.5, for factors between -a and a; or the least and the largest factor, from -0.5 to
            0.5. The factor is in whole turns; 0 changes nothing.

    Raises:
        EruvError: see `jitter_bounds`.
    """
    bounds = (jitter_bounds("brightness", brightness), jitter_bounds("contrast", contrast),
              jitter_bounds("saturation", saturation), jitter_bounds("hue", hue))
    *shares, order = random.random(5).tolist()
    bright, apart, colored, turns = (low + (high - low) * share
                                     for (low, high), share in zip(bounds, shares, strict=True))
    # Of the order, only one thing can be seen: whether brightness also multiplies what contrast has added.
    added = (1 - apart) * MID_GREY * (bright if order < 0.5 else 1.0)
    angle, scale = 2 * pi * turns, bright * apart
    along, across = cos(angle), sin(angle)
    matrix = [scale * (luma + colored * (along * color + across * turned))
              for luma, color, turned in zip(LUMA, COLOR, COLOR_TURNED, strict=True)]
    return (*matrix[:3], added, *matrix[3:6], added, *matrix[6:], added)


def jitter_bounds(name: str, amount: Amount) -> tuple[float, float]:
    """The least and the largest factor that `color_jitter` draws for its argument `name`; to check options early.

    Raises:
        EruvError: the amount is out of range, or is neither a number nor two.
    """
    middle, least, most = (0.0, -0.5, 0.5) if name == "hue" else (1.0, 0.0, inf)
    try:
        if isinstance(amount, Sequence):
            low, high = map(float, amount)
        elif amount >= 0:
            low, high = (-amount if name == "hue" else max(middle - amount, 0.0)), middle + amount
        else:
            low = high = inf
    except (TypeError, ValueError):
        low = high = inf
    if not (least <= low <= high <= most and isfinite(high)):
        what = "from 0 to 0.5, or two from -0.5 to 0.5" if name == "hue" else "of at least 0, or two of at least 0"
        raise EruvError(f"{name} {amount!r} must be a number {what}, the smaller first")
    return low, high
