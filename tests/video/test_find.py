"""Videos are found, named after the folder given, and told apart."""

import pytest
from numbered import KINDS, write_video

from eruv_dali.errors import EruvError
from eruv_dali.video.find import find_videos


def test_find_videos(videos, tmp_path):
    found = find_videos([videos])
    assert [video.name for video in found] == sorted([*KINDS, "long/a.mp4", "long/b.mp4"])
    assert find_videos([videos / "long/a.mp4"])[0].name == "a.mp4"
    with pytest.raises(EruvError, match="no such file"):
        find_videos([tmp_path / "absent"])
    with pytest.raises(EruvError, match="no videos in this folder"):
        find_videos([tmp_path])
    other = write_video(tmp_path / "a.mp4", frames=5)
    with pytest.raises(EruvError, match="both be called 'a.mp4'"):
        find_videos([videos / "long/a.mp4", other])
