"""Turn decoded frames into clips: gather, crop, mirror, permute the quarters, rotate, colour, normalise, cast and lay
out, inside a DALI pipeline.

`clip_transform` inserts `fn.eruv.clip_transform`, our custom operator that does all of it in one pass over the bytes
(kernels/clip_transform*), compiled on first use; without a compiler it inserts an equivalent graph of DALI's built-in
operators. Both give the same pixels.

    frames (F, H, W, 3) uint8 ──[index]──> T frames ──crop, flip, tiles, turn──> square ──color──> x
        ──> (x / 255 - mean) / std ──> (T, crop, crop, 3)
"""

import ctypes
import functools
import importlib.util
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import nvidia.dali as dali
from nvidia.dali import fn, math, plugin_manager, sysconfig, types
from nvidia.dali.data_node import DataNode

from eruv_dali import native
from eruv_dali.errors import EruvError

# Kernels for one architecture also run on its later minor versions (8.0 on 8.6); PTX of the last one serves newer GPUs.
CUDA_ARCHITECTURES = (70, 75, 80, 90)
CUDA_HEADER_WHEELS = {  # the wheel that contains each header, for CUDA 12 (13)
    "cuda_runtime.h": "nvidia-cuda-runtime-cu12 (nvidia-cuda-runtime)",
    "crt/host_defines.h": "nvidia-cuda-nvcc-cu12 (nvidia-cuda-crt)",
    "nv/target": "nvidia-cuda-cccl-cu12 (nvidia-cuda-cccl)",
}
DALI_DTYPES = {"float32": types.FLOAT, "float16": types.FLOAT16, "bfloat16": types.FLOAT}


