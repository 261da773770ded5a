"""Videos are found, named after the folder given, and told apart."""

import os
import socket
from pathlib import Path

import pytest
from numbered import KINDS, write_video

from eruv_dali.errors import EruvError
from eruv_dali.video.find import find_videos
from eruv_dali.video.index import index_video
from eruv_dali.video.reader import FrameReader


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


@pytest.fixture
def tangle(tmp_path):
    """A folder with links: to a folder, to itself, to each other's, to a file, to nowhere; and what is linked."""
    write_video(tmp_path / "elsewhere" / "a.mp4", frames=5)
    top = tmp_path / "top"
    write_video(top / "own" / "b.mp4", frames=5)
    (top / "a_link").symlink_to(tmp_path / "elsewhere")
    (top / "above").symlink_to(top)
    (top / "again").symlink_to(top / "own")
    (top / "turning.mp4").symlink_to("turning.mp4")
    (top / "file.mp4").symlink_to(tmp_path / "elsewhere" / "a.mp4")
    (top / "broken.mp4").symlink_to("nowhere.mp4")
    return top


def test_links_are_followed_once(tangle, caplog):
    found = find_videos([tangle])
    assert [video.name for video in found] == ["a_link/a.mp4", "file.mp4", "own/b.mp4"]
    (said,) = [record.message for record in caplog.records]
    assert said == f"{tangle}/broken.mp4: a link that leads nowhere (and 1 more); left out"


def test_a_folder_of_links_alone(tangle):
    (tangle.parent / "links").mkdir()
    (tangle.parent / "links" / "x").symlink_to(tangle / "own")
    assert [video.name for video in find_videos([tangle.parent / "links"])] == ["x/b.mp4"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_left_out(tangle, caplog):
    (tangle / "own").chmod(0)
    assert [video.name for video in find_videos([tangle])] == ["a_link/a.mp4", "file.mp4"]
    (tangle / "own").chmod(0o700)
    assert "own: Permission denied" in caplog.text


def test_a_name_like_an_address_reaches_no_network(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        folder = Path(f"http:/127.0.0.1:{server.getsockname()[1]}")
        write_video(tmp_path / folder / "x.mp4", frames=5, size=(64, 96))
        monkeypatch.chdir(tmp_path)
        (video,) = find_videos(["."])
        assert video.path == folder / "x.mp4"
        index, facts = index_video(video.path)
        assert len(index.pts) == 5 and facts.width == 96
        assert FrameReader().read(video.path, index, [0, 4], 64, 96).shape == (2, 64, 96, 3)
        with pytest.raises(TimeoutError):
            server.accept()


def test_what_is_not_found_says_what_may_be_meant(tmp_path):
    (tmp_path / "loop.gif").touch()
    with pytest.raises(EruvError, match=r"no videos in this folder .* \.gif, is read if it is named itself"):
        find_videos([tmp_path])
    with pytest.raises(EruvError, match=r"\*\.MP4: no such file or folder; without quotes the shell replaces"):
        find_videos([tmp_path / "*.MP4"])
    for given in ("", ["a.mp4", ""], [None], [3]):  # "" would be the current folder
        with pytest.raises(EruvError, match="^('|None|3).* is no path; give video files|^a.mp4: no such file"):
            find_videos(given)
    with pytest.raises(EruvError, match=r"x\.mp4: no such file or folder$"):
        find_videos([tmp_path / "x.mp4"])
