"""The index of a video: the frames that counting packets finds are those that decoding finds."""

import numpy as np
import pytest
from numbered import KINDS

from eruv_dali.dataset import Dataset
from eruv_dali.video.index import index_video


@pytest.mark.parametrize("name", [*KINDS, "long/a.mp4"])
def test_counting_packets_finds_the_frames_that_decoding_finds(videos, datasets, name):
    index, facts = index_video(videos / name)
    dataset = Dataset(datasets["none"])
    (number,) = [n for n, video in enumerate(dataset.videos) if video.name == name]
    assert np.array_equal(index.pts, dataset.index(number).pts)
    assert np.array_equal(index.key, dataset.index(number).key)
    assert facts.codec == dataset.videos[number].codec
