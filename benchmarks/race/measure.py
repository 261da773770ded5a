"""Clips per second, processor time and memory, of this process and the worker processes that it started."""

import contextlib
import gc
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch


def processes() -> list[int]:
    """This process and its children."""
    found = [os.getpid()]
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            found += map(int, (task / "children").read_text().split())
    return found


def own_memory() -> int:
    """Bytes of our processes' own memory: anonymous and shared memory, not mapped files."""
    total = 0
    for process in processes():
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue  # it has just ended
        sizes = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
        total += 1024 * (sizes["Pss_Anon"] + sizes["Pss_Shmem"])
    return total


class PeakMemory:
    """Samples four times a second, within the context, how much the processes' memory has grown since its start."""

    def __enter__(self) -> "PeakMemory":
        gc.collect()
        self.bytes, self._before, self._done = 0, own_memory(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.25):
            self.bytes = max(self.bytes, own_memory() - self._before)

    def __exit__(self, *_: object) -> None:
        self.bytes = max(self.bytes, own_memory() - self._before)
        self._done.set()
        self._thread.join()


def cpu_seconds() -> float:
    """Spent so far by this process and its living children."""
    ticks = 0
    for process in processes():
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(batches: Iterator[torch.Tensor], count: int, device: str) -> tuple[float, float]:
    """Clips per second and CPU seconds per clip."""
    before, started, seen = cpu_seconds(), time.perf_counter(), 0
    for clips in batches:
        seen += len(clips)
        del clips
    if device == "gpu":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    if seen != count:
        raise RuntimeError(f"{seen} clips came, but {count} were requested")
    return count / seconds, (cpu_seconds() - before) / count
