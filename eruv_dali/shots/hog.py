"""HOG features of video frames: on the GPU with CuPy, on the CPU with code compiled by g++, or else in NumPy."""

import sys
from types import ModuleType

import numpy as np

from eruv_dali.errors import EruvError
from eruv_dali.shots import hog_host, hog_numpy
from eruv_dali.shots.hog_numpy import CELL

DEVICES = ("cpu", "gpu")


def hog(frames_THWC, *, device: str = "cpu", epsilon: float = 0.0):
    """UoCTTI HOG as VLFeat computes it: cells of 8 x 8 pixels, 9 orientations, hard orientation assignment.

    Args:
        frames_THWC: (T, H, W, 3) uint8 RGB, H and W multiples of 8; a NumPy array, or a CuPy array with device="gpu".
        device: "cpu" returns a NumPy array, "gpu" a CuPy array. Both contain the same numbers.
        epsilon: its square is added to the energy that a cell is normalised by; in grey levels summed over a cell. 0 is
            VLFeat's HOG; a few hundred keep film grain in a flat region from being amplified into structure.

    Returns:
        (T, H/8, W/8, 31) float32: 18 directed orientations, 9 undirected ones, 4 texture energies.

    Raises:
        EruvError: wrong shape, dtype or device.

    Source: Felzenszwalb et al., PAMI 2010, as in VLFeat's vl_hog; used for shots by UntrimmedNets (CVPR 2017).
    """
    module = backend(device)
    return module.features(module.histograms(as_frames(frames_THWC, device)), epsilon)


def backend(device: str) -> ModuleType:
    """The module that computes on `device`: all have the functions of `hog_numpy`."""
    if device not in DEVICES:
        raise EruvError(f"device {device!r} is unknown; use one of {', '.join(DEVICES)}")
    if device == "gpu":
        from eruv_dali.shots import hog_gpu  # CuPy is imported only when it is used

        return hog_gpu
    return hog_host if hog_host.available() else hog_numpy


def as_frames(frames_THWC, device: str):
    """Check frames and move them to the device that processes them. Raises EruvError."""
    on_gpu = "cupy" in sys.modules and isinstance(frames_THWC, sys.modules["cupy"].ndarray)
    if on_gpu and device == "cpu":
        raise EruvError("frames are a CuPy array but device is 'cpu'; pass device='gpu' or frames.get()")
    if not on_gpu:
        frames_THWC = np.asarray(frames_THWC)
    shape, dtype = frames_THWC.shape, frames_THWC.dtype
    if dtype != np.uint8:
        raise EruvError(f"frames of dtype {dtype} cannot be used; pass uint8 RGB")
    if len(shape) != 4 or shape[3] != 3 or shape[1] % CELL or shape[2] % CELL or not shape[1] or not shape[2]:
        raise EruvError(f"frames of shape {shape} cannot be used; pass (T, H, W, 3) with H and W multiples of {CELL}")
    if device == "gpu" and not on_gpu:
        import cupy

        frames_THWC = cupy.asarray(frames_THWC)
    return frames_THWC
