"""Reading a pack's files: frames in any order, long runs, files that are closed or cut short meanwhile."""

import os

import numpy as np
import pytest

from eruv_dali.dataset.pack_reader import CutShort, PackReader

SIZES = np.random.default_rng(0).integers(1, 50, size=3000)
OFFSETS = np.concatenate([[0], np.cumsum(SIZES)])


@pytest.fixture
def pack(tmp_path):
    """3,000 frames; every byte of frame n is n % 251."""
    (tmp_path / "frames-00000.bin").write_bytes(np.repeat(np.arange(3000) % 251, SIZES).astype(np.uint8).tobytes())
    return tmp_path


@pytest.mark.parametrize("numbers", [
    range(16), range(15, -1, -1), range(0, 60, 4), [5, 3, 4, 9], [7, 7, 8, 7], range(2500),
])
def test_frames_in_any_order(pack, numbers):
    numbers = list(numbers)
    places = np.zeros((len(numbers), 50), np.uint8)
    PackReader(pack).read_frames("frames-00000.bin", [(int(OFFSETS[n]), int(SIZES[n])) for n in numbers], places)
    for number, place in zip(numbers, places, strict=True):
        assert (place[: SIZES[number]] == number % 251).all() and not place[SIZES[number] :].any()


def test_a_file_that_is_cut_short_is_named(pack):
    reader = PackReader(pack)
    whole = reader.size("frames-00000.bin")
    with open(pack / "frames-00000.bin", "r+b") as file:
        file.truncate(100)
    assert reader.size("frames-00000.bin") == whole
    with pytest.raises(CutShort, match=r"frames-00000\.bin: ends at byte 100, but bytes 90 to 140 are wanted"):
        reader.read("frames-00000.bin", 90, 50)
    with pytest.raises(CutShort):
        reader.read_frames("frames-00000.bin", [(90, 50)], np.zeros((1, 50), np.uint8))


def test_close_leaves_no_file_open_and_a_later_read_opens_it_again(pack):
    before = len(os.listdir("/proc/self/fd"))
    reader = PackReader(pack)
    first = reader.read("frames-00000.bin", 0, 3)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    reader.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert reader.read("frames-00000.bin", 0, 3) == first


def test_files_that_are_let_go_need_no_warning(pack, recwarn):
    """Python warns of files that nobody closed; here whoever reads last closes, at exit and in threads too."""
    for close in (True, False):
        reader = PackReader(pack)
        reader.hold(["frames-00000.bin"])
        if close:
            reader.close()
        del reader
    assert not recwarn.list
