"""From frames to curves: what the shot rules need to know about a video, computed once, while it is decoded."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eruv_dali.errors import EruvError
from eruv_dali.shots import hog_numpy
from eruv_dali.shots.hog import as_frames, backend

LAGS = (1, 5, 9)  # a frame is compared with the frames this many frames before it
WINDOW = 9  # frames averaged on each side of t for the window curves
SPANS = (16, 24)  # from the first frame of one window to the first of the other: t+4 .. t+12 against t-12 .. t-4, ...
EDGES = tuple(span // 2 + WINDOW // 2 for span in SPANS)  # frames at either end for which they cannot be computed
EDGE = EDGES[-1]
REGION = (3, 4)  # cells, down and across, of the regions of a picture
# What is drawn over a picture (a caption, an inset) changes some regions; a cut changes all. So only this share of the
# regions counts, those that change least: 6 of 16 from frame to frame, 10 of 16 from window to window.
LOWEST_STEPS, LOWEST_WINDOWS = 0.375, 0.625
# Colours are counted in 64 bins, on every fourth pixel of every fourth row, after scaling them to this mean luminance
# (plus a little, so that the noise of a black picture stays small): a change of exposure is no change of colours.
GREY, DARK = 110, 8
SAMPLED = 4
PARTS = (4, 8)  # down and across, of the picture: of each, the grey level of every frame is kept
# VLFeat's HOG scales every 2 x 2 block of cells to the same energy, so the grain and the coding noise of a flat wall or
# a pavement become changing structure. The robust rule's HOG adds this to the energy (see `eruv_dali.shots.hog`).
# On 60 single-take UT-Interaction clips: 3 false dissolves at 0, none at 200; above 300 dark cuts are missed.
EPSILON = 200.0
CHUNK = 64  # frames processed at once, however many the caller passes: their features stay in a processor's cache


@dataclass(frozen=True)
class ShotCurves:
    """How a video of N frames changes, as float32 curves. Entry t is about the step from frame t-1 to frame t; only the
    last, `grey`, is about frame t itself.

    If a comparison would reach beyond the video, the entry is 0.

    hog         (N,) mean |HOG_t - HOG_{t-1}| with VLFeat's HOG: the d_t of the published rules
    luminance   (N,) mean |Y_t - Y_{t-1}| in grey levels; tells where fades begin and end
    lags        (3, N) lags[i, t] = mean |HOG'_t - HOG'_{t-LAGS[i]}|, where HOG' is HOG normalised with EPSILON
    low         (3, N) the same as `lags` in the regions of the picture that change least
    window      (N,) mean |mean HOG' of t+8 .. t+16 - mean HOG' of t-16 .. t-8|
    window_low  (2, N) the same in the regions that change least, for windows that are SPANS[i] frames apart
    colour      (2, N) what share of the pixels has another colour, from the one window to the other
    grey        (32, N) uint8: mean grey level of each of 4 x 8 parts of the picture
    """

    hog: np.ndarray
    luminance: np.ndarray
    lags: np.ndarray
    low: np.ndarray
    window: np.ndarray
    window_low: np.ndarray
    colour: np.ndarray
    grey: np.ndarray

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
        self._shares = self._share_means = None  # of colours, likewise
        self._hog: list[np.ndarray] = []
        self._luminance: list[np.ndarray] = []
        self._lags: list[list[np.ndarray]] = [[] for _ in LAGS]
        self._windows: list[list[np.ndarray]] = [[] for _ in SPANS]
        self._colours: list[list[np.ndarray]] = [[] for _ in SPANS]
        self._grey: list[np.ndarray] = []

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
        N = self._count
        hog, luminance, window = np.zeros((3, N), np.float32)
        lags, low = np.zeros((2, len(LAGS), N), np.float32)
        window_low, colour = np.zeros((2, len(SPANS), N), np.float32)
        for row, least, lag, parts in zip(lags, low, LAGS, self._lags, strict=True):
            if parts:
                regions = np.concatenate(parts)
                row[lag:], least[lag:] = regions.mean(1), _lowest(regions, LOWEST_STEPS)
        hog[1:] = _joined(self._hog)
        luminance[1:] = _joined(self._luminance)
        for i, edge in enumerate(EDGES):
            if self._windows[i]:
                regions = np.concatenate(self._windows[i])
                window_low[i, edge:-edge] = _lowest(regions, LOWEST_WINDOWS)
                colour[i, edge:-edge] = _joined(self._colours[i])
                if edge == EDGE:
                    window[edge:-edge] = regions.mean(1)
        grey = np.concatenate([np.zeros((PARTS[0] * PARTS[1], 0), np.uint8), *self._grey], 1)
        return ShotCurves(hog, luminance, lags, low, window, window_low, colour, grey)

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
        features = _by_region(features)
        features, self._features = _extended(self._features, features, keep=max(*LAGS, WINDOW - 1))
        for lag, parts in zip(LAGS, self._lags, strict=True):
            parts.append(self._regional(features[max(known - lag, 0) :], lag))

        means = self._backend.window_mean(features[max(known - WINDOW + 1, 0) :], WINDOW)
        before = 0 if self._means is None else len(self._means)
        means, self._means = _extended(self._means, means, keep=SPANS[-1])
        pixels = _numpy(frames_THWC[:, ::SAMPLED, ::SAMPLED])
        self._grey.append(grey_parts(pixels))
        shares = colour_shares(pixels)
        shares, self._shares = _extended(self._shares, shares, keep=WINDOW - 1)
        share_means = hog_numpy.window_mean(shares[max(min(known, WINDOW - 1) - WINDOW + 1, 0) :], WINDOW)
        share_means, self._share_means = _extended(self._share_means, share_means, keep=SPANS[-1])
        for span, windows, colours in zip(SPANS, self._windows, self._colours, strict=True):
            since = max(before - span, 0)
            if len(means) - since > span:
                windows.append(self._regional(means[since:], span))
                colours.append(32 * hog_numpy.lag_difference(share_means[since:], span))  # half the sum over 64 bins

    def _regional(self, x, lag: int) -> np.ndarray:
        """Mean |x[t + lag] - x[t]| of each region: (T, R, n) -> (T - lag, R)."""
        T, R, n = x.shape
        return _numpy(self._backend.lag_difference(x.reshape(T * R, n), lag * R)).reshape(-1, R)


def colour_shares(pixels_THWC: np.ndarray) -> np.ndarray:
    """Shares of 64 colours among pixels, whatever the light: (T, H, W, 3) uint8 -> (T, 64) float32.

    A pixel between the centres of two bins counts for either, by a lot that its place in the picture draws once for
    all: shares change gradually, as with bins that overlap.
    """
    T, H, W, _ = pixels_THWC.shape
    planes = np.ascontiguousarray(pixels_THWC.transpose(3, 0, 1, 2), np.float32).reshape(3, T, H * W)
    light = sum(weight * plane.mean(1) for weight, plane in zip((0.299, 0.587, 0.114), planes, strict=True))
    planes *= np.asarray(GREY / 64 / (light + DARK), np.float32)[:, None]
    planes -= np.float32(0.5)
    lots = np.random.default_rng(0).random((3, 1, H * W), np.float32)
    red, green, blue = (np.clip(planes, 0, np.float32(2.999)) + lots).astype(np.uint8)
    bins = (16 * red + 4 * green + blue) + 64 * np.arange(T)[:, None]
    return (np.bincount(bins.ravel(), minlength=64 * T).reshape(T, 64) / (H * W)).astype(np.float32)


def grey_parts(pixels_THWC: np.ndarray) -> np.ndarray:
    """Mean grey level (Rec. 601) of each of the PARTS of the pictures: (T, H, W, 3) uint8 -> (32, T) uint8."""
    T, H, W, _ = pixels_THWC.shape
    sums = pixels_THWC.astype(np.int32) @ np.array([77, 150, 29], np.int32)
    count = np.ones((H, W), np.int32)
    for axis, parts in ((1, PARTS[0]), (2, PARTS[1])):
        edges = np.arange(parts) * pixels_THWC.shape[axis] // parts
        sums, count = np.add.reduceat(sums, edges, axis), np.add.reduceat(count, edges, axis - 1)
    return ((sums + 128 * count) // (256 * count)).astype(np.uint8).reshape(T, -1).T


def _by_region(features):
    """(T, h, w, n) -> (T, R, ...) contiguous: the cells of each region together; one region if they do not fit in."""
    T, h, w, n = features.shape
    down, across = REGION
    if h % down or w % across:
        return features.reshape(T, 1, -1)
    parts = features.reshape(T, h // down, down, w // across, across, n).transpose(0, 1, 3, 2, 4, 5)
    return parts.reshape(T, (h // down) * (w // across), -1)


def _lowest(regions: np.ndarray, share: float) -> np.ndarray:
    """(T, R) -> (T,) mean of the lowest `share` of the regions."""
    count = max(1, round(share * regions.shape[1]))
    return np.sort(regions, 1)[:, :count].mean(1)


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
