"""Films of drawn shots, and the curves of these or of given differences."""

import numpy as np

from eruv_dali.shots import ShotCurves, ShotStatistics, find_shots
from eruv_dali.shots.curves import LAGS


def picture(seed: int, H: int = 192, W: int = 256) -> np.ndarray:
    """A picture of random rectangles, tall ones for odd seeds, on a textured ground: (H, W, 3) float32."""
    rng = np.random.default_rng(seed)
    image = np.full((H, W, 3), 120, np.float32)
    for size in (4, 8, 16):
        image += np.kron(rng.normal(0, 12, (H // size, W // size, 1)), np.ones((size, size, 1)))
    texture = image - 120
    for _ in range(200):
        y, x = rng.integers(0, H), rng.integers(0, W)
        h, w = (rng.integers(*limits) for limits in (((6, 24), (10, 90)), ((10, 90), (6, 24)))[seed % 2])
        image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return image + texture


def shot(seed: int, T: int, speed: float = 0.0) -> np.ndarray:
    """T frames of a picture the camera pans over, `speed` pixels a frame."""
    image = picture(seed)
    return np.stack([image[20:116, 10 + round(t * speed) :][:, :128] for t in range(T)])


def film(*parts: np.ndarray, grain: float = 1.5) -> np.ndarray:
    frames = np.concatenate(parts)
    frames = frames + np.random.default_rng(1).normal(0, grain, frames.shape)
    return frames.round().clip(0, 255).astype(np.uint8)


def dissolve(a: np.ndarray, b: np.ndarray, T: int) -> np.ndarray:
    weight = (np.arange(1, T + 1) / (T + 1))[:, None, None, None]
    return a * (1 - weight) + b * weight


def curves_of(frames: np.ndarray, chunk: int = 64) -> ShotCurves:
    statistics = ShotStatistics()
    for begin in range(0, len(frames), chunk):
        statistics.add(frames[begin : begin + chunk])
    return statistics.finish()


def intervals(curves: ShotCurves, **options) -> list[tuple[int, int]]:
    return [(shot.start, shot.end) for shot in find_shots(curves, **options)]


def flat_curves(N: int, **cuts: float) -> ShotCurves:
    """Curves of a still video with clean cuts, f40=0.2 being one of that strength before frame 40."""
    lags = np.zeros((len(LAGS), N), np.float32)
    for name, strength in cuts.items():
        for row, lag in zip(lags, LAGS, strict=True):
            t = int(name[1:])
            row[max(t, lag) : t + lag] = strength
    return curves_like(lags)


def curves_like(lags: np.ndarray, window: np.ndarray | None = None) -> ShotCurves:
    """Curves of a video whose regions all change alike, at (3, N) lags, and whose colours stay."""
    window = np.zeros(lags.shape[1], np.float32) if window is None else window
    return ShotCurves(hog=lags[0].copy(), luminance=np.zeros_like(window), lags=lags, low=lags, window=window,
                      window_low=np.zeros((2, len(window)), np.float32), colour=np.zeros((2, len(window)), np.float32),
                      grey=np.zeros((32, len(window)), np.uint8))
