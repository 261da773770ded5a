"""The numbers that shot detection works on, in NumPy: the reference definition, and the fallback without a compiler.

kernels/hog.cu computes the same, far faster, on the GPU and on the host; each function here has a kernel there.
The features are VLFeat's UoCTTI HOG (Felzenszwalb et al., PAMI 2010) with cells of 8 x 8 pixels and 9 orientations.
"""

import numpy as np

CELL = 8
ORIENTATIONS = 9
FEATURES = 31  # numbers per cell


def histograms(frames_THWC: np.ndarray) -> np.ndarray:
    """Gradients, distributed bilinearly over the cells: (T, H, W, 3) uint8 -> (T, H/8, W/8, 18) directed histograms."""
    T, H, W, _ = frames_THWC.shape
    if T > 16:  # bounds the memory
        return np.concatenate([histograms(frames_THWC[t : t + 16]) for t in range(0, T, 16)])
    pixels = frames_THWC.astype(np.int32)
    dx, dy = np.zeros_like(pixels), np.zeros_like(pixels)
    inside = np.s_[:, 1:-1, 1:-1]
    dx[inside] = pixels[:, 1:-1, 2:] - pixels[:, 1:-1, :-2]
    dy[inside] = pixels[:, 2:, 1:-1] - pixels[:, :-2, 1:-1]
    square = dx * dx + dy * dy
    strongest = square.argmax(-1)[..., None]  # the colour channel; of equal ones the first
    dx, dy, square = (np.take_along_axis(x, strongest, -1)[..., 0] for x in (dx, dy, square))

    # The nearest of 18 directions 20 degrees apart: how many of the boundaries at 10, 30, 50, 70 degrees are below it.
    # A vertical gradient is equally near to 80 and 100 degrees and is assigned to 80, as in VLFeat.
    boundaries = np.tan(np.deg2rad([10, 30, 50, 70]))
    step = (abs(dy)[..., None] > abs(dx)[..., None] * boundaries).sum(-1)
    upper = np.where(dx < 0, ORIENTATIONS - step, step)
    lower = np.where(dx <= 0, ORIENTATIONS + step, 2 * ORIENTATIONS - step)
    direction = np.where(dy < 0, lower, upper) % (2 * ORIENTATIONS)

    # A pixel's weight in cell y falls linearly from 1 at the cell's centre to 0 at the neighbours' centres.
    def share(length: int) -> np.ndarray:
        centres = np.arange(length // CELL) * CELL + CELL / 2
        return np.maximum(0, 1 - abs(np.arange(length) + 0.5 - centres[:, None]) / CELL).astype(np.float32)

    magnitude = np.sqrt(square.astype(np.float32))
    histogram = np.empty((T, H // CELL, W // CELL, 2 * ORIENTATIONS), np.float32)
    for k in range(2 * ORIENTATIONS):
        histogram[..., k] = share(H) @ np.where(direction == k, magnitude, np.float32(0)) @ share(W).T
    return histogram


def features(directed: np.ndarray, epsilon: float) -> np.ndarray:
    """Normalise by the energy of the four 2 x 2 blocks around a cell, clip at 0.2: (T, h, w, 18) -> (T, h, w, 31)."""
    undirected = directed[..., :ORIENTATIONS] + directed[..., ORIENTATIONS:]
    energy = np.pad((undirected**2).sum(-1), ((0, 0), (1, 1), (1, 1)), "edge")
    blocks = energy[:, :-1, :-1] + energy[:, :-1, 1:] + energy[:, 1:, :-1] + energy[:, 1:, 1:]
    scale = (1 / np.maximum(np.sqrt(blocks + np.float32(epsilon) ** 2), np.float32(1e-10)))[..., None]
    corners = scale[:, :-1, :-1], scale[:, :-1, 1:], scale[:, 1:, :-1], scale[:, 1:, 1:]

    both = np.concatenate([directed, undirected], -1)
    clipped = [np.minimum(np.float32(0.2), both * corner) for corner in corners]
    texture = [c[..., 2 * ORIENTATIONS :].sum(-1, keepdims=True) / np.float32(np.sqrt(18)) for c in clipped]
    return np.concatenate([np.float32(0.5) * sum(clipped), *texture], -1)


def lag_difference(x: np.ndarray, lag: int) -> np.ndarray:
    """Mean |x[t + lag] - x[t]| over all axes but time: (T, ...) float32 -> (T - lag,) float32."""
    gaps = [np.abs(x[t + lag] - x[t]).mean() for t in range(len(x) - lag)]
    return np.array(gaps, np.float32)


def window_mean(x: np.ndarray, window: int) -> np.ndarray:
    """Mean of `window` successive frames: (T, ...) float32 -> (T - window + 1, ...) float32."""
    count = max(len(x) - window + 1, 0)
    total = x[:count].copy()
    for t in range(1, window):
        total += x[t : t + count]
    return total * np.float32(1 / window)


def luminance_difference(frames_THWC: np.ndarray) -> np.ndarray:
    """Mean |Y[t + 1] - Y[t]| in grey levels (Rec. 601): (T, H, W, 3) uint8 -> (T - 1,) float32."""
    luminance = [(frame.astype(np.int32) @ np.array([77, 150, 29], np.int32)) >> 8 for frame in frames_THWC]
    return np.array([np.abs(b - a).mean() for a, b in zip(luminance, luminance[1:], strict=False)], np.float32)
