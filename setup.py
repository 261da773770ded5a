"""Everything static is in setup.cfg. Here: the DALI and CuPy wheels for which CUDA version to require.

Installing both CUDA 12 and CUDA 13 DALI wheels breaks both, so exactly one pair is required: CUDA 12 unless
ERUV_CUDA=13 is set at install time. NVRTC and the CUDA headers come from PyPI too, so that kernels compile on a machine
that has only the NVIDIA driver, or no GPU at all.
"""

import configparser
import os

from setuptools import setup

# NVRTC compiles CuPy's kernels; it needs the headers, and so do DALI's headers, against which our operator is compiled.
GPU_WHEELS = {
    "12": [
        "nvidia-dali-cuda120>=2.0,<3",
        "cupy-cuda12x>=14,<15",
        "nvidia-cuda-nvrtc-cu12>=12,<13",
        "nvidia-cuda-runtime-cu12>=12,<13",
        "nvidia-cuda-nvcc-cu12>=12,<13",
        "nvidia-cuda-cccl-cu12>=12,<13",
    ],
    "13": [
        "nvidia-dali-cuda130>=2.0,<3",
        "cupy-cuda13x>=14,<15",
        "nvidia-cuda-nvrtc>=13,<14",
        "nvidia-cuda-runtime>=13,<14",
        "nvidia-cuda-crt>=13,<14",
        "nvidia-cuda-cccl>=13,<14",
    ],
}

cuda = os.environ.get("ERUV_CUDA", "12")
if cuda not in GPU_WHEELS:
    raise SystemExit(f"ERUV_CUDA={cuda!r} is not a CUDA version that eruv_dali supports; set it to 12 or 13")

static = configparser.ConfigParser()
static.read("setup.cfg")
setup(install_requires=static["options"]["install_requires"].split() + GPU_WHEELS[cuda])
