"""Where things lie: the repository, its benchmarks, and real videos where they are at hand."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("ERUV_TEST_DATA") or ROOT.parent / "shared" / "data")


def benchmark(name: str) -> ModuleType:
    """A program of benchmarks/ as a module, or a part of one, such as detection/scoring."""
    folder = ROOT / "benchmarks"
    file = folder / f"{name}.py"
    if str(folder) not in sys.path:  # as where it is run, a program there finds its neighbours
        sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
