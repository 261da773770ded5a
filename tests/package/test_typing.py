"""The package as type checkers and editors see it."""

import ast
import importlib.util
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

import eruv_dali
from eruv_dali.video.frames import ACCURATE

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "setup.cfg").exists())


@pytest.mark.skipif(not ACCURATE, reason="PyAV 17, the last one for Python 3.10, is typed in another way")
@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed: pip install '.[test]'")
def test_mypy_finds_nothing(tmp_path):
    """The package; and a stranger's use of the public names, which are what they are and not `object`."""
    use = tmp_path / f"use_{uuid.uuid4().hex}.py"  # mypy keeps what it found by the name of a module
    use.write_text("import eruv_dali\n"
                   "from eruv_dali import ClipLoader, build_backbone\n"
                   "def dim() -> int:\n"
                   "    with ClipLoader('videos') as loader:\n"
                   "        len(loader)\n"
                   "    return build_backbone('c3d').feature_dim\n"
                   "wrong: str = eruv_dali.RELATIONS\n"
                   "eruv_dali.RelationLaoder\n")
    # The stubs of NumPy 2.5 are for Python 3.12 and later.
    later = ["--python-version", f"3.{sys.version_info.minor}"] if sys.version_info >= (3, 12) else []
    done = subprocess.run([sys.executable, "-m", "mypy", *later, "eruv_dali", str(use)], cwd=ROOT, capture_output=True,
                          text=True)
    found = [line for line in done.stdout.splitlines() if ": error:" in line]
    ours = [line for line in found if not line.startswith(str(use))]
    assert not ours and not done.stderr, done.stdout + done.stderr
    assert len(found) == 2 and ":7: " in found[0] and ":8: " in found[1] and "RelationLaoder" in found[1], found


def test_lazy_names_and_checked_names_agree():
    tree = ast.parse(Path(eruv_dali.__file__).read_text())
    (checking,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.name: node.module for node in checking.body if isinstance(node, ast.ImportFrom)
            for alias in node.names}
    assert sorted(seen) == sorted(eruv_dali.__all__)
    for name, module in seen.items():
        assert getattr(eruv_dali, name) is getattr(importlib.import_module(module), name)
    assert set(eruv_dali.__all__) < set(dir(eruv_dali)) and "__version__" in dir(eruv_dali)
    assert eruv_dali.EruvError is importlib.import_module("eruv_dali.errors").EruvError
    with pytest.raises(AttributeError, match="no attribute 'RelationLaoder'"):
        eruv_dali.RelationLaoder  # noqa: B018


def test_the_package_says_that_it_is_typed():
    assert (Path(eruv_dali.__file__).parent / "py.typed").exists()


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, eruv_dali; print([name for name in ('torch', 'nvidia', 'numpy') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True).stdout == "[]\n"
