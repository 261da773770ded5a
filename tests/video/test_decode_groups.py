"""A clip of a video pack in one call: the same crops as PyAV's decoder gives, picture by picture."""

import gc
import itertools

import numpy as np
import pytest
from numbered import numbered_picture, read_number

from eruv_dali.video import decode_groups
from eruv_dali.video.closed_groups import GroupDecoder, GroupEncoder
from eruv_dali.video.decode_groups import CropDecoder, Uses
from eruv_dali.video.yuv420 import rgb_rectangle

N = 40


@pytest.fixture(scope="module")
def packets():
    encoder = GroupEncoder(128, 171, 20)
    return [encoder.add(numbered_picture(n, 128, 171, shot=n // 20)) for n in range(N)]


@pytest.fixture(scope="module")
def crops(packets):
    """(picture, top, left) -> its 112x112 crop, by PyAV's decoder."""
    frames = list(GroupDecoder().decode_packets(packets))

    def crop(number, top, left):
        out = np.empty((112, 112, 3), np.uint8)
        rgb_rectangle(frames[number], top, left, out)
        return out

    return crop


@pytest.fixture(params=["in one call", "by PyAV"])
def decoder(request, monkeypatch):
    if request.param == "by PyAV":
        monkeypatch.setattr(decode_groups, "library", lambda: None)
    return CropDecoder(128, 176)


def run(packets):
    return b"".join(packets), [0, *itertools.accumulate(map(len, packets))]


def test_it_is_one_call_on_this_machine():
    """The tests' machines have g++ and PyAV's own libavcodec: nothing falls back in silence. DALI loads another one."""
    import nvidia.dali  # noqa: F401

    decode_groups.libavcodec.cache_clear()
    assert decode_groups.library() is not None and decode_groups.libavcodec() is not None


def test_crops_of_many_clips(packets, crops, decoder):
    random = np.random.default_rng(0)
    for first, end in ((0, 40), (16, 33), (32, 40), (0, 1)):
        uses, want = Uses(), []
        for _ in range(3):  # clips in any order, with repeats, at their own crops
            numbers = random.integers(end - first, size=16).tolist()
            top, left = int(random.integers(17)), int(random.integers(60))
            place = np.zeros((16, 112, 112, 3), np.uint8)
            uses.add(numbers, place, top, left)
            want.append((place, [(first + number, top, left) for number in numbers]))
        assert decoder.decode(*run(packets[first:end]), uses) == end - first
        for place, pictures in want:
            assert np.array_equal(place, np.stack([crops(*picture) for picture in pictures]))


def test_a_run_that_breaks_off(packets, decoder):
    """What is no H.264 ends the run there; the next run is whole."""
    broken = [*packets[:10], b"\0" * 50, *packets[11:16]]
    place = np.zeros((1, 112, 112, 3), np.uint8)
    uses = Uses()
    uses.add([15], place, 8, 29)
    assert decoder.decode(*run(broken), uses) == 10
    assert decoder.decode(*run(packets[:16]), uses) == 16
    assert read_number(place[0], (8, 29)) == 15


def test_pictures_of_another_size_are_not_read(packets):
    uses = Uses()
    uses.add([0], np.zeros((1, 112, 112, 3), np.uint8), 0, 0)
    assert CropDecoder(144, 176).decode(*run(packets[:3]), uses) == 0


def test_a_thousand_decoders_leave_no_memory(packets):
    def held():
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    def one():
        uses = Uses()
        uses.add([0], np.zeros((1, 112, 112, 3), np.uint8), 0, 0)
        assert CropDecoder(128, 176).decode(*run(packets[:2]), uses) == 2

    for _ in range(50):
        one()
    before = held()
    for _ in range(1000):
        one()
    assert held() - before < 50e6  # a decoder takes 1 MB
