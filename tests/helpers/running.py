"""Programs run by the tests: within this process where that will do, for starting Python and PyTorch takes seconds."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from eruv_dali.console import console
from eruv_dali.errors import run_program


def run(monkeypatch, main: Callable, *words: object) -> None:
    """A program within this process, as with these words on its command line; what it raises is raised here."""
    monkeypatch.setattr(sys, "argv", ["program", *map(str, words)])
    main()


def outcome(monkeypatch, capture, main: Callable, *words: object) -> SimpleNamespace:
    """The same as a person sees it: returncode, stdout and stderr; `capture` is pytest's capsys or capfd."""
    monkeypatch.setattr(sys, "argv", ["program", *map(str, words)])
    code = 0
    try:
        run_program(main)
    except SystemExit as end:
        code = end.code
    finally:
        console.quiet = False  # as it is where a program begins
    said = capture.readouterr()
    return SimpleNamespace(returncode=code, stdout=said.out, stderr=said.err)


def refused(monkeypatch, capture, main: Callable, *words: object) -> str:
    """The one line that the program says when it exits with code 2."""
    done = outcome(monkeypatch, capture, main, *words)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


def run_alone(module: str, *words: object, **options) -> subprocess.CompletedProcess:
    """`python -m eruv_dali.MODULE WORDS` in a process of its own."""
    command = [sys.executable, "-m", f"eruv_dali.{module}", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def with_our_path() -> dict[str, str]:
    """The environment for a process that imports what this one can: test modules, helpers, a sitecustomize."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def metrics(folder: Path) -> list[dict]:
    """The lines of a run's metrics.jsonl, without what the clock said."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("clips_per_second", "data_wait")}
            for line in lines]


def lasting(folder: Path) -> dict[Path, int]:
    """When each file of a folder was written: the same again where none was."""
    return {path: path.stat().st_mtime_ns for path in folder.iterdir()}
