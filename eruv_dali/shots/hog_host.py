"""kernels/hog.cu on the CPU: compiled with g++ on first use, called with NumPy arrays."""

import ctypes
import functools

import numpy as np

from eruv_dali import native
from eruv_dali.shots.hog_numpy import CELL, FEATURES, ORIENTATIONS

# Without contraction into fused multiply-adds, host and GPU results are bit-identical. The last two flags only state
# that floating-point exceptions and errno are not checked: without them sqrt and the comparisons do not vectorise.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno")
TILE = (4, 8)  # cells of a hog_cells block, down and across, as in hog.cu
GROUP = 32  # cells of a hog_features block


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled kernels. Raises `native.NoCompiler`."""
    folder = native.kernels_dir()
    source = folder / "hog.cu"
    command = [native.find_compiler("g++"), *FLAGS, "-shared", "-fPIC", "-x", "c++", str(source)]
    return native.load_library("hog", [[*command, "-o", "{out}"]], [source, folder / "host.h"])


def available() -> bool:
    """Whether the kernels can be compiled here; if not, logs why, once."""
    try:
        library()
    except native.NoCompiler as reason:
        native.say_once(f"{reason}; shot detection runs in NumPy, some 20 times slower (install g++)")
        return False
    return True


def histograms(frames_THWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T, H, W, 3) uint8 -> directed histograms (T, 18, H/8, W/8) and the energies of the undirected (T, H/8, W/8)."""
    T, H, W, _ = frames_THWC.shape
    planes = np.ascontiguousarray(frames_THWC.transpose(0, 3, 1, 2))
    cells_y, cells_x = H // CELL, W // CELL
    histogram = np.empty((T, 2 * ORIENTATIONS, cells_y, cells_x), np.float32)
    energy = np.empty((T, cells_y, cells_x), np.float32)
    tiles = -(-cells_y // TILE[0]) * -(-cells_x // TILE[1])
    _run("hog_cells", T * tiles, planes, H, W, histogram, energy)
    return histogram, energy


def features(histograms: tuple[np.ndarray, np.ndarray], epsilon: float) -> np.ndarray:
    histogram, energy = histograms
    T, cells_y, cells_x = energy.shape
    out = np.empty((T, cells_y, cells_x, FEATURES), np.float32)
    groups = -(-cells_y * cells_x // GROUP)
    _run("hog_features", T * groups, histogram, energy, cells_y, cells_x, ctypes.c_float(epsilon), out)
    return out


def lag_difference(x: np.ndarray, lag: int) -> np.ndarray:
    out = np.empty(max(len(x) - lag, 0), np.float32)
    _run("lag_difference", len(out), x, x[0].size if len(x) else 0, lag, out)
    return out


def window_mean(x: np.ndarray, window: int) -> np.ndarray:
    out = np.empty((max(len(x) - window + 1, 0), *x.shape[1:]), np.float32)
    _run("window_mean", len(out), x, out[0].size if len(out) else 0, window, out)
    return out


def luminance_difference(frames_THWC: np.ndarray) -> np.ndarray:
    T, H, W, _ = frames_THWC.shape
    planes = np.ascontiguousarray(frames_THWC.transpose(0, 3, 1, 2))
    out = np.empty(max(T - 1, 0), np.float32)
    _run("luminance_difference", len(out), planes, H * W, out)
    return out


def _run(kernel: str, blocks: int, *arguments) -> None:
    def convert(argument):
        if isinstance(argument, np.ndarray):
            assert argument.flags.c_contiguous and argument.dtype in (np.uint8, np.float32)
            return ctypes.c_void_p(argument.ctypes.data)
        return argument

    getattr(library(), f"host_{kernel}")(blocks, *map(convert, arguments))
