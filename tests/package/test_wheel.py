"""The wheel: built from the sources, installed into a clean environment, and used from there; and under each other
Python that the package is for and that can be found here."""

import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from places import ROOT

import eruv_dali

pytestmark = pytest.mark.slow


VERSIONS = [f"3.{minor}" for minor in range(10, 14) if minor != sys.version_info.minor]


@pytest.fixture(scope="module")
def wheel(made_once):
    def make(folder):
        pytest.importorskip("setuptools", reason="setuptools is not installed: no wheel can be built")
        sources = folder / "sources"
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
        if listed.returncode:
            pytest.skip("no git here, so that the sources are not known")
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (sources / name).parent.mkdir(parents=True, exist_ok=True)
                (sources / name).write_bytes((ROOT / name).read_bytes())
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, sources)

    (wheel,) = made_once("wheel", make).glob("*.whl")
    assert wheel.name == f"eruv_dali-{eruv_dali.__version__}-py3-none-any.whl"
    return wheel


@pytest.fixture(scope="module")
def installed(wheel, made_once):
    """A clean environment with the wheel; what the wheel requires is borrowed from the environment of the tests."""
    def make(folder):
        venv.create(folder / "env", with_pip=True)
        python = folder / "env/bin/python"
        run(python, "-m", "pip", "install", "-q", "--no-deps", wheel)
        own = run(python, "-c", "import site; print(site.getsitepackages()[0])").strip()
        with open(os.path.join(own, "borrowed.pth"), "w") as file:
            file.write("\n".join(site.getsitepackages()) + "\n")

    return made_once("wheel_installed", make) / "env/bin"


def run(*command: object, **options) -> str:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=env, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def interpreter(version: str) -> str | None:
    """A Python of this version: on the PATH, or one of pyenv's; None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for found in (shutil.which(f"python{version}"), *map(str, pyenv.glob(f"{version}.*/bin/python"))):
        if found and not subprocess.run([found, "-c", "import ensurepip, venv"], capture_output=True).returncode:
            return found
    return None


@pytest.mark.parametrize("version", VERSIONS)
def test_other_pythons_read_all_of_it(wheel, tmp_path, version):
    """Without what the wheel requires: every module compiles without a warning, and what needs nothing else runs."""
    other = interpreter(version)
    if not other:
        pytest.skip(f"no Python {version} here")
    run(other, "-m", "venv", tmp_path / "env")
    python = tmp_path / "env/bin/python"
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", wheel)
    (package,) = tmp_path.glob("env/lib/python*/site-packages/eruv_dali")
    run(python, "-W", "error", "-m", "compileall", "-q", package)
    assert run(python, "-W", "error", "-c", "import eruv_dali; print(eruv_dali.__version__)", cwd=tmp_path) == (
        f"{eruv_dali.__version__}\n")
    assert run(tmp_path / "env/bin/eruv", cwd=tmp_path).startswith("usage: eruv COMMAND")


def test_it_is_used_from_the_wheel(installed, tmp_path):
    where = run(installed / "python", "-c", "import eruv_dali; print(eruv_dali.__file__)", cwd=tmp_path)
    assert where.startswith(str(installed.parent))
    assert run(installed / "eruv", "--version", cwd=tmp_path) == f"eruv_dali {eruv_dali.__version__}\n"
    assert len(run(installed / "eruv", "demo", "--out", "my_videos", cwd=tmp_path).splitlines()) == 4
    run(installed / "eruv", "prepare", "my_videos", "--out", "my_dataset", "--workers", "1", "--quiet", cwd=tmp_path)
    assert (tmp_path / "my_dataset/shots.csv").read_text().count("\n") == 1 + 4 * 4  # a header, four shots a video
    run(installed / "eruv", "pretrain", "--config", "thumos14_r3d", "--data", "my_dataset", "--out", "run",
        "model.width=2", "data.crop=32", "data.clip_length=4", "data.pairs_per_epoch=2", "data.batch_size=2",
        "data.val_pairs=2", "optim.epochs=1", cwd=tmp_path)
    assert (tmp_path / "run/backbone.pt").exists()
    # The kernels of the wheel were compiled, not those of the sources.
    assert run(installed / "python", "-c", "from eruv_dali.native import kernels_dir; print(kernels_dir())",
               cwd=tmp_path).startswith(str(installed.parent))