def clip_transform(
    frames: DataNode,
    *,
    index: DataNode | Sequence[int] | None = None,
    crop_pos: DataNode | tuple[int, int],
    rotation: DataNode | int = 0,
    flip: DataNode | bool = False,
    tiles: DataNode | Sequence[int] | None = None,
    color: DataNode | Sequence[float] | None = None,
    crop: int,
    dtype: str = "float32",
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    layout: str = "THWC",
    device: str,
    sequence: bool,
    builtin: bool = False,
) -> DataNode:
    """Turn frames into a normalised clip; call it inside a pipeline definition.

    Every output sample is `(x / 255 - mean) / std` of `np.rot90(square, rotation // 90)` for each requested frame, the
    square being the crop, with what `flip` and `tiles` ask for; the colours are changed before they are normalised. All
    samples of a batch have one shape, so `out.as_tensor()` is a view; with layout "THWC" its (B, T, H, W, 3) permuted
    to (B, 3, T, H, W) is channels_last_3d. Build the pipeline with exec_dynamic=True: without it DALI writes the next
    batch into the memory of one that is still in use.

    Args:
        frames: uint8, (F, H, W, 3) when `sequence`, else one frame (H, W, 3); samples may differ in F, H and W. Frames
            on the CPU are copied to the GPU when `device` is "gpu".
        index: int32 (T,) on the CPU, positions in the span in the order shown, repeats allowed; the same T in all
            samples. None: all frames. Must be None for single frames.
        crop_pos: int32 (2,) on the CPU, top and left of the square in pixels.
        rotation: int32 scalar on the CPU, degrees counter-clockwise, a multiple of 90.
        flip: int32 scalar on the CPU, 0 or 1: mirror the crop left to right.
        tiles: int32 (4,) on the CPU: which quarter of the mirrored crop (0 top left, 1 top right, 2 bottom left,
            3 bottom right) is shown in each of these places; the crop must be even. None: as they are.
        color: float32 (12,) on the CPU, a 3x4 matrix row by row: shown RGB = matrix · (R, G, B, 1), on the scale of
            0 to 1, clipped to it. None: as it is.
        crop: side of the square in pixels.
        dtype: "float32", "float16" or "bfloat16". DALI has no bfloat16: its bits come out as int16, rounded to nearest
            even; `torch.from_dlpack(...).view(torch.bfloat16)` reads them.
        mean, std: per channel, on the scale of 0 to 1.
        layout: "THWC" or "TCHW" when `sequence`, else "HWC" or "CHW".
        device: "cpu" or "gpu", where it is computed.
        builtin: use DALI's built-in operators even where ours can be compiled (for tests and benchmarks).

    Raises:
        EruvError: an invalid dtype, layout, crop or std, an index for single frames, tiles of an odd crop, or a
            rotation, tiles or color that is wrong and no DataNode. A frame index, crop, rotation or tile in a DataNode
            that is out of range is found when the pipeline runs: `run` then raises an error naming it.
    """
    layouts = ("THWC", "TCHW") if sequence else ("HWC", "CHW")
    if layout not in layouts:
        raise EruvError(f"layout ({layout}) must be one of {', '.join(layouts)}" + ("" if sequence else " for frames"))
    if dtype not in DALI_DTYPES:
        raise EruvError(f"dtype ({dtype}) must be one of {', '.join(DALI_DTYPES)}")
    if crop < 1:
        raise EruvError(f"crop ({crop}) must be at least 1")
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise EruvError(f"mean ({list(mean)}) and std ({list(std)}) must have 3 numbers each, std positive")
    if not isinstance(rotation, DataNode) and rotation % 90:
        raise EruvError(f"rotation ({rotation}) must be a multiple of 90 degrees")
    if tiles is not None and crop % 2:
        raise EruvError(f"crop ({crop}) must be even to be cut into quarters")
    if isinstance(tiles, Sequence) and (len(tiles) != 4 or not set(tiles) <= {0, 1, 2, 3}):
        raise EruvError(f"tiles ({list(tiles)}) must be four of the quarters 0 to 3")
    if isinstance(color, Sequence) and (len(color) != 12 or not np.isfinite(color).all()):
        raise EruvError(f"color ({list(color)}) must have 12 finite numbers")
    if index is not None and not sequence:
        raise EruvError("index is for sequences of frames; single frames take none")

    if device == "gpu" and frames.device != "gpu":
        frames = frames.gpu()
    frames = fn.reshape(frames, layout="FHWC" if sequence else "HWC")  # names the axes; moves nothing
    if builtin or not load_operator(device):
        return _builtin_graph(frames, index, crop_pos, rotation, flip, tiles, color, crop, dtype, mean, std, layout,
                              sequence)
    given = {name: value for name, value in (("index", index), ("tiles", tiles), ("color", color)) if value is not None}
    return fn.eruv.clip_transform(
        frames, crop_pos=crop_pos, rotation=rotation, flip=flip if isinstance(flip, DataNode) else int(flip), crop=crop,
        dtype=dtype, mean=list(mean), std=list(std), layout=layout, **given,
    )


