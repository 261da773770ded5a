"""A video over which DALI's pipeline dies costs one pipeline, however many of its clips are waiting: builds counted."""

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from eruv_dali import native
from eruv_dali.dataset.columns import VideoRow
from eruv_dali.loader import prefetch, read_originals
from eruv_dali.loader.clip_reader import Slice
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.loader.prefetch import ClipEngine
from eruv_dali.loader.read_originals import OriginalsReader
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.video.coding import Coding
from eruv_dali.video.nvdec import NO_LIBRARY, Capabilities, Limits

T, CROP, CLIPS = 4, 8, 8
FORMAT = ClipFormat(T, CROP, (8, 8), "float32", (0, 0, 0), (1, 1, 1), "THWC", "cpu")
VIDEOS = SimpleNamespace(videos=[SimpleNamespace(path=f"{n}.mp4") for n in range(6)], pack="none", in_store=False)


class FakePipeline:
    """Gives each clip's video number; dies, for good, over a slice of one of the videos in `kills`."""

    builds: list[int] = []
    kills: set[int] = set()

    def __init__(self, max_clips):
        self.builds.append(max_clips)
        self.fed, self.due, self.dead = {}, [], False

    def feed_input(self, name, value):
        if self.dead:
            raise RuntimeError("Current pipeline object is no longer valid.")
        self.fed[name] = value

    def schedule_run(self):
        assert not self.dead
        self.due.append([(int(data[0]), bool(slice)) for data, slice in
                         zip(self.fed["data"], self.fed["is_slice"], strict=True)])

    def outputs(self):
        clips = self.due.pop(0)
        if self.dead or any(slice and video in self.kills for video, slice in clips):
            self.dead = True
            raise RuntimeError("Error in decoders.video\nmore")
        numbers = np.array([video + 100 * slice for video, slice in clips], np.float32)
        dense = np.broadcast_to(numbers[:, None, None, None, None], (len(clips), T, CROP, CROP, 3)).copy()
        return (SimpleNamespace(as_tensor=lambda: dense),)

    def run(self):
        self.schedule_run()
        return self.outputs()


class FakeReader:
    """Cuts slices that begin with the video's number, and decodes to it."""

    place = (T, CROP, CROP, 3)
    by_frame = original = False
    bytes = 0
    seconds = {"read": 0.0, "demux": 0.0, "decode": 0.0}

    def pipeline(self, max_clips, **settings):
        return FakePipeline(max_clips)

    def group(self, request):
        return None

    def slices(self, video):
        return True

    def slice(self, request):
        return Slice(np.full(9, request.video, np.uint8), np.arange(T, dtype=np.int32))

    def read(self, requests, places):
        for request, place in zip(requests, places, strict=True):
            place[:] = request.video

    def crop_left(self, request):
        return 0, 0

    def close(self):
        pass


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setattr(prefetch, "_reader", lambda videos, clip: FakeReader())
    monkeypatch.setattr(FakePipeline, "builds", [])
    engine = ClipEngine(VIDEOS, FORMAT, max_clips=CLIPS, threads=2)
    yield engine
    engine.close()


def clips(engine, batches):
    """What is delivered of batches of these videos: their numbers, with 100 added where DALI decoded them."""
    for videos in batches:
        engine.submit([ClipRequest(video, 0, 0, np.arange(T), 0, (0, 0), 1) for video in videos])
    return [engine.collect()[:, 0, 0, 0, 0].int().tolist() for _ in batches]


def test_no_death_builds_one_pipeline(engine):
    assert clips(engine, [[0, 1, 2]] * 5) == [[100, 101, 102]] * 5
    assert FakePipeline.builds == [CLIPS]


def test_one_bad_video_in_every_batch_costs_one_pipeline(engine, monkeypatch, caplog):
    monkeypatch.setattr(FakePipeline, "kills", {3})
    batches = [[3, 0, 3, 1, 3, 2, 3, 3]] * 10
    assert clips(engine, batches) == [[3, 100, 3, 101, 3, 102, 3, 3]] * 10
    # The dead one rebuilt; one to find the culprit, and one for the clips after it.
    assert FakePipeline.builds == [CLIPS, CLIPS, 1, 1]
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and "died" in said[0] and "3.mp4: DALI cannot decode it" in said[1]


