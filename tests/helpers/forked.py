"""Processes that start in no time: each is forked from one that has imported PyTorch, DALI and the programs already.

Pid, signals, exit code, limits and environment are a process's own; what is saved are the 5 seconds of a core that
starting Python and importing takes each time. It ends without Python's clearing up: where that is the point, or the
command line, start Python itself (running.py).
"""

import multiprocessing
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from eruv_dali.errors import run_program

WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload(["eruv_dali.pretrain.__main__", "eruv_dali.finetune.__main__", "numbered", "pytest",
                              "torch._dynamo"])  # which the first optimiser imports


class Forked:
    """`work(*arguments)` in a process of its own, its output in files of `folder`.

    Args:
        file_bytes: so many bytes may a file that it writes have; more is refused, as by a full disk.
        environment: variables besides those of this process.
    """

    def __init__(self, folder: Path, work: Callable, *arguments: object, file_bytes: int | None = None,
                 **environment: object) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        variables = {**os.environ, **{name: str(value) for name, value in environment.items()}}
        self._process = WARM.Process(target=_begin, args=(folder, variables, file_bytes, work, arguments))
        self._process.start()
        self.pid = self._process.pid

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    @property
    def stderr(self) -> str:
        """What it said so far."""
        return (self.folder / "stderr").read_text()

    def ended(self, timeout: float = 120) -> int:
        """Its exit code, when it has ended; -9 if by signal 9. It is killed if that takes too long."""
        self._process.join(timeout)
        if self.running:
            self.kill()
            raise AssertionError(f"not ended after {timeout} s: {self.stderr}")
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def program(main: Callable[[], None], *words: object) -> None:
    """Work for a process: one of our programs, as with these words on its command line."""
    sys.argv = ["program", *map(str, words)]
    run_program(main)


def ranks(folder: Path, count: int, work: Callable, *arguments: object) -> list[Forked]:
    """The same work in `count` processes that know of one another as those of torchrun do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [Forked(folder / f"rank{rank}", work, *arguments, RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=count,
                   LOCAL_WORLD_SIZE=count, MASTER_ADDR="127.0.0.1", MASTER_PORT=port, TORCHELASTIC_RUN_ID="tests",
                   TORCHELASTIC_RESTART_COUNT=0) for rank in range(count)]


def all_ended(processes: list[Forked]) -> None:
    """Wait for all; each must have ended well."""
    codes = [process.ended() for process in processes]
    assert codes == [0] * len(codes), "\n".join(process.stderr for process in processes)


def _begin(folder: Path, variables: dict[str, str], file_bytes: int | None, work: Callable, arguments: tuple) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        with open(folder / name, "wb") as file:
            os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(variables)
    if file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    work(*arguments)
