"""kernels/hog.cu on the GPU: compiled by CuPy's NVRTC on first use, called with CuPy arrays (NumPy ones are copied)."""

import functools

import cupy
import numpy as np

from eruv_dali import native
from eruv_dali.shots.hog_host import GROUP, TILE
from eruv_dali.shots.hog_numpy import CELL, FEATURES, ORIENTATIONS

FLAGS = ("--std=c++14", "--fmad=false")  # no fused multiply-adds: host and GPU results are bit-identical
THREADS = 256


def source() -> str:
    """hog.cu with its header inlined: NVRTC has no include path to our folder."""
    folder = native.kernels_dir()
    return (folder / "hog.cu").read_text().replace('#include "host.h"', (folder / "host.h").read_text())


@functools.cache
def module() -> cupy.RawModule:
    return cupy.RawModule(code=source(), options=FLAGS)


def histograms(frames_THWC: cupy.ndarray) -> tuple[cupy.ndarray, cupy.ndarray]:
    """(T, H, W, 3) uint8 -> directed histograms (T, 18, H/8, W/8) and the energies of the undirected (T, H/8, W/8)."""
    T, H, W, _ = frames_THWC.shape
    planes = cupy.ascontiguousarray(frames_THWC.transpose(0, 3, 1, 2))
    cells_y, cells_x = H // CELL, W // CELL
    histogram = cupy.empty((T, 2 * ORIENTATIONS, cells_y, cells_x), np.float32)
    energy = cupy.empty((T, cells_y, cells_x), np.float32)
    tiles = -(-cells_y // TILE[0]) * -(-cells_x // TILE[1])
    _run("hog_cells", T * tiles, planes, H, W, histogram, energy)
    return histogram, energy


def features(histograms: tuple[cupy.ndarray, cupy.ndarray], epsilon: float) -> cupy.ndarray:
    histogram, energy = histograms
    T, cells_y, cells_x = energy.shape
    out = cupy.empty((T, cells_y, cells_x, FEATURES), np.float32)
    groups = -(-cells_y * cells_x // GROUP)
    _run("hog_features", T * groups, histogram, energy, cells_y, cells_x, np.float32(epsilon), out)
    return out


def lag_difference(x: cupy.ndarray, lag: int) -> cupy.ndarray:
    out = cupy.empty(max(len(x) - lag, 0), np.float32)
    _run("lag_difference", len(out), x, x[0].size if len(x) else 0, lag, out)
    return out


def window_mean(x: cupy.ndarray, window: int) -> cupy.ndarray:
    out = cupy.empty((max(len(x) - window + 1, 0), *x.shape[1:]), np.float32)
    _run("window_mean", len(out), x, out[0].size if len(out) else 0, window, out)
    return out


def luminance_difference(frames_THWC: cupy.ndarray) -> cupy.ndarray:
    T, H, W, _ = frames_THWC.shape
    planes = cupy.ascontiguousarray(frames_THWC.transpose(0, 3, 1, 2))
    out = cupy.empty(max(T - 1, 0), np.float32)
    _run("luminance_difference", len(out), planes, H * W, out)
    return out


def _run(kernel: str, blocks: int, *arguments) -> None:
    def convert(argument):
        types = {int: np.int32, float: np.float32}
        return types.get(type(argument), lambda same: same)(argument)

    if blocks:
        module().get_function(kernel)((blocks,), (THREADS,), tuple(map(convert, arguments)))