def test_a_culprit_at_the_end_needs_no_further_pipeline(engine, monkeypatch):
    monkeypatch.setattr(FakePipeline, "kills", {3})
    assert clips(engine, [[0, 1, 2, 3], [3, 3]]) == [[100, 101, 102, 3], [3, 3]]
    assert FakePipeline.builds == [CLIPS, CLIPS, 1]


def test_two_bad_videos_of_one_batch_cost_one_death(engine, monkeypatch):
    monkeypatch.setattr(FakePipeline, "kills", {2, 3})
    assert clips(engine, [[2, 3, 0, 2, 3]] * 4) == [[2, 3, 100, 2, 3]] * 4
    assert FakePipeline.builds == [CLIPS, CLIPS, 1, 1, 1]


def test_a_slice_that_is_being_cut_while_its_video_is_blamed(engine, monkeypatch):
    """The thread has looked whether to cut it before the blame; DALI must not get it all the same."""
    monkeypatch.setattr(FakePipeline, "kills", {3})
    cut, source = FakeReader.slice, engine.source

    def blamed_meanwhile(reader, request):
        source._sliced[3] = False
        return cut(reader, request)

    monkeypatch.setattr(FakeReader, "slice", blamed_meanwhile)
    assert clips(engine, [[3, 0]]) == [[3, 100]]
    assert FakePipeline.builds == [CLIPS]


ROWS = [VideoRow(f"{n}.mp4", Path(f"{n}.mp4"), 100, "h264", 0, "", 0,
                 coding=Coding("yuv420p", "High", n == 1, False, 640, 368)) for n in range(3)]


def originals(monkeypatch, decoder, rows=ROWS):
    monkeypatch.setattr(read_originals, "capabilities", lambda device, gpu: decoder)
    monkeypatch.setattr(read_originals, "slices_pipeline", lambda *arguments, **settings: "slices")
    monkeypatch.setattr(read_originals, "frames_pipeline", lambda *arguments, **settings: "frames")
    native.say_once.cache_clear()
    clip = ClipFormat(T, CROP, (8, 8), "float32", (0, 0, 0), (1, 1, 1), "THWC", "gpu", 0)
    return OriginalsReader(SimpleNamespace(videos=rows), clip)


def test_on_a_gpu_without_nvdec_no_video_is_sliced(monkeypatch, caplog):
    """The pipeline does not even contain DALI's decoder, and one line says so, however many pipelines are built."""
    reader = originals(monkeypatch, Capabilities(NO_LIBRARY))
    assert [reader.pipeline(4) for _ in range(3)] == ["frames"] * 3
    assert not any(reader.slices(video) for video in range(3))
    assert [record.getMessage() for record in caplog.records] == [NO_LIBRARY]


def test_on_a_gpu_only_what_it_decodes_is_sliced(monkeypatch, caplog, videos):
    """A video of an earlier DATASET, of which it is not known how it is coded, is looked at."""
    unknown = [VideoRow(name, videos / name, 120, codec, 0, "", 0) for name, codec in
               (("h264_b.mp4", "h264"), ("mjpeg.avi", "mjpeg"), ("gone.mp4", "h264"))]
    decoder = Capabilities(limits={("h264", 8): Limits(48, 16, 4096, 4096, 65536)})
    reader = originals(monkeypatch, decoder, ROWS + unknown)
    with caplog.at_level(logging.WARNING):
        assert [reader.pipeline(4) for _ in range(3)] == ["slices"] * 3
    assert [reader.slices(video) for video in range(6)] == [True, False, True, True, False, False]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("PyAV decodes 3 of 6 videos") and "interlaced: 1" in line and "codec mjpeg: 1" in line
