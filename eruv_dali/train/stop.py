"""Ctrl-C and SIGTERM ask a run to stop; it finishes its step, saves, and prints how to continue."""

import signal
import threading


class StopSignals:
    """Inside this context, the first SIGINT or SIGTERM is only recorded; a second one acts at once, as usual.

    Attributes:
        received: the signal's number, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is not threading.main_thread():  # Python delivers signals to the main thread only
            return self
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, frame: object) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Stopped(Exception):
    """The run was asked to stop, and has saved. `signal` is the signal's number; the message says how to continue."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number
