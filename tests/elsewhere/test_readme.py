"""The README says what was measured, and nothing else."""

import subprocess
import sys

from places import ROOT


def test_the_table_is_what_the_results_say():
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "readme_table.py", "--check"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
