"""Fixtures: numbered videos of every codec, DATASETs made of them, and the rule for GPU tests."""

import os
from pathlib import Path

# The tests' networks are tiny: threads would only wait for one another, all the more on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import layouts
import numbered
import pytest

from eruv_dali.device import gpu_problem
from eruv_dali.prepare import prepare

DATA = Path(__file__).parents[2] / "shared" / "data"  # real videos, where they are at hand


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if problem := gpu_problem():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason=problem))


@pytest.fixture(scope="session")
def real_videos() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"no real videos at {DATA}")
    return DATA


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    """A folder with one numbered video of each kind in numbered.KINDS, and two longer ones of three shots."""
    folder = tmp_path_factory.mktemp("videos")
    for name, kind in numbered.KINDS.items():
        numbered.write_video(folder / name, **kind)
    numbered.write_video(folder / "long" / "a.mp4", frames=500, shots=3, gop=250, b_frames=2, size=(144, 192))
    numbered.write_video(folder / "long" / "b.mp4", frames=240, shots=2, gop=250, b_frames=2, size=(144, 192))
    return folder


@pytest.fixture(scope="session")
def datasets(videos, tmp_path_factory) -> dict[str, Path]:
    """The numbered videos prepared with each kind of pack: {"jpeg": folder, "raw": folder, "none": folder}."""
    folders = {kind: tmp_path_factory.mktemp(kind) / "dataset" for kind in ("jpeg", "raw", "none")}
    for kind, folder in folders.items():
        prepare([videos], folder, device="cpu", pack=kind, workers=1)
    return folders


@pytest.fixture(scope="session")
def persons(tmp_path_factory) -> Path:
    """Three actions of four persons, one folder an action."""
    return layouts.make_persons(tmp_path_factory.mktemp("actions") / "persons")
