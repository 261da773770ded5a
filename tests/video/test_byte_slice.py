"""Slices of MP4 files from byte ranges hold the frames that decoding finds."""

import io

import av
import numpy as np
import pytest
from numbered import read_number

from eruv_dali.video import nvdec
from eruv_dali.video.byte_slice import cut_bytes, stream_header
from eruv_dali.video.frames import rgb_picture
from eruv_dali.video.index import FrameIndex, index_video
from eruv_dali.video.reader import FrameReader


def decoded(cut):
    with av.open(io.BytesIO(cut.data)) as container:
        frames = list(container.decode(video=0))
    return [rgb_picture(frames[place], 128, 171) for place in cut.positions]


def test_the_frames_wanted_and_no_others(videos):
    checked, random = set(), np.random.default_rng(0)
    for path in sorted(videos.rglob("*.m*")):
        index, facts = index_video(path)
        if index.size is None or facts.codec not in nvdec.CODECS or facts.rotation:
            continue
        for start in (0, *random.integers(len(index.pts) - 40, size=6)):
            wanted = start + np.sort(random.choice(40, 16, replace=False))
            cut = cut_bytes(path, stream_header(path), index, wanted)
            if not index.ordered or not index.size.all():
                assert cut is None
                continue
            want = FrameReader().read(path, index, wanted, 128, 171)
            assert np.array_equal(np.stack(decoded(cut)), want), (path.name, start)
            checked.add(facts.codec)
    assert {"h264", "hevc", "mpeg4"} <= checked


def test_the_reader_takes_them_and_reads_no_packet(videos, monkeypatch):
    path = videos / "h264_b.mp4"
    index, _ = index_video(path)
    reader = FrameReader()
    cut = reader.slice(path, index, np.arange(60, 76))
    assert reader.seconds["demux"] == 0 and reader.bytes == len(cut.data)
    assert [read_number(picture) for picture in decoded(cut)] == list(range(60, 76))


def test_a_tag_that_is_no_text(videos, tmp_path):
    """The four characters of the codec damaged, in a file that says elsewhere what its codec is."""
    sound = next(path for path in sorted(videos.rglob("*.mp4")) if b"mp4v" in path.read_bytes())
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(sound.read_bytes().replace(b"mp4v", b"mp\xebv"))
    index, _ = index_video(damaged)
    assert index_video(sound)[1].codec == stream_header(damaged).codec and stream_header(damaged).tag == "\0" * 4
    wanted = np.arange(20, 36)
    reader = FrameReader()
    assert np.array_equal(reader.read(damaged, index, wanted, 128, 171), reader.read(sound, index, wanted, 128, 171))
    reader.slice(damaged, index, wanted)


@pytest.mark.parametrize("change", ["no places", "a frame without", "cut short", "gone"])
def test_none_where_the_packets_are_not_all_there(videos, tmp_path, change):
    path = videos / "h264_b.mp4"
    index, _ = index_video(path)
    header, offset, size = stream_header(path), index.offset, index.size.copy()
    if change == "no places":
        index = FrameIndex(index.pts, index.key)
    elif change == "a frame without":
        size[65] = 0
        index = FrameIndex(index.pts, index.key, offset, size)
    elif change == "cut short":
        (tmp_path / "cut.mp4").write_bytes(path.read_bytes()[: int(offset[70])])
        path = tmp_path / "cut.mp4"
    else:
        path = tmp_path / "gone.mp4"
    assert cut_bytes(path, header, index, np.arange(60, 76)) is None
