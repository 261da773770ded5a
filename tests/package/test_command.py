"""`eruv`: the programs by one name."""

import configparser
import importlib.util
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import eruv_dali
from eruv_dali.__main__ import COMMANDS, main

HEAVY = ("torch", "nvidia", "cupy", "numpy", "av", "rich", "matplotlib", "PIL")


def eruv(monkeypatch, capsys, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `eruv` with these words."""
    monkeypatch.setattr(sys, "argv", ["eruv", *words])
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def test_alone_it_names_every_program(monkeypatch, capsys):
    code, said, _ = eruv(monkeypatch, capsys)
    assert code == 0 and eruv(monkeypatch, capsys, "--help")[1] == said
    lines = [line.split()[0] for line in said.splitlines() if line.startswith("  ")]
    assert lines[:len(COMMANDS)] == list(COMMANDS)
    assert max(map(len, said.splitlines())) <= 100


def test_every_program_of_the_package_is_a_command():
    package = Path(eruv_dali.__file__).parent
    programs = {path.stem if path.parent == package else path.parent.name
                for path in [*package.glob("*.py"), *package.glob("*/__main__.py")]
                if path != package / "__main__.py" and 'if __name__ == "__main__":' in path.read_text()}
    assert programs == set(COMMANDS)
    assert all(importlib.util.find_spec(module) for module, _ in COMMANDS.values())


@pytest.mark.parametrize("word, near", [("pretarin", "pretrain"), ("fine-tune", "finetune"), ("x", None)])
def test_an_unknown_command_is_one_line(monkeypatch, capsys, word, near):
    code, said, error = eruv(monkeypatch, capsys, word, "--out", "somewhere")
    assert code == 2 and not said and error.count("\n") == 1 and error.startswith(f"error: unknown command {word!r}")
    assert near is None or f"did you mean {near!r}?" in error
    code, _, error = eruv(monkeypatch, capsys, "--verison")
    assert code == 2 and "--version" in error


def test_a_command_is_its_program(monkeypatch, capsys, tmp_path):
    code, said, _ = eruv(monkeypatch, capsys, "tables", "--help")
    assert code == 0 and said.startswith("usage: python -m eruv_dali.tables ")
    code, _, error = eruv(monkeypatch, capsys, "tables", str(tmp_path / "nothing"))
    assert code == 2 and error.startswith(f"error: {tmp_path / 'nothing'}: no such file")


@pytest.mark.parametrize("missing", ["of_others", "eruv_dali.lost"])
def test_what_is_not_installed_is_named(monkeypatch, capsys, tmp_path, missing):
    (tmp_path / "needs_more.py").write_text(f"import {missing}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "tables", ("needs_more", ""))
    if missing == "of_others":
        assert eruv(monkeypatch, capsys, "tables") == (
            2, "", "error: of_others: is not installed, and this program needs it; pip install eruv_dali with all that "
            "it requires\n")
    else:  # a fault of ours
        with pytest.raises(ModuleNotFoundError):
            eruv(monkeypatch, capsys, "tables")


def test_it_answers_at_once_and_imports_nothing_heavy():
    """Overview and version in a fresh process, and which modules they took."""
    look = ("import sys; sys.argv = ['eruv', '--version']; from eruv_dali.__main__ import main; main(); "
            f"print([name for name in {HEAVY} if name in sys.modules])")
    done = subprocess.run([sys.executable, "-W", "error", "-c", look], capture_output=True, text=True)
    assert done.stdout == f"eruv_dali {eruv_dali.__version__}\n[]\n" and not done.stderr
    done, seconds = timed("-m", "eruv_dali")
    assert done.returncode == 0 and done.stdout.startswith("usage: eruv COMMAND") and seconds < 0.5
    bare = min(timed("-c", "pass")[1] for _ in range(3))
    done, seconds = timed("-c", "import eruv_dali")
    assert done.returncode == 0 and seconds - bare < 0.2


def test_help_of_every_program_imports_nothing_that_takes_seconds():
    """Nor does a mistake on the command line: PyTorch alone takes one to four seconds."""
    look = """
import contextlib, importlib, io, sys
from eruv_dali.__main__ import COMMANDS
for module, _ in COMMANDS.values():
    program = importlib.import_module(module).main
    for words in (["--help"], ["--unknown"]):
        sys.argv = ["program", *words]
        with contextlib.suppress(SystemExit, ValueError), contextlib.redirect_stdout(io.StringIO()):
            program()
    print(module, *{"torch", "nvidia", "cupy", "matplotlib"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True)
    assert done.stdout.splitlines() == [module for module, _ in COMMANDS.values()], done.stderr


def timed(*words: str) -> tuple[subprocess.CompletedProcess, float]:
    """Python with these words; and seconds of a core, not of the clock: other work may hold the process up."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("words", ["eruv_dali prepare", *(f"eruv_dali.{name}" for name in COMMANDS
                                                               if name != "demo")])  # it imports nothing heavy
def test_ctrl_c_while_importing_is_one_line(tmp_path, words):
    """Whichever of the heavy packages is imported first stops the process as Ctrl-C does; demo imports none."""
    for name in HEAVY:
        (tmp_path / f"{name}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run([sys.executable, "-m", *words.split(), "--help"], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)},
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    assert done.stderr == "interrupted\n" and not done.stdout
    assert done.returncode in (130, -signal.SIGINT)


@pytest.mark.parametrize("words", ["eruv_dali prepare", "eruv_dali.prepare"])
def test_a_missing_package_is_one_line_however_a_program_is_called(tmp_path, words):
    (tmp_path / "av.py").write_text("raise ModuleNotFoundError(name='av')\n")
    done = subprocess.run([sys.executable, "-m", *words.split()], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"})
    assert done.stderr == ("error: av: is not installed, and this program needs it; pip install eruv_dali with all "
                           "that it requires\n")
    assert done.returncode == 2 and not done.stdout


def test_setup_cfg_names_the_command_and_writes_no_version_of_its_own():
    static = configparser.ConfigParser()
    static.read(next(folder for folder in Path(__file__).resolve().parents if (folder / "setup.cfg").exists())
                / "setup.cfg")
    assert static["options.entry_points"]["console_scripts"].strip() == "eruv = eruv_dali.__main__:main"
    assert static["metadata"]["version"] == "attr: eruv_dali.__version__"
