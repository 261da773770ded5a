"""Compile the sources in kernels/ on the user's machine, once, into a cache.

The same `.cu` files serve both devices: CuPy compiles them for the GPU (`eruv_dali.shots.hog`), g++ compiles them for
the host here, and the DALI operator uses g++ for its CPU half and nvcc for its CUDA half. A cached binary is keyed by
everything that decides whether it is still valid: sources, flags, compiler version and processor.
"""

import fcntl
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)


class NoCompiler(Exception):
    """No compiler on this machine, or it could not build the source. The message says which and why, in one line."""


def kernels_dir() -> Path:
    """The folder of kernel sources: inside the installed package, or next to it in a checkout."""
    return data_dir("kernels")


def data_dir(name: str) -> Path:
    """Folder `name` ("kernels", "configs"): packaged inside an installed wheel, at the root of a checkout."""
    package = Path(__file__).parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name


def cache_dir() -> Path:
    """Where compiled kernels are kept: $ERUV_CACHE, or eruv_dali under $XDG_CACHE_HOME (~/.cache)."""
    if "ERUV_CACHE" in os.environ:
        return Path(os.environ["ERUV_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "eruv_dali"


def find_compiler(name: str) -> str:
    """Path of compiler `name` ("g++" or "nvcc"); $CXX and $NVCC override. Raises NoCompiler if there is none."""
    override = os.environ.get({"g++": "CXX", "nvcc": "NVCC"}[name])
    wanted = override or name
    found = shutil.which(wanted)
    if found is None and name == "nvcc" and not override:
        found = shutil.which("/usr/local/cuda/bin/nvcc")
    if found is None:
        raise NoCompiler(f"{wanted} not found")
    return found


def build_library(name: str, commands: Sequence[Sequence[str]], sources: Sequence[Path]) -> Path:
    """Compile a shared library into the cache, unless it is already there, and return its path.

    Args:
        name: stem of the library's file name.
        commands: compiler command lines, run in order in an empty folder; "{out}" in an argument of the last one stands
            for the library to write.
        sources: files whose content decides whether a cached library is still valid (headers too).

    Raises:
        NoCompiler: a command failed; the message contains the compiler's first error line.
    """
    key = hashlib.sha256()
    for source in sources:
        key.update(source.read_bytes())
    for command in commands:
        key.update(repr([_compiler_version(command[0]), *command[1:]]).encode())
    key.update(_processor().encode())
    folder = cache_dir()
    library = folder / f"{name}-{key.hexdigest()[:16]}.so"
    if library.exists():
        return library

    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes starting together build it once
        if library.exists():
            return library
        scratch = folder / f"{name}-{os.getpid()}.build"
        scratch.mkdir(exist_ok=True)
        try:
            for command in commands:
                filled = [part.replace("{out}", "library.so") for part in command]
                done = subprocess.run(filled, cwd=scratch, capture_output=True, text=True)
                if done.returncode:
                    lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
                    raise NoCompiler(f"{command[0]} could not build {name}: {lines[0] if lines else 'no message'}")
            os.replace(scratch / "library.so", library)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    log.info("compiled %s", library)
    return library


@functools.cache
def _compiler_version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout


@functools.cache
def _processor() -> str:
    """What -march=native depends on: different machines may share a cache folder on a network disk."""
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            flags = next((line for line in cpuinfo if line.startswith("flags")), "")
    except OSError:
        flags = ""
    return f"{platform.machine()} {flags}"


@functools.cache
def say_once(message: str) -> None:
    """Log `message` as a warning, the first time only."""
    log.warning(message)
