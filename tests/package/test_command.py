"""`eruv`: the programs by one name."""

import configparser
import importlib.util
import resource
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


def test_it_answers_at_once_and_imports_nothing_heavy():
    """Overview and version in a fresh process, and which modules they took."""
    look = ("import sys; sys.argv = ['eruv', '--version']; from eruv_dali.__main__ import main; main(); "
            f"print([name for name in {HEAVY} if name in sys.modules])")
    done = subprocess.run([sys.executable, "-W", "error", "-c", look], capture_output=True, text=True)
    assert done.stdout == f"eruv_dali {eruv_dali.__version__}\n[]\n" and not done.stderr
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "eruv_dali"], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and done.stdout.startswith("usage: eruv COMMAND")
    # Seconds of a core, not of the clock: other work on the machine may hold the process up.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_setup_cfg_names_the_command_and_writes_no_version_of_its_own():
    static = configparser.ConfigParser()
    static.read(next(folder for folder in Path(__file__).resolve().parents if (folder / "setup.cfg").exists())
                / "setup.cfg")
    assert static["options.entry_points"]["console_scripts"].strip() == "eruv = eruv_dali.__main__:main"
    assert static["metadata"]["version"] == "attr: eruv_dali.__version__"
