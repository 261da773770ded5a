"""Time stamps that depend on where reading starts identify nothing: frames are then counted from the start."""

import pytest
from numbered import read_number, write_video

from eruv_dali.prepare import prepare
from eruv_dali.video.index import index_video
from eruv_dali.video.reader import FrameReader
from eruv_dali.video.tags import tags_hold


@pytest.fixture
def holed(tmp_path):
    """An AVI file with a frame in the middle gone, which its index at the end still lists."""
    path = write_video(tmp_path / "films" / "holed.avi", frames=60, codec="mjpeg", size=(144, 192))
    content = path.read_bytes()
    begin = content.index(b"00dc", content.index(b"movi") + 4)
    for _ in range(20):
        begin = content.index(b"00dc", begin + 4)
    path.write_bytes(content[:begin] + bytes(content.index(b"00dc", begin + 4) - begin) + content[begin:].partition(
        b"00dc")[2].partition(b"00dc")[2].join((b"00dc", b"")))
    return path


def frames_of(path, index):
    reader = FrameReader()
    try:
        return [read_number(reader.read(path, index, [n], 128, 171)[0]) for n in range(len(index.pts))]
    finally:
        reader.close()


def test_a_damaged_file_is_counted_from_its_start(holed):
    assert not tags_hold(holed)
    index, _ = index_video(holed)
    assert not index.tagged
    assert frames_of(holed, index) == [n for n in range(60) if n != 20]


def test_prepare_notes_none(holed, tmp_path):
    dataset = prepare([holed.parent], tmp_path / "out", device="cpu", pack="none", workers=1)
    assert frames_of(holed, dataset.index(0)) == [n for n in range(60) if n != 20]


@pytest.mark.parametrize("name", ["mpeg4_b.avi", "mjpeg.avi", "mpeg2.ts", "h264_b.mp4", "vfr.mkv"])
def test_sound_files_keep_theirs(videos, name):
    assert tags_hold(videos / name)


def test_real_avi_files_keep_theirs(real_videos):
    films = sorted(real_videos.rglob("*.avi"))[::10]
    assert films and all(tags_hold(path) for path in films)
