"""Workers on a Ray cluster: the interface of `Workers`, each task on whichever node has a core free for it.

A video is one Ray task. On its node the task hands the video to a `Workers` of one process, which stays from task to
task: a decoder that hangs or crashes is noticed there, as on one machine, and answered with the same events. They are
all that passes through Ray, some hundred bytes each; frames go from that process into the DATASET, which lies on a file
system that all nodes share. Ray itself repeats nothing: a task whose Ray worker died, or was ended by Ray because its
node was out of memory, is a killed worker to those who count (`scan_all`). Only if its node is gone, which says nothing
about the video, is it handed out again here, a few times.

    with connected("auto"), RayWorkers(functools.partial(Scanner, out), count=None, patience=120) as workers:
        for event in workers.run(tasks):      # Progress, Done or Lost
            ...
"""

import contextlib
import logging
import os
import pickle
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

from eruv_dali.device import cores
from eruv_dali.errors import EruvError
from eruv_dali.prepare.workers import Done, Lost, Progress, Workers

AHEAD = 2  # tasks in flight for each core: none waits for its next one, and an autoscaler sees that there is more
NVDEC = "NVDEC"  # a resource that nodes may offer: `ray start --resources '{"NVDEC": 7}'`, a GPU's video decoders
NODES_LOST = 3  # tasks that lose their node more often count as killed
ANSWER = 10.0  # seconds for a cluster to take a connection
TELL_EVERY = 1.0  # seconds; progress in between is not sent, but for the last before a loss


def check_cluster(address: str) -> None:
    """Make sure, in seconds, that `connected` will not wait for what cannot be.

    Raises:
        EruvError: Ray is not installed, `address` names no cluster, or nothing answers there.
    """
    if "://" in address:
        raise EruvError(f"ray {address!r}: a client outside the cluster cannot be used; run prepare on one of its "
                        "nodes, with --ray auto")
    try:
        import ray  # noqa: F401
    except ImportError:
        raise EruvError("ray: is not installed; pip install 'eruv_dali[ray]', or leave --ray out") from None
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise EruvError(f"ray {address!r} is none of auto, local and HOST:PORT")
    try:  # Ray itself would try for minutes
        socket.create_connection((host, int(port)), ANSWER).close()
    except OSError as error:
        raise EruvError(f"ray {address!r}: no Ray cluster answers there ({error.strerror or error}); start one with "
                        "`ray start`, or give --ray local") from None


@contextlib.contextmanager
def connected(address: str, workers: int | None = None) -> Iterator[None]:
    """Be connected to a Ray cluster.

    Args:
        address: "auto" for the running one, "local" for one of this machine alone, which ends with this, or HOST:PORT.
        workers: cores of a local one; by default all.

    Raises:
        EruvError: see `check_cluster`; or there is no such cluster.
    """
    check_cluster(address)
    import ray

    if ray.is_initialized():
        raise EruvError(f"ray {address!r}: this process is connected to a Ray cluster already; ray.shutdown() first")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a local cluster would report to Ray's authors
    options: dict[str, Any] = {}
    if address == "local":
        options = {"num_cpus": workers or cores(), "include_dashboard": False}
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **options)
    except Exception as error:  # what ray.init raises has no common type
        ray.shutdown()  # of what it had begun
        raise EruvError(f"ray {address!r}: no Ray cluster answers there ({_first_line(error)}); start one with `ray "
                        "start`, or give --ray local") from None
    try:
        yield
    finally:
        ray.shutdown()


