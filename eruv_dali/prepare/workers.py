"""Worker processes that a bad item cannot stop: if one hangs or dies, only the item it was working on is lost.

Video decoders are C libraries: neither an exception nor a signal handler can interrupt one that hangs, so the only
reliable time limit is to end its process from outside. A worker is a fresh interpreter (a forked child of a process
with threads, such as DALI's and PyTorch's, may hang by itself) and dies with the process that started it, however that
process ends. Time during which this process itself was stopped (Ctrl-Z and `fg`) does not count against a worker.

    tasks = deque(videos)
    with Workers(functools.partial(Scanner, out), count=4, patience=120) as workers:
        for event in workers.run(tasks):      # Progress, Done or Lost; tasks may be appended meanwhile
            ...
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Protocol

from eruv_dali.errors import EruvError

START_PATIENCE = 300  # seconds for a worker to import its modules, and on a GPU to initialise the device
LOOK_EVERY = 1.0  # seconds; how often to check whether this process itself was stopped


@dataclass(frozen=True)
class Progress:
    """A worker reported how far it is with a task."""

    task: Any
    value: Any


@dataclass(frozen=True)
class Done:
    """A task's result."""

    task: Any
    result: Any


@dataclass(frozen=True)
class Lost:
    """The worker of this task was quiet for too long and was killed here (hung), or its process ended.

    `exit_code` is that of the process, as subprocess gives it (-9: ended by signal 9); None if it hung. `why`: who
    ended it, and for what reason, where that is known.
    """

    task: Any
    hung: bool
    exit_code: int | None
    why: str = ""


class Pool(Protocol):
    """What works on tasks: `Workers` on this machine, or others like it."""

    def __enter__(self) -> "Pool": ...

    def __exit__(self, *error: object) -> None: ...

    def run(self, tasks: deque) -> Iterator[Progress | Done | Lost]: ...


class Workers:
    """`count` processes, each with its own `work = make()`, called as `work(task, tell)`; `tell(x)` yields a Progress.

    Args:
        make: picklable; makes the function (closed at the end with `work.close()`). Tasks and results are pickled too.
        patience: seconds without a message (Progress or Done) after which the worker of a task is killed.
    """

    def __init__(self, make: Callable[[], Callable], *, count: int, patience: float) -> None:
        self._make, self._count, self._patience = make, count, patience
        self._workers: list[_Worker] = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.end(kill=worker.task is not None)
        self._workers.clear()

    def run(self, tasks: deque) -> Iterator[Progress | Done | Lost]:
        """Work on the tasks until none is left. An exception in a task is raised here."""
        look_every = min(LOOK_EVERY, self._patience / 4)
        looked = time.monotonic()
        while True:
            idle = [worker for worker in self._workers if worker.task is None]
            while tasks and (idle or len(self._workers) < self._count):
                if not idle:
                    idle.append(_Worker(self._make))
                    self._workers.append(idle[-1])
                idle.pop().give(tasks.popleft(), self._patience)
            busy: dict[Any, _Worker] = {
                worker.connection: worker for worker in self._workers if worker.task is not None}
            if not busy:
                return
            soonest = min(worker.deadline for worker in busy.values())
            wait = min(look_every, max(0.0, soonest - time.monotonic()))
            for ready in connection.wait(list(busy), timeout=wait):
                yield from self._heard(busy[ready])
            before, looked = looked, time.monotonic()
            if looked - before > 2 * look_every:
                # This process was stopped, usually with its whole process group: the workers had no more time than it.
                for worker in busy.values():
                    worker.renew(self._patience)
            for worker in busy.values():
                late = worker in self._workers and worker.task is not None and worker.deadline <= looked
                if late and not worker.connection.poll():
                    yield self._lose(worker, hung=True)

    def _heard(self, worker: "_Worker") -> Iterator[Progress | Done | Lost]:
        try:
            kind, value = worker.connection.recv()
        except (EOFError, OSError):
            yield self._lose(worker, hung=False)
            return
        worker.awake = True
        worker.renew(self._patience)
        task = worker.task
        if kind == "told":
            yield Progress(task, value)
        elif kind == "done":
            worker.task = None
            yield Done(task, value)
        elif kind == "raised":
            worker.task = None
            raise value

    def _lose(self, worker: "_Worker", *, hung: bool) -> Lost:
        self._workers.remove(worker)
        worker.end(kill=hung)  # if it closed its side, it is ending by itself: keep its own exit code
        if not worker.awake:
            raise EruvError(f"a worker process did not start (exit code {worker.process.returncode}; its message, if "
                            "any, is above)")
        return Lost(worker.task, hung, None if hung else worker.process.returncode)


class _Worker:
    def __init__(self, make: Callable[[], Callable]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from eruv_dali.prepare import workers; workers.serve()", str(theirs.fileno()),
                 str(os.getpid())],
                pass_fds=[theirs.fileno()], env={**os.environ, "PYTHONPATH": paths}, stdin=subprocess.DEVNULL,
            )
        self.connection = connection.Connection(ours.detach())
        self.awake = False
        self.task, self.deadline = None, 0.0
        self._send(make)

    def give(self, task: Any, patience: float) -> None:
        self.task = task
        self.renew(patience)
        self._send(task)

    def renew(self, patience: float) -> None:
        """Restart its time limit."""
        self.deadline = time.monotonic() + (patience if self.awake else max(patience, START_PATIENCE))

    def _send(self, item: Any) -> None:
        with contextlib.suppress(OSError):  # it has died, which is noticed when its answers are read
            self.connection.send(item)

    def end(self, *, kill: bool) -> None:
        """End the process: at once, or after it has cleaned up."""
        if kill:
            self.process.kill()
        self.connection.close()  # an idle worker ends when it reads this
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def serve() -> None:
    """A worker's main loop: read `make`, then work on tasks until the other side closes.

    Its arguments, in sys.argv, are the descriptor of its end of the connection and the number of its parent process.
    """
    descriptor, parent = map(int, sys.argv[1:])
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    pipe = connection.Connection(descriptor)
    try:
        work = pipe.recv()()
        pipe.send(("awake", None))
        while True:
            try:
                task = pipe.recv()
            except EOFError:
                break
            try:
                answer = "done", work(task, lambda value: pipe.send(("told", value)))
            except Exception as error:
                answer = "raised", _portable(error)
            pipe.send(answer)
        work.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the parent no longer needs the answer


def _portable(error: Exception) -> Exception:
    """The exception in a form that can be sent to the parent."""
    if isinstance(error, EruvError):
        return error
    return RuntimeError("in a worker process:\n" + "".join(traceback.format_exception(error)))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, even by SIGKILL and even inside a decoder."""
    PR_SET_PDEATHSIG = 1
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)

