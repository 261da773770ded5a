"""From frames to curves: what the shot rules need to know about a video, computed once, while it is decoded."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eruv_dali.errors import EruvError
from eruv_dali.shots.hog import as_frames, backend

LAGS = (1, 5, 9)  # a frame is compared with the frames this many frames before it
WINDOW = 9  # frames averaged on each side of t for the window curve: t+8 .. t+16 against t-16 .. t-8
SPAN = 24  # from the first frame of one window to the first of the other
EDGE = 16  # frames at either end for which the window curve cannot be computed
# VLFeat's HOG scales every 2 x 2 block of cells to the same energy, so the grain and the coding noise of a flat wall or
# a pavement become changing structure. The robust rule's HOG adds this to the energy (see `eruv_dali.shots.hog`).
# On 60 single-take UT-Interaction clips: 3 false dissolves at 0, none at 200; above 300 dark cuts are missed.
EPSILON = 200.0
CHUNK = 64  # frames processed at once, however many the caller passes: their features stay in a processor's cache


@dataclass(frozen=True)
class ShotCurves:
    """How a video of N frames changes, as float32 curves. Entry t is about the step from frame t-1 to frame t.

    If a comparison would reach beyond the video, the entry is 0.

    hog         (N,) mean |HOG_t - HOG_{t-1}| with VLFeat's HOG: the d_t of the published rules
    luminance   (N,) mean |Y_t - Y_{t-1}| in grey levels; tells where fades begin and end
    lags        (3, N) lags[i, t] = mean |HOG'_t - HOG'_{t-LAGS[i]}|, where HOG' is HOG normalised with EPSILON
    window      (N,) mean |mean HOG' of t+8 .. t+16 - mean HOG' of t-16 .. t-8|
    """

    hog: np.ndarray
    luminance: np.ndarray
    lags: np.ndarray
    window: np.ndarray

    def __len__(self) -> int:
        return len(self.hog)


class ShotStatistics:
    """Computes `ShotCurves` from a stream of frames; its memory does not grow with the features.

        statistics = ShotStatistics(device="cpu")
        for frames_THWC in decoder:                # uint8 RGB, normally 96 x 128
            statistics.add(frames_THWC)
        shots = find_shots(statistics.finish())

    The curves do not depend on how the frames are divided into chunks.
    """

    def __init__(self, *, device: str = "cpu"):
        self._device = device
        self._backend = backend(device)
        self._count = 0
        self._frame = self._plain = None  # the last frame, and its HOG
        self._features = None  # HOG' of the last frames: those that a later frame is compared or averaged with
        self._means = None  # over windows, likewise
        self._hog: list[np.ndarray] = []
        self._luminance: list[np.ndarray] = []
        self._lags: list[list[np.ndarray]] = [[] for _ in LAGS]
        self._window: list[np.ndarray] = []

    def add(self, frames_THWC) -> None:
        """Add the next frames: (T, H, W, 3) uint8 RGB, NumPy or (device="gpu") CuPy, any T, always of one size.

        Raises:
            EruvError: wrong shape or dtype, or another size than the frames before.
        """
        frames_THWC = as_frames(frames_THWC, self._device)
        for begin in range(0, len(frames_THWC), CHUNK):
            self._add(frames_THWC[begin : begin + CHUNK])

    def finish(self) -> ShotCurves:
        """The curves of all frames added."""
        lags = np.zeros((len(LAGS), self._count), np.float32)
        for row, lag, parts in zip(lags, LAGS, self._lags, strict=True):
            row[lag:] = _joined(parts)
        hog, luminance, window = np.zeros((3, self._count), np.float32)
        hog[1:] = _joined(self._hog)
        luminance[1:] = _joined(self._luminance)
        if self._window:
            window[EDGE:-EDGE] = _joined(self._window)
        return ShotCurves(hog=hog, luminance=luminance, lags=lags, window=window)

    def _add(self, frames_THWC) -> None:
        if self._frame is not None and frames_THWC.shape[1:] != self._frame.shape[1:]:
            before, now = self._frame.shape[1:3], frames_THWC.shape[1:3]
            raise EruvError(f"frames of size {now} follow frames of size {before}; resize all to one size")
        self._count += len(frames_THWC)
        histograms = self._backend.histograms(frames_THWC)

        self._luminance += _steps(self._frame, frames_THWC, self._backend.luminance_difference)
        self._frame = frames_THWC[-1:].copy()

        plain = self._backend.features(histograms, 0.0)
        self._hog += _steps(self._plain, plain, lambda x: self._backend.lag_difference(x, 1))
        self._plain = plain[-1:].copy()

        known = 0 if self._features is None else len(self._features)
        features = self._backend.features(histograms, EPSILON)
        features, self._features = _extended(self._features, features, keep=max(*LAGS, WINDOW - 1))
        for lag, parts in zip(LAGS, self._lags, strict=True):
            parts.append(_numpy(self._backend.lag_difference(features[max(known - lag, 0) :], lag)))

        means = self._backend.window_mean(features[max(known - WINDOW + 1, 0) :], WINDOW)
        means, self._means = _extended(self._means, means, keep=SPAN)
        if len(means) > SPAN:
            self._window.append(_numpy(self._backend.lag_difference(means, SPAN)))


def _steps(before, new, difference: Callable) -> list[np.ndarray]:
    """The differences of successive entries, from the entry `before` on (None: there is none), without copying them."""
    seam = [] if before is None else [_numpy(difference(_together(before, new[:1])))]
    return [*seam, _numpy(difference(new))]


def _extended(before, new, *, keep: int):
    """The kept and the new entries together, and the last `keep` of them for the next call."""
    together = new if before is None else _together(before, new)
    return together, together[max(len(together) - keep, 0) :].copy()


def _together(before, new):
    module = np if isinstance(new, np.ndarray) else sys.modules["cupy"]
    return module.concatenate([before, new])


def _numpy(x) -> np.ndarray:
    return x if isinstance(x, np.ndarray) else x.get()


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
