"""Crops copied from a mapped file are its pixels; a file that becomes shorter costs the crop, not the process."""

import io
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from eruv_dali.dataset.crop_mapped import map_file

HEIGHT, WIDTH, FRAMES = 37, 53, 40
FRAME = HEIGHT * WIDTH * 3


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture
def mapped(tmp_path, pixels):
    (tmp_path / "frames.bin").write_bytes(b"seven b" + pixels.tobytes())
    opened = io.FileIO(tmp_path / "frames.bin")
    found = map_file(opened, os.fstat(opened.fileno()).st_size)
    assert found is not None
    return found


def at(numbers):
    return 7 + np.asarray(numbers, np.int64) * FRAME


@pytest.mark.parametrize("size", [(1, 1), (16, 20), (HEIGHT, WIDTH)])
def test_the_pixels_are_those_of_the_file(mapped, pixels, size):
    random = np.random.default_rng(1)
    for _ in range(20):
        numbers = random.integers(0, FRAMES, 9)
        top, left = (int(random.integers(0, whole - part + 1)) for whole, part in
                     zip((HEIGHT, WIDTH), size, strict=True))
        place = np.empty((9, *size, 3), np.uint8)
        assert mapped.crop(at(numbers), (HEIGHT, WIDTH), top, left, place)
        assert np.array_equal(place, pixels[numbers, top : top + size[0], left : left + size[1]])


def test_frames_outside_the_file_are_refused(mapped):
    place = np.empty((2, 8, 8, 3), np.uint8)
    for numbers in ([0, FRAMES], [-1, 0]):
        assert not mapped.crop(at(numbers), (HEIGHT, WIDTH), 0, 0, place)
    assert mapped.crop(at([0, FRAMES - 1]), (HEIGHT, WIDTH), 0, 0, place)


@pytest.mark.parametrize("left", [7 + 3 * FRAME, 4096, 7 + FRAME * FRAMES - 1, 0])
def test_a_file_that_becomes_shorter_costs_the_crop(mapped, tmp_path, left):
    """Beyond its last page there is a fault, in it there are zeros."""
    os.truncate(tmp_path / "frames.bin", left)
    place = np.empty((3, 16, 16, 3), np.uint8)
    whole = max(left - 7, 0) // FRAME
    for _ in range(3):  # the handler is still there
        assert not mapped.crop(at([whole, min(whole + 1, FRAMES - 1), whole]), (HEIGHT, WIDTH), 20, 30, place)
        if whole:
            assert mapped.crop(at([0, whole - 1, 0]), (HEIGHT, WIDTH), 20, 30, place)


def test_threads_copy_while_the_file_becomes_shorter_and_longer(mapped, tmp_path, pixels):
    stop, copied = threading.Event(), [0, 0, 0]

    def copy(number):
        random, place = np.random.default_rng(number), np.empty((16, 16, 16, 3), np.uint8)
        while not stop.is_set():
            first = int(random.integers(0, FRAMES - 15))
            copied[number] += mapped.crop(at(range(first, first + 16)), (HEIGHT, WIDTH), 5, 9, place)

    threads = [threading.Thread(target=copy, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        os.truncate(tmp_path / "frames.bin", 4096)
        (tmp_path / "frames.bin").write_bytes(b"seven b" + pixels.tobytes())
    stop.set()
    for thread in threads:
        thread.join()
    assert min(copied) > 0


OTHER_FAULT = """
import {imports}, io, mmap, os, sys
import numpy as np
from eruv_dali.dataset.crop_mapped import map_file
{before}
path = sys.argv[1]
open(path, "wb").write(bytes(40000))
opened = io.FileIO(path)
mapped = map_file(opened, 40000)
{after}
place = np.empty((1, 8, 8, 3), np.uint8)
assert mapped.crop(np.array([0]), (10, 10), 0, 0, place)
whole = mmap.mmap(opened.fileno(), 40000, prot=mmap.PROT_READ)
os.truncate(path, 0)
assert not mapped.crop(np.array([20000]), (10, 10), 0, 0, place)
{last}
"""


SENT_WHILE_COPYING = """
import io, signal, sys, threading
import numpy as np
from eruv_dali.dataset.crop_mapped import map_file
came = []
signal.signal(signal.SIGBUS, lambda *_: came.append(1))
open(sys.argv[1], "wb").write(bytes(40 * 30000))
mapped = map_file(io.FileIO(sys.argv[1]), 40 * 30000)
place, offsets = np.empty((40, 100, 100, 3), np.uint8), np.arange(40) * 30000
here = threading.get_ident()

def send():
    for _ in range(200000):  # some come while the one before is being handed on
        signal.pthread_kill(here, signal.SIGBUS)

thread = threading.Thread(target=send)
thread.start()
while thread.is_alive():
    assert mapped.crop(offsets, (100, 100), 0, 0, place), "a signal was taken for a fault"
print(len(came) > 0)
"""


def test_a_signal_sent_while_pixels_are_copied_is_no_fault(tmp_path):
    done = subprocess.run([sys.executable, "-c", SENT_WHILE_COPYING, str(tmp_path / "file")], capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0 and done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("words, code, said", [
    (dict(last="whole[30000]"), -signal.SIGBUS, ""),
    (dict(imports="faulthandler", before="faulthandler.enable()", last="whole[30000]"), -signal.SIGBUS, "Bus error"),
    (dict(imports="faulthandler", after="mapped.crop(np.array([0]), (10, 10), 0, 0, np.empty((1, 8, 8, 3), np.uint8))\n"
          "faulthandler.enable()", last="whole[30000]"), -signal.SIGBUS, "Bus error"),
    (dict(imports="signal", before="signal.signal(signal.SIGBUS, lambda *_: print('sent'))",
          last="os.kill(os.getpid(), signal.SIGBUS); print('goes on')"), 0, "sent\ngoes on"),
])
def test_other_faults_and_signals_go_to_whoever_handled_them(tmp_path, words, code, said):
    program = OTHER_FAULT.format(**{"imports": "io", "before": "", "after": "", **words})
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "file")], capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == code and said in done.stdout + done.stderr
    assert "AssertionError" not in done.stderr
