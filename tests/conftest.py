"""Fixtures: numbered videos, DATASETs made of them, labelled videos; and the rules for tests that are skipped.

    ERUV_REQUIRE_GPU=1     a test that is skipped for lack of a GPU fails instead
    ERUV_REQUIRE_DATA=1    a test that is skipped for lack of real videos fails instead
    ERUV_REQUIRE_BROWSER=1 a test that is skipped for lack of a browser fails instead
    ERUV_TEST_DATA=FOLDER  where the real videos are; ../shared/data beside the repository unless said
"""

import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# The tests' networks are tiny: threads would only wait for one another, all the more on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import editing
import layouts
import numbered
import pytest
import trained
from browser import NO_BROWSER
from places import DATA

from eruv_dali.device import gpu_problem
from eruv_dali.prepare import prepare

NO_GPU, NO_DATA = "no GPU", "no real videos"
SWITCHES = {NO_GPU: "ERUV_REQUIRE_GPU", NO_DATA: "ERUV_REQUIRE_DATA", NO_BROWSER: "ERUV_REQUIRE_BROWSER"}


def pytest_xdist_auto_num_workers() -> int:
    """Processes for `-n auto`: as many as cores, up to 4, and none besides this one where there is one core."""
    cores = len(os.sched_getaffinity(0))
    return min(cores, 4) if cores > 1 else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if problem := gpu_problem():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"{NO_GPU}: {problem}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator:
    """Tests of the GPU have it to themselves, whichever process they run in."""
    if "gpu" in item.keywords and not gpu_problem():
        with locked(Path(f"/tmp/eruv_dali_tests_gpu_{os.getuid()}.lock")):
            return (yield)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator:
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        switch = SWITCHES.get(reason.partition(":")[0], "")
        if os.environ.get(switch, "0") not in ("", "0"):
            report.outcome, report.longrepr = "failed", f"{switch} is set, and this would be skipped: {reason}"
    return report


def pytest_terminal_summary(terminalreporter) -> None:
    reasons = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ").partition(":")[0]] += 1
    said = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    terminalreporter.write_line(f"skipped: {said or 'nothing'}")


@contextmanager
def locked(file: Path) -> Iterator[None]:
    with open(file, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`made_once(name, make)`: the folder that `make(folder)` fills, by whichever process of the tests comes first."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(name: str, make: Callable[[Path], object]) -> Path:
        folder, whole = base / f"once_{name}", base / f"once_{name}.whole"
        with locked(base / f"once_{name}.lock"):
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                whole.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def real_videos() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"{NO_DATA}: no folder {DATA}")
    return DATA


@pytest.fixture(scope="session")
def videos(made_once) -> Path:
    """A folder with one numbered video of each kind in numbered.KINDS, and two longer ones of three shots."""
    return made_once("videos", numbered.write_all)


@pytest.fixture(scope="session")
def datasets(videos, made_once) -> dict[str, Path]:
    """The numbered videos prepared with each kind of pack: {"video": folder, "jpeg": folder, …}."""
    def make(folder: Path) -> None:
        for kind in numbered.PACKS:
            prepare([videos], folder / kind, device="cpu", pack=kind, workers=1)

    folder = made_once("datasets", make)
    return {kind: folder / kind for kind in numbered.PACKS}


@pytest.fixture(scope="session")
def persons(made_once) -> Path:
    """Three actions of four persons, one folder an action."""
    return made_once("persons", lambda folder: layouts.make_persons(folder / "persons")) / "persons"


@pytest.fixture(scope="session")
def films(made_once) -> Path:
    """Three videos of one length, for tests that edit and damage what is made of them."""
    return made_once("films_to_edit", editing.draw_films)


@pytest.fixture(scope="session")
def undisturbed(films, made_once) -> dict[str, Path]:
    """A DATASET of these films with each kind of pack, as prepare left it."""
    folder = made_once("datasets_to_edit", lambda folder: editing.prepare_films(films, folder))
    return {pack: folder / pack for pack in numbered.PACKS}


@pytest.fixture(scope="session")
def pretrained(made_once) -> Path:
    """A folder with four numbered videos in `videos`, prepared in `dataset`, and a small pre-training run in `run`."""
    def make(folder: Path) -> None:
        trained.make_videos(folder)
        trained.train(folder / "dataset", folder / "run")

    return made_once("pretrained", make)


@pytest.fixture
def copy_of(undisturbed, tmp_path) -> Callable[..., Path]:
    """Makes a test's own copy of one of these DATASETs."""
    return lambda pack="raw": shutil.copytree(undisturbed[pack], tmp_path / "dataset")
