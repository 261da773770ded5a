"""How long the network waits for clips. On a GPU this is the GPU's idle time: it may be busy while the host waits."""

import time

import torch


class StepClock:
    """Times steps and the waits between them, without synchronising the device.

    Call `waiting()` before requesting a batch, `working()` when it has arrived, and `lap()` from time to time.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._marks: list = []
        self._started = time.perf_counter()

    def waiting(self) -> None:
        self._mark()

    def working(self) -> None:
        self._mark()

    def _mark(self) -> None:
        if self._on_gpu:  # the event is reached when all work queued so far is done
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def lap(self) -> tuple[float, float]:
        """Seconds since the last lap, and how many of them were spent waiting. This synchronises a GPU."""
        if self._on_gpu and self._marks:
            self._marks[-1].synchronize()
        pairs = zip(self._marks[::2], self._marks[1::2], strict=False)
        if self._on_gpu:
            waited = sum(before.elapsed_time(after) for before, after in pairs) / 1000
        else:
            waited = sum(after - before for before, after in pairs)
        now = time.perf_counter()
        seconds, self._started, self._marks = now - self._started, now, []
        return seconds, waited
