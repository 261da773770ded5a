"""What a GPU machine is: nvidia-smi first, then the driver's libraries, versions and PyTorch's TF32 state.

    python benchmarks/machine.py --json FILE

Each line is printed as soon as it is known, so that a run that is cut off still says something.
"""

import argparse
import ctypes
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path

LIBRARIES = ("libcuda.so.1", "libnvcuvid.so.1", "libnvjpeg.so.13", "libnvjpeg.so.12")
PACKAGES = ("torch", "nvidia-dali-cuda130", "nvidia-dali-cuda120", "nvidia-nvimgcodec-cu13", "nvidia-nvimgcodec-cu12",
            "nvidia-nvjpeg", "nvidia-nvjpeg-cu12", "cupy-cuda13x", "cupy-cuda12x", "av", "numpy", "nvidia-ml-py",
            "pytest")
ASKED = "name,driver_version,memory.total,clocks.sm,clocks.mem,clocks.max.sm,power.limit,pstate"
SMI = ("nvidia-smi", f"--query-gpu={ASKED}", "--format=csv")


def output(*command: str) -> str:
    """What a program prints, or why it did not."""
    if not shutil.which(command[0]):
        return f"{command[0]} is not here"
    done = subprocess.run(command, capture_output=True, text=True, timeout=15)
    return (done.stdout or done.stderr).strip()


def libraries() -> dict[str, str]:
    """Which of the driver's and decoders' libraries can be loaded, or why not."""
    found = {}
    for name in LIBRARIES:
        try:
            ctypes.CDLL(name)
            found[name] = "loads"
        except OSError as error:
            found[name] = str(error)
    return found


def system() -> dict:
    return {"python": platform.python_version(), "kernel": platform.release(), "cores": len(os.sched_getaffinity(0)),
            "nvcc": output("nvcc", "--version").splitlines()[-1]}


def packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def pytorch() -> dict:
    import torch

    found = {"version": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
             "tf32_matmul": torch.backends.cuda.matmul.allow_tf32, "tf32_cudnn": torch.backends.cudnn.allow_tf32}
    if torch.cuda.is_available():
        found |= {"gpu": torch.cuda.get_device_name(), "capability": torch.cuda.get_device_capability()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="write what was found to this file")
    args = parser.parse_args()
    found: dict = {}
    for name, look in (("nvidia-smi", lambda: output(*SMI)), ("libraries", libraries),
                       ("machine", system),
                       ("packages", packages), ("pytorch", pytorch),
                       ("eruv_dali", lambda: importlib.import_module("eruv_dali").__file__)):
        found[name] = look()
        print(f"{name}: {found[name]}", flush=True)
        if args.json:
            Path(args.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
