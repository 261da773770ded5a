"""The machine: what is installed, which device will do the work, and what makes it slow."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterator

from eruv_dali import native
from eruv_dali.doctor.finding import GOOD, PROBLEM, REMARK, Finding

PYTHON = ((3, 10), (3, 14))  # first supported, first unsupported


def check_environment() -> Iterator[Finding]:
    """Findings on Python, PyTorch, GPU, DALI, CuPy, PyAV, compilers, the kernels they build, NVDEC, disk and memory."""
    version = sys.version_info[:3]
    fits = PYTHON[0] <= version[:2] < PYTHON[1]
    yield Finding("python", GOOD if fits else PROBLEM, ".".join(map(str, version)) + (
        "" if fits else f": eruv_dali needs {'.'.join(map(str, PYTHON[0]))} or later, below "
        f"{'.'.join(map(str, PYTHON[1]))}"))
    for name, check in (("torch", _torch), ("gpu", _gpu), ("dali", _dali), ("cupy", _cupy), ("av", _av),
                        ("g++", _host_compiler), ("nvcc", _nvcc), ("nvdec", _nvdec), ("machine", _machine)):
        yield _guarded(name, check)


def _guarded(name: str, check: Callable[[], tuple[str, str]]) -> Finding:
    """Run a check; an unexpected exception in it becomes a finding."""
    try:
        return Finding(name, *check())
    except Exception as error:
        message = str(error).strip().splitlines()
        return Finding(name, PROBLEM, f"{type(error).__name__}: {message[0] if message else 'no message'}")


def _torch() -> tuple[str, str]:
    import torch

    return GOOD, f"{torch.__version__}, built for {'CUDA ' + torch.version.cuda if torch.version.cuda else 'the CPU'}"


def _gpu() -> tuple[str, str]:
    import torch

    from eruv_dali.device import gpu_problem

    if problem := gpu_problem():
        return REMARK, f"{problem}: everything runs on the CPU, slowly"
    names = [f"{torch.cuda.get_device_name(n)}, {torch.cuda.mem_get_info(n)[1] / 1e9:.0f} GB"
             for n in range(torch.cuda.device_count())]
    return GOOD, "; ".join(names)


def _dali() -> tuple[str, str]:
    wheels = sorted({name.lower() for dist in importlib.metadata.distributions()
                     if (name := dist.metadata["Name"] or "").lower().startswith("nvidia-dali-cuda")})
    if len(wheels) > 1:
        return PROBLEM, f"{' and '.join(wheels)} break each other: pip uninstall both, then install one"
    from nvidia import dali

    return GOOD, f"{dali.__version__} ({wheels[0] if wheels else 'not from a wheel'})"


def _cupy() -> tuple[str, str]:
    import cupy

    from eruv_dali.device import gpu_problem

    if gpu_problem():
        return GOOD, f"{cupy.__version__} (not used without a GPU)"
    cupy.arange(3).sum()
    return GOOD, f"{cupy.__version__}"


def _av() -> tuple[str, str]:
    import av

    return GOOD, f"{av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"


def _host_compiler() -> tuple[str, str]:
    from eruv_dali.loader.clip_transform import load_operator
    from eruv_dali.shots import hog_host

    try:
        compiler = native.find_compiler("g++")
    except native.NoCompiler as error:
        return REMARK, f"{error}: shots are found in NumPy, some 20 times slower; clips use DALI's built-in operators"
    slow = ([] if hog_host.available() else ["HOG"]) + ([] if load_operator("cpu") else ["clip_transform"])
    if slow:
        return REMARK, f"{compiler}: {' and '.join(slow)} cannot be built (reason above); slower without"
    return GOOD, f"{compiler}: HOG and clip_transform are built, in {native.cache_dir()}"


def _nvcc() -> tuple[str, str]:
    from eruv_dali.device import gpu_problem
    from eruv_dali.loader.clip_transform import load_operator

    if gpu_problem():
        return GOOD, "not needed without a GPU"
    try:
        compiler = native.find_compiler("nvcc")
    except native.NoCompiler as error:
        return REMARK, f"{error}: clips use DALI's built-in operators, which are slower"
    if not load_operator("gpu"):
        return REMARK, f"{compiler}: clip_transform cannot be built (reason above); DALI's built-in operators are used"
    return GOOD, f"{compiler}: clip_transform is built"


def _nvdec() -> tuple[str, str]:
    from eruv_dali.device import gpu_problem
    from eruv_dali.video.decoder_choice import capabilities

    if gpu_problem():
        return GOOD, "not needed without a GPU: PyAV decodes"
    found = capabilities("gpu")
    if found.problem:
        return REMARK, found.problem
    return GOOD, "; ".join(
        f"{codec} of {bits} bits, {limits.min_width}x{limits.min_height} to {limits.max_width}x{limits.max_height}"
        for (codec, bits), limits in found.limits.items())


def _machine() -> tuple[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    free = shutil.disk_usage(".").free / 1e9
    return GOOD, f"{cores} cores, {memory:.0f} GB of memory, {free:.0f} GB free on the disk of this folder"
