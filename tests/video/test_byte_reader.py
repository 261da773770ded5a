"""Frames decoded from byte ranges are those that decoding through the container finds, to the bit."""

import numpy as np
import pytest

from eruv_dali.video.byte_reader import ByteReader
from eruv_dali.video.byte_slice import stream_header
from eruv_dali.video.index import FrameIndex, index_video
from eruv_dali.video.open import UnusableVideo
from eruv_dali.video.reader import FrameReader


def compare(paths, clips, random):
    """Compare random clips of each file; returns the codecs of those that were read from byte ranges."""
    read = set()
    for path in paths:
        try:
            index, facts = index_video(path)
        except UnusableVideo:
            continue
        if index.offset is None or len(index.pts) < 2:
            continue
        through_container = FrameIndex(index.pts, index.key)
        ours, oracle = FrameReader(), FrameReader()
        for _ in range(clips):
            reach = min(len(index.pts), 60)
            first = int(random.integers(len(index.pts) - reach + 1))
            wanted = first + np.sort(random.choice(reach, min(16, reach), replace=False))
            want = oracle.read(path, through_container, wanted, 128, 171)
            assert np.array_equal(ours.read(path, index, wanted, 128, 171), want), (path, wanted)
        if ours.seconds["demux"] == 0:
            read.add(facts.codec)
        ours.close()
        oracle.close()
    return read


def test_numbered_videos(videos):
    assert compare(sorted(videos.rglob("*.m*")), 4, np.random.default_rng(0)) == {"h264", "hevc"}


def test_real_videos(real_videos):
    paths = sorted((real_videos / "untrimmed").rglob("*.mp4"))[::4] + sorted((real_videos / "web").glob("*"))[::20]
    assert "h264" in compare(paths, 1, np.random.default_rng(1))


def test_what_goes_through_the_container(videos):
    index, _ = index_video(videos / "mpeg4.mp4")
    assert ByteReader().frames(videos / "mpeg4.mp4", index, np.arange(3)) is None
    index, _ = index_video(videos / "h264_b.mp4")
    assert ByteReader().frames(videos / "h264_b.mp4", FrameIndex(index.pts, index.key), np.arange(3)) is None


def test_damaged_packets_end_it_early_and_the_container_is_asked(videos, tmp_path):
    path = tmp_path / "damaged.mp4"
    data = bytearray((videos / "hevc.mp4").read_bytes())
    index, _ = index_video(videos / "hevc.mp4")
    at = int(index.offset[int(index.keys[1])])
    data[at : at + 200] = bytes(200)
    path.write_bytes(data)
    wanted = np.arange(index.keys[1], index.keys[1] + 4)
    reader = FrameReader()
    try:
        pictures = reader.read(path, index, wanted, 128, 171)
    except Exception as error:
        assert type(error).__name__ == "FrameNotFound"
    else:
        want = FrameReader().read(path, FrameIndex(index.pts, index.key), wanted, 128, 171)
        assert np.array_equal(pictures, want)
    assert reader.seconds["demux"] > 0


def test_a_file_that_was_replaced_has_another_header(videos, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes((videos / "h264_b.mp4").read_bytes())
    assert stream_header(path).codec == "h264"
    path.write_bytes((videos / "mpeg4.mp4").read_bytes())
    assert stream_header(path).codec == "mpeg4"
    path.unlink()
    with pytest.raises(UnusableVideo, match="cannot be opened"):
        stream_header(path)


def test_pictures_to_be_turned_are_left_to_the_container(real_videos):
    rotated = []
    for path in sorted((real_videos / "odd").rglob("*.m*")):
        try:
            rotated += [path] * bool(stream_header(path).rotation)
        except UnusableVideo:
            continue
    assert rotated
    for path in rotated:
        index, _ = index_video(path)
        assert ByteReader().frames(path, index, np.arange(min(3, len(index.pts)))) is None
