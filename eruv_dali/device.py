"""Which device to use ("auto": the GPU if there is one), and how many cores there are."""

import ctypes
import functools
import os
import re
from typing import Any

from eruv_dali.errors import EruvError

DEVICES = ("auto", "gpu", "cpu")
WORD = re.compile(r"auto|cpu(:0)?|gpu|cuda(:\d+)?")


def resolve_device(device: Any) -> str:
    """Turn "auto", "gpu", "cpu", or PyTorch's name for one ("cuda", "cuda:1", a torch.device), into "gpu" or "cpu".

    Raises:
        EruvError: another name, or a GPU on a machine without a usable NVIDIA GPU, or without that many.
    """
    word = str(device)
    if not WORD.fullmatch(word):
        raise EruvError(f"device {word!r} is not one of {', '.join(DEVICES)}, cuda, cuda:0, cuda:1, …")
    if word.startswith("cpu") or word == "auto" and gpu_problem():
        return "cpu"
    if problem := gpu_problem():
        raise EruvError(f"device {word!r}: {problem}; choose cpu, or auto")
    gpu_number(device)
    return "gpu"


def gpu_number(device: Any) -> int:
    """The number of the GPU in `device`; if it has none, that of PyTorch's current GPU.

    Raises:
        EruvError: this machine does not have that many.
    """
    import torch

    number = str(device).partition(":")[2]
    if not number:
        return torch.cuda.current_device()
    if int(number) >= torch.cuda.device_count():
        raise EruvError(f"device {str(device)!r}: this machine has {torch.cuda.device_count()} GPUs, counted from 0")
    return int(number)


@functools.cache
def gpu_problem() -> str | None:
    """Why no GPU can be used here, or None if one can."""
    if not _has_driver() or not _torch_sees_one():
        return "PyTorch sees no NVIDIA GPU on this machine"
    return None


def _has_driver() -> bool:
    """Whether NVIDIA's driver is installed. Without it PyTorch, which takes seconds to import, need not be asked."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _torch_sees_one() -> bool:
    import torch

    return torch.cuda.is_available()


def torch_device(device: Any, number: int | None = None) -> Any:
    """The torch.device for "gpu" or "cpu" or anything that `resolve_device` accepts; `number`: of the GPU, if it is not
    PyTorch's current one."""
    import torch

    if resolve_device(device) == "cpu":
        return torch.device("cpu")
    return torch.device("cuda") if number is None else torch.device("cuda", number)


def cores() -> int:
    """Cores that this process may use; fewer than the machine has if an affinity mask limits them."""
    return len(os.sched_getaffinity(0))