class RayWorkers:
    """Works on tasks in a Ray cluster, `count` at a time; inside `connected`.

    Args:
        make, patience: as of `Workers`. Tasks have a `video`, whose file every node must see.
        count: None: AHEAD for each core of the cluster, as it grows and shrinks.
        gpu_share: of a GPU, for each task; 0 on CPUs. Where the cluster's nodes offer NVDEC, such a task takes one of
            those too.
    """

    def __init__(self, make: Callable[[], Callable], *, count: int | None, patience: float,
                 gpu_share: float = 0) -> None:
        import ray

        self._ray: Any = ray
        self._count = count
        self._made = pickle.dumps(make), patience
        self._needs = {"CPU": 1.0, "GPU": gpu_share} if gpu_share else {"CPU": 1.0}
        options: dict[str, Any] = {}
        if gpu_share and ray.cluster_resources().get(NVDEC, 0) >= 1:
            self._needs[NVDEC] = 1.0
            options = {"resources": {NVDEC: 1}}
        self._work = ray.remote(num_cpus=1, num_gpus=gpu_share, max_retries=0, num_returns="streaming", **options)(
            work_on_node)
        self._flight: dict[Any, Any] = {}  # the task of each stream of events

    def __enter__(self) -> "RayWorkers":
        return self

    def __exit__(self, *error: object) -> None:
        for stream in self._flight:
            self._ray.cancel(stream, force=True)
        self._flight.clear()

    def run(self, tasks: deque) -> Iterator[Progress | Done | Lost]:
        """Work on the tasks until none is left. An exception in a task is raised here.

        Raises:
            EruvError: a node does not see a video, or Ray cannot run tasks.
        """
        nodes_lost: Counter = Counter()
        while True:
            while tasks and len(self._flight) < self._room():
                task = tasks.popleft()
                self._flight[self._work.remote(*self._made, task, task.video.path.exists())] = task
            if not self._flight:
                return
            self._ray.wait(list(self._flight), num_returns=1, fetch_local=False)
            ready, _ = self._ray.wait(list(self._flight), num_returns=len(self._flight), timeout=0, fetch_local=False)
            for stream in ready:
                task = self._flight[stream]
                event = self._next(stream)
                if isinstance(event, Exception):
                    raise event
                if event is None:
                    nodes_lost[task] += 1
                    event = Lost(task, hung=False, exit_code=-signal.SIGKILL)
                    if nodes_lost[task] <= NODES_LOST:
                        del self._flight[stream]
                        tasks.appendleft(task)
                        continue
                if not isinstance(event, Progress):
                    del self._flight[stream]
                yield event

    def _room(self) -> int:
        if self._count:
            return self._count
        offered = self._ray.cluster_resources()
        # In ten-thousandths, as Ray counts: three thirds are a whole.
        fit = (round(1e4 * offered.get(name, 0)) // int(1e4 * need) for name, need in self._needs.items())
        return AHEAD * max(1, min(fit))

    def _next(self, stream: Any) -> Progress | Done | Lost | Exception | None:
        """The next event of a task; None if its node is gone."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(next(stream))
        except errors.NodeDiedError:
            return None
        except errors.OutOfMemoryError as error:
            return Lost(self._flight[stream], hung=False, exit_code=-signal.SIGKILL,
                        why=f"by Ray: {_first_line(error).rstrip('.')}")
        except errors.WorkerCrashedError:
            return Lost(self._flight[stream], hung=False, exit_code=-signal.SIGKILL)
        except (errors.RayError, StopIteration) as error:
            return EruvError(f"{self._flight[stream].video.path}: Ray could not work on it ({_first_line(error)}); is "
                             "the same eruv_dali installed on every node?")


# In a Ray worker process: what works for it, from task to task of the same GPU, which Ray names in the environment.
_kept: dict[tuple[bytes, float, str], Workers] = {}


def work_on_node(make: bytes, patience: float, task: Any, exists: bool) -> Iterator[Progress | Done | Lost | Exception]:
    """Runs on a node, as a Ray task: a task's events. The last is Done, Lost, or an exception to be raised.

    Args:
        make: pickled; exists: whether there is a file at the video's path where the task comes from.
    """
    node = socket.gethostname()
    if exists and not task.video.path.exists():
        yield EruvError(f"{task.video.path}: is not seen by node {node}; mount its folder there under the same path, "
                        "as on all nodes")
        return
    kind = make, patience, os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if kind not in _kept:
        for other in _kept.values():
            other.__exit__()
        _kept.clear()
        _kept[kind] = Workers(pickle.loads(make), count=1, patience=patience)
    waiting, told = None, time.monotonic()
    try:
        for event in _kept[kind].run(deque([task])):
            if isinstance(event, Progress):
                waiting = event
                if time.monotonic() - told < TELL_EVERY:
                    continue
                told = time.monotonic()
            elif waiting and isinstance(event, Lost):
                yield waiting  # what is done about a loss depends on how far it was
            waiting = None
            yield event
    except EruvError as error:
        yield EruvError(f"{error} (on node {node})")
    except RuntimeError as error:
        yield error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
