"""DALI decodes the next runs of a video while the caller works on the pictures of those before."""

import numpy as np
import pytest
from decoded import SIZE, decode

from eruv_dali.video import decode_nvdec
from eruv_dali.video.decode_nvdec import decode_with_dali


class Watched:
    """DALI's pipeline, with a note in `log` of what is asked of it."""

    def __init__(self, pipeline, log):
        self._pipeline, self._log, self.feed_input = pipeline, log, pipeline.feed_input

    def schedule_run(self):
        self._log.append("start")
        self._pipeline.schedule_run()

    def outputs(self):
        self._log.append("wait")
        return self._pipeline.outputs()


@pytest.fixture
def log(monkeypatch):
    """Every group of pictures is a run, and two are decoded at once."""
    monkeypatch.setattr(decode_nvdec, "RUN_BYTES", 1)
    monkeypatch.setattr(decode_nvdec, "RUNS_AT_ONCE", 2)
    decode_nvdec._pipeline.cache_clear()
    log, made = [], decode_nvdec._pipeline

    def watched(*arguments):
        return Watched(made(*arguments), log)

    watched.cache_clear = made.cache_clear
    monkeypatch.setattr(decode_nvdec, "_pipeline", watched)
    yield log
    made.cache_clear()


def test_the_next_runs_are_started_before_the_pictures_are_handed_over(videos, log):
    (wanted,), index, _ = decode(videos / "mjpeg.avi")
    assert len(index.keys) >= 5  # runs
    found = []
    for chunk in decode_with_dali(videos / "mjpeg.avi", (SIZE,), device="cpu"):
        found.append(chunk.pictures[0])
        log.append("work")
    assert np.abs(np.concatenate(found).astype(int) - wanted).mean((1, 2, 3)).max() < 3
    starts = log.count("start")
    assert starts == -(-len(index.keys) // 2) and log.count("wait") == starts
    ahead = [log[:place].count("start") - log[:place].count("wait") for place in range(len(log) + 1)]
    assert max(ahead) == 2
    last = len(log) - 1 - log[::-1].index("start")
    assert all(ahead[place] >= 1 for place, what in enumerate(log[:last]) if what == "work")


def test_a_video_that_was_left_halfway_does_not_show_up_in_the_next(videos, log):
    (wanted,), _, _ = decode(videos / "vp8.webm")
    halfway = decode_with_dali(videos / "vp9.webm", (SIZE,), device="cpu")
    next(halfway)
    halfway.close()
    found = np.concatenate([chunk.pictures[0] for chunk in decode_with_dali(videos / "vp8.webm", (SIZE,),
                                                                            device="cpu")])
    assert found.shape == wanted.shape and np.abs(found.astype(int) - wanted).mean((1, 2, 3)).max() < 3


@pytest.mark.parametrize("runs, frame_bytes, wanted", [
    ([(0, 10), (10, 20), (20, 30)], 1, [[(0, 10), (10, 20)], [(20, 30)]]),  # two at once
    ([(0, 10), (10, 20), (20, 30)], 6, [[(0, 10)], [(10, 20)], [(20, 30)]]),  # two do not fit
    ([(0, 50), (50, 51), (51, 52)], 3, [[(0, 50)], [(50, 51), (51, 52)]]),  # one is too large
])
def test_what_is_decoded_at_once_is_bounded(monkeypatch, runs, frame_bytes, wanted):
    monkeypatch.setattr(decode_nvdec, "RUNS_AT_ONCE", 2)
    assert list(decode_nvdec._batches(runs, frame_bytes, 100)) == wanted
