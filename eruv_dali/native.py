"""Compile the sources in kernels/ on the user's machine, once, into a cache.

The same `.cu` files serve both devices: CuPy compiles them for the GPU (`eruv_dali.shots.hog`), g++ compiles them for
the host here, and the DALI operator uses g++ for its CPU half and nvcc for its CUDA half. A cached binary is keyed by
everything that decides whether it is still valid: sources, flags, compiler version and processor. It is code that runs
with the user's rights, so the folder and its files must be the user's own or the administrator's, and nobody else may
write them; and it ends in a checksum, because loading a library that is cut short kills the process.
"""

import contextlib
import ctypes
import errno
import fcntl
import functools
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

MARK = b"eruv_dali sha256"  # before a library's checksum; loaders of libraries do not read what follows the library


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


def usable_cache() -> Path:
    """The cache folder, made if it is not there; if it cannot be written or is not safe, one for this user under the
    system's temporary folder, with a warning.

    Raises:
        NoCompiler: that one cannot be used either.
    """
    try:
        folder = cache_dir()
        _claim(folder)
        return folder
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        reason = f"{getattr(error, 'filename', None) or 'no home'}: {getattr(error, 'strerror', None) or error}"
    folder = Path(tempfile.gettempdir()) / f"eruv_dali-{os.getuid()}"
    try:
        _claim(folder)
    except OSError as error:
        raise NoCompiler(f"no folder for compiled kernels ({reason}; {folder}: {error.strerror}); set ERUV_CACHE to a "
                         "folder of yours") from None
    say_once(f"compiled kernels are kept in {folder} ({reason}); set ERUV_CACHE to choose another folder")
    return folder


def _claim(folder: Path) -> None:
    """Make a cache folder, or close an own one to others. Raises OSError if it cannot be written or others own it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat() if folder.parent == Path(tempfile.gettempdir()) else folder.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.ENOTDIR, "it is not a folder", str(folder))
    if status.st_uid == os.getuid():
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            folder.chmod(stat.S_IMODE(status.st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
    elif status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise OSError(errno.EPERM, "others can write it", str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, "it cannot be written", str(folder))


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


def load_cpp(name: str, *included: str) -> ctypes.CDLL:
    """kernels/NAME.cc, which includes the files `included` of that folder, compiled for this processor and loaded.

    Raises:
        NoCompiler: it cannot be built, or not be loaded.
    """
    source, *others = (kernels_dir() / file for file in (f"{name}.cc", *included))
    command = [find_compiler("g++"), "-O3", "-march=native", "-std=c++20", "-shared", "-fPIC", str(source)]
    return load_library(name, [[*command, "-o", "{out}"]], [source, *others])


def load_library(name: str, commands: Sequence[Sequence[str]], sources: Sequence[Path]) -> ctypes.CDLL:
    """`build_library`, loaded.

    Raises:
        NoCompiler: it cannot be built, or not be loaded.
    """
    path = build_library(name, commands, sources)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:  # such as a folder whose file system forbids running programs
        raise NoCompiler(f"{path} cannot be loaded ({error})") from None


def build_library(name: str, commands: Sequence[Sequence[str]], sources: Sequence[Path]) -> Path:
    """Compile a shared library into the cache, unless it is already there intact, and return its path.

    Args:
        name: stem of the library's file name.
        commands: compiler command lines, run in order in an empty folder; "{out}" in an argument of the last one stands
            for the library to write.
        sources: files whose content decides whether a cached library is still valid (headers too).

    Raises:
        NoCompiler: a command failed; the message contains the compiler's first error line. Or there is no folder that
            can be written.
    """
    key = hashlib.sha256()
    for source in sources:
        key.update(source.read_bytes())
    for command in commands:
        key.update(repr([_compiler_version(command[0]), *command[1:]]).encode())
    key.update(_processor().encode())
    file = f"{name}-{key.hexdigest()[:16]}.so"
    with contextlib.suppress(RuntimeError):  # the user has no home
        if _intact(cache_dir() / file):  # perhaps in a folder that only the administrator may write
            return cache_dir() / file
    folder = usable_cache()
    library = folder / file
    if _intact(library):
        return library
    try:
        _build(name, commands, library)
    except OSError as error:
        raise NoCompiler(f"{library}: cannot be written ({error.strerror})") from None
    log.info("compiled %s", library)
    return library


def _build(name: str, commands: Sequence[Sequence[str]], library: Path) -> None:
    with _locked(library.parent / f"{name}.lock"):  # two processes starting together build it once
        if _intact(library):
            return
        scratch = Path(tempfile.mkdtemp(prefix=f"{name}-", suffix=".build", dir=library.parent))
        try:
            for command in commands:
                filled = [part.replace("{out}", "library.so") for part in command]
                done = subprocess.run(filled, cwd=scratch, capture_output=True, text=True)
                if done.returncode:
                    lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
                    raise NoCompiler(f"{command[0]} could not build {name}: {lines[0] if lines else 'no message'}")
            built = scratch / "library.so"
            with open(built, "r+b") as opened:
                code = opened.read()
                opened.write(MARK + hashlib.sha256(code).digest())
                opened.flush()
                os.fsync(opened.fileno())
            built.chmod(0o700)
            os.replace(built, library)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold a lock; a link in its place is not followed, and nothing is written."""
    if file.is_symlink():
        file.unlink()
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _intact(library: Path) -> bool:
    """Whether a library is there as it was built, and only this user or the administrator can have written it."""
    try:
        descriptor = os.open(library, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    with open(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        if (not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.getuid())
                or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            return False
        content = opened.read()
    code, checksum = content[:-32], content[-32:]
    return code.endswith(MARK) and hashlib.sha256(code[: -len(MARK)]).digest() == checksum


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
