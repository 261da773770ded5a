"""The reading threads, with a reader that reads nothing: sharing, errors, closing."""

import queue
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from eruv_dali.loader.bad_clips import UnreadableClips
from eruv_dali.loader.clip_reader import UnreadableFrames
from eruv_dali.loader.clip_source import ClipSource, Unfinished
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.loader.requests import ClipRequest

T, CROP = 4, 8
FORMAT = ClipFormat(T, CROP, (8, 8), "float32", (0, 0, 0), (1, 1, 1), "THWC", "cpu")
VIDEOS = SimpleNamespace(videos=[SimpleNamespace(path="a.mp4")])


class FakeReader:
    """Fills each place with the number of the clip's first frame; waits for `gate`; cannot read frame 13."""

    place = (T, CROP, CROP, 3)
    by_frame = False
    bytes = 0

    def __init__(self):
        self.gate, self.calls, self.seconds = threading.Event(), [], {"read": 0.0, "demux": 0.0, "decode": 0.0}
        self.gate.set()

    def group(self, request):
        return None if request.rotation else int(request.frames[0]) // 10

    def slices(self, video):
        return False

    def read(self, requests, places):
        assert self.gate.wait(20)
        self.calls.append([int(request.frames[0]) for request in requests])
        for request, place in zip(requests, places, strict=True):
            if 13 in request.frames:
                raise UnreadableFrames("frame 13", np.array([13]))
            if 14 in request.frames:
                raise KeyError("a defect")
            place[:] = request.frames[0]

    def crop_left(self, request):
        return 0, 0

    def close(self):
        self.calls.append("closed")


@pytest.fixture
def reader():
    return FakeReader()


@pytest.fixture
def source(reader):
    source = ClipSource(VIDEOS, FORMAT, lambda: reader, threads=1)
    yield source
    source.close()


def begin(source, frames, rotation=0):
    """Begin a batch of clips of one frame each."""
    memory, unfinished = source.memory(len(frames)), Unfinished()
    begun = source.begin([request(n, rotation) for n in frames], memory, unfinished)
    return begun, memory, unfinished


def request(frame, rotation=0):
    return ClipRequest(0, 0, 0, np.array([frame]), rotation, (0, 0), 1)


def test_clips_of_a_group_that_wait_together_are_read_once(source, reader):
    reader.gate.clear()
    batch = begin(source, [1, 11, 2, 12, 3])
    reader.gate.set()
    data = source.inputs(*batch)["data"]
    assert data[:, 0, 0, 0, 0].tolist() == [1, 11, 2, 12, 3]
    assert sorted(map(len, reader.calls)) in ([2, 3], [1, 2, 2])  # the thread may have taken the first one alone


def test_a_clip_without_a_group_is_read_alone(source, reader):
    reader.gate.clear()
    batch = begin(source, [1, 2, 3], rotation=90)
    reader.gate.set()
    assert source.inputs(*batch)["rotation"].tolist() == [90, 90, 90]
    assert reader.calls == [[1], [2], [3]]


def test_an_unreadable_clip_does_not_spoil_its_group(source, reader):
    reader.gate.clear()
    batch = begin(source, [11, 13, 12])
    reader.gate.set()
    with pytest.raises(UnreadableClips) as error:
        source.inputs(*batch)
    assert {place: lost.frames.tolist() for place, lost in error.value.clips.items()} == {1: [13]}
    begun, memory, unfinished = batch
    begun[1:2] = source.begin([request(15)], memory[1:2], unfinished)
    assert source.inputs(*batch)["data"][:, 0, 0, 0, 0].tolist() == [11, 15, 12]


def test_a_defect_on_a_thread_reaches_the_one_who_waits(source):
    batch = begin(source, [14])
    with pytest.raises(KeyError, match="a defect"):
        source.inputs(*batch)
    batch = begin(source, [5])
    assert source.inputs(*batch)["data"][0, 0, 0, 0, 0] == 5  # the thread goes on


def test_what_was_dropped_is_not_read(source, reader):
    reader.gate.clear()
    begin(source, [1])
    begin(source, [21, 31, 41])
    source.drop()
    reader.gate.set()
    batch = begin(source, [51])
    source.inputs(*batch)
    assert reader.calls in ([[1], [51]], [[51]])


def test_memory_is_used_again(source):
    memory = source.memory(3)
    source.give_back(memory)
    assert source.memory(2) is memory and source.memory(2) is not memory


def test_the_small_batch_at_the_end_of_an_epoch_leaves_the_others_their_memory(source):
    whole, last = source.memory(3), source.memory(1)
    source.give_back(whole)
    source.give_back(last)
    assert source.memory(3) is whole and source.memory(1) is not last


def test_one_slice_that_cannot_be_cut_does_not_spoil_its_group(reader, monkeypatch):
    def cut(request):
        assert reader.gate.wait(20)
        if request.frames[0] == 13:
            raise UnreadableFrames("frame 13", np.array([13]))

    monkeypatch.setattr(reader, "slices", lambda video: True)
    reader.slice = cut  # None: it has to be read
    source = ClipSource(VIDEOS, FORMAT, lambda: reader, threads=1)
    reader.gate.clear()
    batch = begin(source, [11, 13, 12])
    reader.gate.set()
    with pytest.raises(UnreadableClips) as error:
        source.inputs(*batch)
    assert set(error.value.clips) == {1}
    source.close()


def test_a_reader_that_cannot_be_made_is_an_error_at_once(reader):
    readers = iter([reader, reader])

    def make():
        try:
            return next(readers)
        except StopIteration:
            raise MemoryError("no room for a third") from None

    with pytest.raises(MemoryError, match="no room"):
        ClipSource(VIDEOS, FORMAT, make, threads=2)


def test_a_source_may_be_closed_on_its_own_thread(source, reader, monkeypatch):
    """The garbage collector runs on whatever thread allocates; a reading thread cannot wait for itself."""
    closed = queue.SimpleQueue()

    def close(requests, places):
        try:
            source.close()
            closed.put("closed")
        except BaseException as error:
            closed.put(error)

    monkeypatch.setattr(reader, "read", close)
    begin(source, [1])
    assert closed.get(timeout=60) == "closed"
