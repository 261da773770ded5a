"""How long the network waits for clips. On a GPU this is the GPU's idle time: it may be busy while the host waits."""

import time
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Lap:
    """The steps between two calls of `StepClock.cut`: times in seconds, on a GPU events that it reaches in time."""

    begin: Any
    marks: list
    end: Any

    def read(self) -> tuple[float, float]:
        """Seconds that the lap took, and how many of them were spent waiting. Waits until a GPU has reached its end."""
        if not isinstance(self.end, float):
            self.end.synchronize()
        pairs = zip(self.marks[::2], self.marks[1::2], strict=False)
        return _seconds(self.begin, self.end), sum(_seconds(before, after) for before, after in pairs)


class StepClock:
    """Times steps and the waits between them, without synchronising the device.

    Call `waiting()` before requesting a batch, `working()` when it has arrived, and `cut()` from time to time.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._marks: list = []
        self._begin = self._now()

    def waiting(self) -> None:
        self._marks.append(self._now())

    def working(self) -> None:
        self._marks.append(self._now())

    def cut(self) -> Lap:
        """The lap since the last cut, to be read later."""
        lap = Lap(self._begin, self._marks, self._now())
        self._begin, self._marks = lap.end, []
        return lap

    def lap(self) -> tuple[float, float]:
        """The lap since the last cut, read at once: this synchronises a GPU."""
        return self.cut().read()

    def _now(self) -> Any:
        """The time on a CPU; on a GPU an event, which is reached when all work queued so far is done."""
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def _seconds(before: Any, after: Any) -> float:
    return after - before if isinstance(after, float) else before.elapsed_time(after) / 1000
