"""Full disks, few open files, a clock that steps back, folders that may not be written: one line, and nothing lost."""

import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from alike import same_dataset
from editing import EVERY, delivered, prepare_films
from forked import Forked, program

from eruv_dali.errors import EruvError, run_program
from eruv_dali.prepare import prepare
from eruv_dali.prepare.__main__ import main as prepare_program

NOBODY = 65534


def one_line(process: Forked) -> str:
    """The line that a program ended with."""
    code = process.ended()
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("error: ")] or [process.stderr]
    assert code == 2 and "Traceback" not in process.stderr, process.stderr
    return line


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own; `small_disk(kB)` gives it a size."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("mounting takes root")

    def sized(kilobytes):
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", place], check=True)
        return place

    yield sized
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("pack", ["video", "jpeg", "raw", "none"])
def test_a_full_disk_then_a_larger_one(films, undisturbed, small_disk, tmp_path, draw, pack):
    takes = sum(file.stat().st_size for file in undisturbed[pack].rglob("*") if file.is_file()) // 1024
    out = small_disk(draw.randint(8, max(9, takes * 9 // 10))) / "out"
    command = (films, "--out", out, "--device", "cpu", "--pack", pack, "--workers", 1)
    line = one_line(Forked(tmp_path / "full", program, prepare_program, *command))
    assert "space" in line or "cannot be written" in line or " free, but " in line, line
    small_disk(3 * takes + 4000)
    again = Forked(tmp_path / "again", program, prepare_program, *command)
    assert again.ended() == 0, again.stderr
    same_dataset(out, undisturbed[pack])


def with_few_files(count, work, *arguments):
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1 + count,) * 2)
    run_program(lambda: work(*arguments))


def deliver(folder):
    assert sorted(delivered(folder)) == sorted(EVERY)


@pytest.mark.parametrize("pack", ["video", "jpeg", "raw", "none"])
def test_few_open_files_are_not_taken_for_damage(copy_of, tmp_path, draw, pack):
    folder = copy_of(pack)
    process = Forked(tmp_path / "said", with_few_files, draw.randint(1, 12), deliver, folder)
    code = process.ended()
    if code:
        assert code == 2 and "Too many open files" in process.stderr and "Traceback" not in process.stderr, (
            process.stderr)
    assert "cannot be decoded" not in process.stderr and "damaged" not in process.stderr
    deliver(folder)


def test_few_open_files_of_prepare(films, undisturbed, tmp_path, draw):
    out, limit = tmp_path / "out", draw.randint(2, 20)
    process = Forked(tmp_path / "said", with_few_files, limit, prepare_alone, films, out)
    code = process.ended()
    assert code in (0, 2) and "Traceback" not in process.stderr, process.stderr
    prepare([films], out, device="cpu", pack="jpeg", workers=1)
    same_dataset(out, undisturbed["jpeg"])


def prepare_alone(films, out):
    prepare([films], out, device="cpu", pack="jpeg", workers=1)


@pytest.mark.parametrize("pack", ["video", "jpeg", "raw", "none"])
def test_the_clock_steps_back(copy_of, films, tmp_path, draw, pack):
    """Files are older than what was made of them, or of a time to come."""
    folder = copy_of(pack)
    for file in folder.rglob("*"):
        if file.is_file() and draw.random() < 0.7:
            os.utime(file, (draw.uniform(0, 2**32),) * 2)
    records = {file: file.read_bytes() for file in (folder / "records").iterdir()}
    prepare([films], folder, device="cpu", pack=pack, workers=1)
    assert {file: file.read_bytes() for file in (folder / "records").iterdir()} == records  # nothing was decoded again
    deliver(folder)


def as_nobody(folder):
    """All this in one process, for its operator library is built once."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ERUV_CACHE"] = cache
        for pack in ("video", "jpeg", "raw", "none"):
            deliver(f"{folder}/{pack}")
        attempt(f"{folder}/films", f"{folder}/jpeg")
        attempt(f"{folder}/films", f"{folder}/new")


def attempt(films, out):
    with pytest.raises(EruvError, match="cannot be written") as caught:
        prepare([films], out, device="cpu", pack="jpeg", workers=1)
    assert "\n" not in str(caught.value)


@pytest.fixture
def for_all(films):
    """Where another user can read: the folders of pytest are closed to others."""
    if os.getuid():
        pytest.skip("becoming another user takes root")
    place = Path(tempfile.mkdtemp(prefix="eruv_dali_read_only_"))
    prepare_films(shutil.copytree(films, place / "films"), place)
    subprocess.run(["chmod", "-R", "a+rX,go-w", place], check=True)
    yield place
    shutil.rmtree(place)


def test_read_only_folders(for_all, tmp_path):
    before = {place: os.stat(place).st_mtime_ns for place, *_ in os.walk(for_all)}
    process = Forked(tmp_path / "said", as_nobody, for_all)
    assert process.ended(300) == 0, process.stderr
    assert {place: os.stat(place).st_mtime_ns for place, *_ in os.walk(for_all)} == before
