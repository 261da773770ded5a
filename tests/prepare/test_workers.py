"""Worker processes: what hangs, dies or fails in one of them, and what becomes of the others."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from functools import partial

import pytest
from running import with_our_path

from eruv_dali.errors import EruvError
from eruv_dali.prepare.workers import Done, Lost, Progress, Workers


class Work:
    """What the workers run here; imported by them from this file."""

    def __init__(self, note):
        self.note = note

    def __call__(self, task, tell):
        tell((os.getpid(), "begun"))
        if task == "hang":
            time.sleep(1000)
        elif task == "die":
            os._exit(3)
        elif task == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif task == "refuse":
            raise EruvError("no")
        elif task == "fail":
            raise KeyError("bug")
        elif task == "slow":
            for _ in range(8):
                time.sleep(0.25)
                tell((os.getpid(), "alive"))
        return task * 2

    def close(self):
        self.note.write_text("closed")


def gone(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


def test_one_that_hangs_or_dies_is_lost_alone(tmp_path):
    tasks = deque(["a", "hang", "b", "die", "slow", "kill", "c"])
    with Workers(partial(Work, tmp_path / "note"), count=2, patience=1.5) as workers:
        events = list(workers.run(tasks))
        assert sorted(e.result for e in events if isinstance(e, Done)) == ["aa", "bb", "cc", "slowslow"]
        assert {e.task: (e.hung, e.exit_code) for e in events if isinstance(e, Lost)} == {
            "hang": (True, None), "die": (False, 3), "kill": (False, -signal.SIGKILL)}
        pids = {e.value[0] for e in events if isinstance(e, Progress)}
        # Two to begin with, and one in the place of each that was lost, but for one lost when nothing was left to do.
        assert len(pids) in (4, 5)
        assert [e.task for e in workers.run(deque(["d"])) if isinstance(e, Done)] == ["d"]  # and it goes on
    assert all(map(gone, pids))
    assert (tmp_path / "note").read_text() == "closed"


@pytest.mark.parametrize(("task", "error", "words"), [("refuse", EruvError, "^no$"), ("fail", RuntimeError, "bug")])
def test_what_a_task_raises_is_raised_here(tmp_path, task, error, words):
    pids = set()
    with Workers(partial(Work, tmp_path / "note"), count=2, patience=60) as workers, pytest.raises(error, match=words):
        for event in workers.run(deque(["hang", task])):
            pids.add(event.value[0])
    assert pids and all(map(gone, pids))


def test_tasks_may_be_added_meanwhile(tmp_path):
    tasks = deque(["a"])
    with Workers(partial(Work, tmp_path / "note"), count=1, patience=60) as workers:
        results = []
        for event in workers.run(tasks):
            if isinstance(event, Done):
                results.append(event.result)
                tasks.extend(["b"] * (len(results) == 1))
    assert results == ["aa", "bb"]


def test_time_in_which_this_process_stood_still_does_not_count(tmp_path):
    """Whoever takes the events holds everything up for longer than the patience, while its workers are stopped too."""
    with Workers(partial(Work, tmp_path / "note"), count=1, patience=1) as workers:
        events = []
        for event in workers.run(deque(["slow"])):
            events.append(event)
            if len(events) == 2:
                os.kill(event.value[0], signal.SIGSTOP)
                time.sleep(1.5)  # nothing of it is left to be heard: its next word was due a quarter of a second later
                os.kill(event.value[0], signal.SIGCONT)
        assert isinstance(events[-1], Done), events


def test_workers_die_with_a_parent_that_is_killed(tmp_path):
    code = f"""
from collections import deque
from functools import partial
from pathlib import Path
from test_workers import Work, Workers
with Workers(partial(Work, Path({str(tmp_path / "note")!r})), count=2, patience=60) as workers:
    for event in workers.run(deque(["hang", "hang"])):
        print(event.value[0], flush=True)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                              env=with_our_path())
    pids = [int(parent.stdout.readline()) for _ in range(2)]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert all(map(gone, pids))