def _builtin_graph(
    frames, index, crop_pos, rotation, flip, tiles, color, crop, dtype, mean, std, layout, sequence
) -> DataNode:
    """The same clip from DALI's built-in operators."""
    height_axis = 1 if sequence else 0
    if index is not None:
        frames = fn.sequence_rearrange(frames, new_order=index)
    if not isinstance(crop_pos, DataNode):
        crop_pos = types.Constant(list(crop_pos), dtype=types.INT32, shape=[2], device="cpu")

    square = {}
    changed = flip is not False or tiles is not None or color is not None
    if changed or isinstance(rotation, DataNode) or rotation % 360:
        if isinstance(rotation, DataNode):
            rotation = fn.reshape(rotation, shape=[1])
            rotation = fn.reshape(_refuse(rotation, rotation // 90 * 90 != rotation, 1), shape=[])
            rotation = fn.cast(rotation, dtype=types.FLOAT)
        frames = fn.slice(frames, start=crop_pos, shape=[crop, crop], axes=[height_axis, height_axis + 1])
        if flip is not False:
            frames = fn.flip(frames, horizontal=flip if isinstance(flip, DataNode) else int(flip))
        if tiles is not None:
            frames = _builtin_tiles(frames, tiles, crop // 2, height_axis)
        # A quarter turn of a square maps pixel centres to pixel centres: nearest neighbour is exact.
        frames = fn.rotate(frames, angle=rotation, interp_type=types.INTERP_NN, keep_size=True)
        if color is not None:
            frames = _builtin_color(frames, color)
    else:  # one pass crops and normalises; its crop position is a fraction of the frame size minus the crop size
        room = frames.shape(dtype=types.INT32)[height_axis : height_axis + 2] - crop
        crop_pos = _refuse(crop_pos, (crop_pos < 0) | (crop_pos > room), 2)
        share = fn.cast(crop_pos, dtype=types.FLOAT) / math.max(room, 1)
        square = {"crop": (crop, crop), "crop_pos_y": share[0], "crop_pos_x": share[1]}
    clip = fn.crop_mirror_normalize(
        frames, dtype=DALI_DTYPES[dtype], mean=[255 * m for m in mean], std=[255 * s for s in std],
        output_layout=layout.replace("T", "F"), **square,
    )
    if dtype != "bfloat16":
        return clip
    bits = fn.reinterpret(clip, dtype=types.UINT32)
    rounded = (bits + 0x7FFF + (bits // 0x10000 & 1)) // 0x10000
    return fn.reinterpret(fn.cast(rounded, dtype=types.UINT16), dtype=types.INT16, layout=layout.replace("T", "F"))


def _builtin_tiles(frames: DataNode, tiles: DataNode | Sequence[int], half: int, height_axis: int) -> DataNode:
    """The quarters of squares, `half` pixels wide, permuted."""
    if not isinstance(tiles, DataNode):
        tiles = types.Constant(list(tiles), dtype=types.INT32, shape=[4], device="cpu")
    tiles = _refuse(tiles, (tiles < 0) | (tiles > 3), 4)
    shown = []
    for quarter in range(4):
        start = fn.stack(tiles[quarter] // 2 * half, tiles[quarter] % 2 * half)
        shown.append(fn.slice(frames, start=start, shape=[half, half], axes=[height_axis, height_axis + 1]))
    rows = [fn.cat(*shown[row : row + 2], axis=height_axis + 1) for row in (0, 2)]
    return fn.cat(*rows, axis=height_axis)


def _builtin_color(frames: DataNode, color: DataNode | Sequence[float]) -> DataNode:
    """Colours changed by a matrix on the scale of 0 to 1, on the scale of 0 to 255."""
    if not isinstance(color, DataNode):
        color = types.Constant(list(color), dtype=types.FLOAT, shape=[12], device="cpu")
    matrix = fn.reshape(color, shape=[3, 4])
    colored = fn.coord_transform(frames, M=matrix[:, :3], T=matrix[:, 3] * 255, dtype=types.FLOAT)
    return math.clamp(colored, 0.0, 255.0)


def _refuse(value: DataNode, wrong: DataNode, count: int) -> DataNode:
    """`value`, a vector of `count` integers; if they are `wrong`, the run fails with an error that names them.

    DALI has no assertion. A slice that starts out of bounds is an error that names its start, so this takes a slice
    that starts at 0 where the value is right and at the value itself where it is wrong.
    """
    nought = fn.reshape(value[0] * 0, shape=[1] * count)
    nought = fn.slice(nought, start=value * wrong, shape=[1] * count, axes=list(range(count)))
    return value + fn.reshape(nought, shape=[1])[0]


@functools.cache
def load_operator(device: str) -> bool:
    """Compile (once, into the cache) and load `fn.eruv.clip_transform` for "cpu" or "gpu"; False if that is impossible.

    The CPU half needs g++ and CUDA's headers, the GPU half nvcc as well. The reason for a False is logged once.
    """
    if device not in ("cpu", "gpu"):
        raise EruvError(f"device ({device}) must be cpu or gpu")
    if device == "gpu" and not load_operator("cpu"):  # the CPU library holds the operator's schema
        return False
    try:
        plugin_manager.load_library(str(_build_cpu() if device == "cpu" else _build_gpu()))
    except (native.NoCompiler, RuntimeError) as error:
        native.say_once(f"clip_transform uses DALI's built-in operators on the {device}, which are slower: {error}")
        return False
    return True


def _build_cpu() -> Path:
    gxx = native.find_compiler("g++")
    flags = ["-O3", "-march=native", "-fPIC", "-shared", *(f"-I{folder}" for folder in _cuda_headers())]
    return _build("clip_transform_cpu", [gxx, *flags], "clip_transform.cc")


def _build_gpu() -> Path:
    nvcc = native.find_compiler("nvcc")
    known = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True).stdout.split()
    architectures = [number for number in CUDA_ARCHITECTURES if f"compute_{number}" in known]
    if not architectures:
        raise native.NoCompiler(f"{nvcc} compiles for none of {CUDA_ARCHITECTURES}")
    _check_driver(nvcc)
    flags = ["-O3", "--threads=0", "-Xcompiler", "-fPIC", "-shared", "-ccbin", native.find_compiler("g++")]
    flags += [f"-gencode=arch=compute_{number},code=sm_{number}" for number in architectures]
    flags += [f"-gencode=arch=compute_{architectures[-1]},code=compute_{architectures[-1]}"]
    return _build("clip_transform_gpu", [nvcc, *flags], "clip_transform.cu")


def _build(name: str, compiler: list[str], source: str) -> Path:
    kernels = native.kernels_dir()
    # No source reads this macro: it puts DALI's version, with which its C++ interface changes, into the cache key.
    command = [*compiler, "-std=c++20", f"-DERUV_DALI_VERSION={dali.__version__}", *sysconfig.get_compile_flags()]
    command += [str(kernels / source), "-o", "{out}", *sysconfig.get_link_flags()]
    return native.build_library(name, [command], [kernels / source, *sorted(kernels.glob("clip_transform*.h"))])


def _check_driver(nvcc: str) -> None:
    """Code from nvcc 13 does not run on a CUDA 12 driver: find out now, not when the pipeline dies."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return  # no driver at all: nothing will run, but compiling is still possible
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    release = re.search(r"release (\d+)", subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout)
    if release and int(release[1]) > version.value // 1000:
        raise native.NoCompiler(f"{nvcc} is CUDA {release[1]}, but the driver is CUDA {version.value // 1000}")


def _cuda_headers() -> list[Path]:
    """Include folders of CUDA's headers, which DALI's headers include: the toolkit's or NVIDIA's Python wheels'."""
    toolkits = [Path(os.environ[name]) / "include" for name in ("CUDA_PATH", "CUDA_HOME") if name in os.environ]
    try:
        told = subprocess.run([native.find_compiler("nvcc"), "--dryrun", "-x", "cu", os.devnull], capture_output=True)
        toolkits += [Path(found) for found in re.findall(r'INCLUDES="-I([^"]+)"', told.stderr.decode())]
    except native.NoCompiler:
        pass  # the CPU half needs no nvcc
    for folder in [*toolkits, Path("/usr/local/cuda/include")]:
        if (folder / "crt" / "host_defines.h").exists() and (folder / "cuda_runtime.h").exists():
            return [folder]

    nvidia = importlib.util.find_spec("nvidia")
    roots = (nvidia.submodule_search_locations if nvidia else None) or []
    wheels = [folder for root in roots for folder in sorted(Path(root).glob("*/include"))]
    wheels += [folder / "cccl" for folder in wheels]
    folders = []
    for header, wheel in CUDA_HEADER_WHEELS.items():
        found = next((folder for folder in wheels if (folder / header).exists()), None)
        if found is None:
            raise native.NoCompiler(f"CUDA header {header} not found; install the CUDA toolkit, or pip install {wheel}")
        folders.append(found)
    return folders
