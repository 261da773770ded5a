"""The README says what was measured, and nothing else."""

import subprocess
import sys

import pytest
from places import ROOT


@pytest.mark.parametrize("program", ["readme_table", "proof_table"])
def test_help_writes_nothing(tmp_path, program):
    before = (ROOT / "README.md").stat().st_mtime_ns
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / f"{program}.py", "--help"], capture_output=True,
                          text=True, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("usage:") and not list(tmp_path.iterdir())
    assert (ROOT / "README.md").stat().st_mtime_ns == before


def test_the_table_is_what_the_results_say():
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "readme_table.py", "--check"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
