"""Frames are read at random, right to the frame, and slices hold just what was asked for."""

import io

import av
import numpy as np
import pytest
from decoded import SIZE, decode
from numbered import KINDS, write_video

from eruv_dali.video.find import VIDEO_SUFFIXES
from eruv_dali.video.frames import rgb_picture
from eruv_dali.video.index import FrameIndex
from eruv_dali.video.open import DamagedVideo, UnusableVideo
from eruv_dali.video.reader import FrameNotFound, FrameReader


@pytest.mark.parametrize("name", KINDS)
def test_random_access_gives_the_very_frames(videos, name):
    (pictures,), index, _ = decode(videos / name)
    assert index.tagged
    reader, random = FrameReader(), np.random.default_rng(0)
    sliced = 0
    for _ in range(12):
        wanted = np.sort(random.choice(120, random.integers(1, 17), replace=False))
        assert np.array_equal(reader.read(videos / name, index, wanted, *SIZE), pictures[wanted])
        cut = reader.slice(videos / name, index, wanted)
        if cut is not None:
            sliced += 1
            with av.open(io.BytesIO(cut.data)) as container:
                frames = [rgb_picture(frame, *SIZE) for frame in container.decode(video=0)]
            assert np.array_equal(np.array(frames)[cut.positions], pictures[wanted])
    assert sliced or name == "mpeg2.ts", "no slice was ever cut"
    reader.close()


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["untrimmed", "odd", "clips"])
def test_a_reader_that_knows_nothing_of_a_real_file_reads_its_middle_right(real_videos, folder):
    """The first thing that a new reader does is to seek; each file once, from a key frame if it has several."""
    tried = 0
    for path in sorted((real_videos / folder).rglob("*.*")):
        if path.suffix.lower() not in VIDEO_SUFFIXES or path.stat().st_size > 5e5:
            continue
        try:
            (pictures,), index, _ = decode(path)
        except (DamagedVideo, UnusableVideo):
            continue
        keys = index.keys[(index.keys > 0) & (index.keys < len(pictures) - 4)]
        first = keys[len(keys) // 2] if len(keys) else len(pictures) // 2
        wanted = np.arange(first, min(first + 4, len(pictures)))
        assert np.array_equal(FrameReader().read(path, index, wanted, *SIZE), pictures[wanted]), path.name
        tried += 1
    assert tried > 3


def test_slices_start_at_the_nearest_key_frame(videos):
    _, index, _ = decode(videos / "vp9.webm")
    cut = FrameReader().slice(videos / "vp9.webm", index, np.arange(100, 105))
    key = index.keys[index.keys <= 100][-1]
    assert cut.positions.tolist() == list(range(100 - key, 105 - key))
    assert key > 0 and len(cut.data) < (videos / "vp9.webm").stat().st_size / 2


def test_frames_without_time_stamps_are_counted_from_the_start(videos):
    (pictures,), index, _ = decode(videos / "h264_b.mp4")
    blind = FrameIndex(np.zeros_like(index.pts), index.key)
    assert not blind.tagged
    assert np.array_equal(FrameReader().read(videos / "h264_b.mp4", blind, [40, 77], *SIZE), pictures[[40, 77]])


def test_an_index_in_another_order_than_the_frames_is_never_counted_through(videos):
    """In a damaged file, a late frame may bear an early time stamp: counting would give other frames, in silence."""
    path = videos / "h264_b.mp4"
    (pictures,), index, _ = decode(path)
    order = np.r_[0, 119, 1:119]  # the last frame is thought to be the second one
    moved = FrameIndex(index.pts[order], index.key[order])
    reader = FrameReader()
    for wanted in ([2, 3, 9], [1, 2], [119]):
        try:
            assert np.array_equal(reader.read(path, moved, wanted, *SIZE), pictures[order[wanted]])
        except FrameNotFound as error:
            assert error.frames.tolist()[-1] == wanted[-1]
    reader.close()


def test_reading_a_file_that_lost_its_frames_says_so(videos, tmp_path):
    _, index, _ = decode(videos / "h264_b.mp4")
    short = write_video(tmp_path / "short.mp4", frames=20)
    with pytest.raises(FrameNotFound, match=r"short\.mp4.*frames 90\.\.95.*prepare"):
        FrameReader().read(short, index, np.arange(90, 96), *SIZE)
