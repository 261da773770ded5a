"""A small network that was taught on drawn edits where a video's shots end, from its curves.

Five layers of dilated convolutions look at 67 frames around each one: of 16 frames on either side of a step between two
frames in detail, of 33 coarsely. They are computed with NumPy: `prepare` needs no PyTorch for it. How the weights came
about: benchmarks/shot_network.py.
"""

import functools
from pathlib import Path

import numpy as np

from eruv_dali.shots.curves import DARK, LAGS, ShotCurves

WEIGHTS = Path(__file__).with_name("network.npz")
STRUCTURE, LUMINANCE, COLOUR, BRIGHTNESS = 0.01, 1.0, 0.05, 0.02  # differences that count as small, as in the noise
PAIRS = ((1, 0), (1, 4), (5, 0), (5, 4), (1, 8), (9, 0))  # frames before and after a step that are compared
WINDOWS = (3, 8)  # frames on either side of a step whose mean brightness is compared
DILATIONS = (1, 2, 4, 8, 16)
REACH = 2 + sum(DILATIONS)  # frames on either side that an output depends on
CHUNK = 4096  # frames computed at once


def transition_logits(curves: ShotCurves) -> np.ndarray:
    """(2, N) float32: of each frame, the logarithm of the odds that a cut lies before it; and of those that it is
    within a gradual transition."""
    if not len(curves):
        return np.zeros((2, 0), np.float32)
    x, weights = features(curves), read_weights(WEIGHTS)
    x = (x - weights["mean"]) / weights["deviation"]
    parts = []
    for begin in range(0, len(curves), CHUNK):
        first = max(begin - REACH, 0)
        logits = _logits(x[:, first : begin + CHUNK + REACH], weights)
        parts.append(logits[:, begin - first : begin - first + CHUNK])
    return np.concatenate(parts, 1)


def features(curves: ShotCurves) -> np.ndarray:
    """(29, N) float32: what the network sees of a video.

    Differences are on a logarithmic scale, for what counts is how much larger one is than those around it.
    """
    grey = curves.grey.astype(np.float32)
    light = grey.mean(0)
    steps = [_log(curves.hog, STRUCTURE), _log(curves.luminance, LUMINANCE)]
    lags = [_log(row, STRUCTURE) for row in (*curves.lags, *curves.low, lasting(curves.lags), lasting(curves.low))]
    windows = [_log(row, STRUCTURE) for row in (curves.window, *curves.window_low)]
    colours = [_log(row, COLOUR) for row in curves.colour]
    before = grey[:, np.maximum(np.arange(len(light)) - 1, 0)]
    levels = [*_by_change(before, grey), *(row for width in WINDOWS for row in _by_change(*_sides(grey, width)))]
    looks = [np.log(light + DARK) - 4.5, np.log(grey.std(0) + 2) - 3]
    return np.stack([*steps, *lags, *windows, *colours, *levels, *looks]).astype(np.float32)


def lasting(lags: np.ndarray) -> np.ndarray:
    """(3, N) differences at LAGS -> (N,) the smallest of those of the PAIRS of frames around each step.

    What is the same again some frames later, or was so some frames earlier, does not count.
    """
    N = lags.shape[1]
    change = np.full(N, np.inf, np.float32)
    for before, after in PAIRS:  # a pair of which a frame is missing does not count
        known = lags[LAGS.index(before + after)][before + after :]
        np.minimum(change[before : before + len(known)], known, out=change[before : before + len(known)])
    change[:1] = 0
    return change


def _log(x: np.ndarray, small: float) -> np.ndarray:
    return np.log1p(x / np.float32(small))


def _by_change(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(32, N) grey levels of the parts of the picture, twice -> (4, N) by what share of the picture's brightness they
    differ: in the quarter of the parts that change least, in the next, ..."""
    light = (before + after).mean(0) / 2 + DARK
    change = np.sort(np.abs(after - before) / light, 0)
    return _log(change.reshape(4, -1, change.shape[1]).mean(1), BRIGHTNESS)


def _sides(grey: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(32, N) -> means of the `width` frames before each step and of those after it; the ends are continued."""
    N = grey.shape[1]
    sums = np.cumsum(np.pad(np.pad(grey, ((0, 0), (width, width)), "edge"), ((0, 0), (1, 0))), 1,
                     dtype=np.float64)
    means = ((sums[:, width:] - sums[:, :-width]) / width).astype(np.float32)
    return means[:, :N], means[:, width : width + N]


def _logits(x: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    x = np.maximum(_convolution(x, weights["first"], weights["first_bias"], 1), 0)
    for layer, dilation in enumerate(DILATIONS):
        x = x + np.maximum(_convolution(x, weights[f"layer{layer}"], weights[f"layer{layer}_bias"], dilation), 0)
    return _convolution(x, weights["last"], weights["last_bias"], 1)


def _convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dilation: int) -> np.ndarray:
    """(C, N) with a kernel (D, C, K), as PyTorch's conv1d pads and numbers it -> (D, N)."""
    taps, N = weight.shape[2], x.shape[1]
    edge = dilation * (taps // 2)
    padded = np.pad(x, ((0, 0), (edge, edge)))
    return sum((weight[:, :, k] @ padded[:, k * dilation : k * dilation + N] for k in range(taps)), bias[:, None])


@functools.cache
def read_weights(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name].astype(np.float32) for name in file.files}
