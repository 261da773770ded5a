"""Which device the work is done on: "auto" takes the GPU where there is one."""

import functools

from eruv_dali.errors import EruvError

DEVICES = ("auto", "gpu", "cpu")


def resolve_device(device: str) -> str:
    """Turn "auto", "gpu" or "cpu" into "gpu" or "cpu".

    Raises:
        EruvError: another word, or "gpu" on a machine without a usable NVIDIA GPU.
    """
    if device not in DEVICES:
        raise EruvError(f"device {device!r} is not one of {', '.join(DEVICES)}")
    if device == "auto":
        return "gpu" if gpu_problem() is None else "cpu"
    if device == "gpu" and (problem := gpu_problem()):
        raise EruvError(f"device 'gpu': {problem}; use --device cpu, or auto")
    return device


@functools.cache
def gpu_problem() -> str | None:
    """Why no GPU can be used here, or None when one can."""
    import torch

    if not torch.cuda.is_available():
        return "PyTorch sees no NVIDIA GPU on this machine"
    return None
