"""The rooms import only those below them, and nothing imports in a circle (the contracts are in setup.cfg)."""

import subprocess
import sys

import pytest
from places import ROOT


def test_the_layers_hold():
    pytest.importorskip("importlinter")
    # In a process of its own: it sets up logging, and turns all other loggers off.
    code = ("import sys; from importlinter.cli import lint_imports; "
            "sys.exit(lint_imports(config_filename='setup.cfg', no_cache=True))")
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
