"""Videos in tars are found by their headers, named after their members, and read where they lie."""

import json
from pathlib import Path

import numpy as np
import pytest
from numbered import read_numbers, write_video
from tars import write_tar

from eruv_dali.errors import EruvError
from eruv_dali.video import tar as tar_module
from eruv_dali.video.content import content_of, same_content
from eruv_dali.video.find import find_videos
from eruv_dali.video.index import index_video
from eruv_dali.video.place import Place, locate, open_location, read_ranges, unplaced
from eruv_dali.video.reader import FrameReader
from eruv_dali.video.tar import TarLists


@pytest.fixture(scope="module")
def film(made_once) -> Path:
    return made_once("film_for_tars", lambda folder: write_video(folder / "film.mp4", frames=40, gop=8, size=(64, 96))
                     ) / "film.mp4"


def names(*paths, tars=None):
    return [video.name for video in find_videos(paths, tars)]


def test_members_keep_their_names(film, tmp_path):
    write_tar(tmp_path / "train/a.tar", {"cats/1.mp4": film, "cats/1.json": b"{}", "2.MP4": film, "._2.mp4": b"mac",
                                         "./3.mp4": film})
    write_tar(tmp_path / "train/b.tar", {"cats/1.mp4": film, "../../4.mp4": film, "5.mp4": film})
    (tmp_path / "5.mp4").symlink_to(film)
    write_tar(tmp_path / "notes.tar", {"notes.txt": b"no video"})
    assert names(tmp_path) == ["2.MP4", "3.mp4", "4.mp4", "5.mp4", "train/a/cats/1.mp4", "train/b/5.mp4",
                               "train/b/cats/1.mp4"]
    assert names(tmp_path / "train/a.tar", tmp_path / "train/a.tar") == ["2.MP4", "3.mp4", "cats/1.mp4"]
    assert names(tmp_path / "train/a.tar", tmp_path / "5.mp4", tmp_path / "train/b.tar")[-3:] == [
        "a/cats/1.mp4", "b/5.mp4", "b/cats/1.mp4"]
    write_tar(tmp_path / "again/a.tar", {"cats/1.mp4": film})
    with pytest.raises(EruvError, match="would both be called 'a/cats/1.mp4'; give their common folder"):
        find_videos([tmp_path / "train/a.tar", tmp_path / "again/a.tar"])
    with pytest.raises(EruvError, match=r"notes.tar: no videos in this tar \(looked for"):
        find_videos([tmp_path / "notes.tar"])
    (tmp_path / "c.tar.gz").write_bytes(b"")
    with pytest.raises(EruvError, match="c.tar.gz: a compressed tar"):
        find_videos([tmp_path / "c.tar.gz"])


def test_of_two_members_of_one_name_the_later_is_meant(film, tmp_path):
    former = write_tar(tmp_path / "former.tar", {"1.mp4": b"former"}).read_bytes()[:1024]
    tar = write_tar(tmp_path / "a.tar", {"1.mp4": film})
    tar.write_bytes(former + tar.read_bytes())
    (video,) = find_videos([tar])
    assert (video.path.offset, video.path.size) == (1536, film.stat().st_size)


@pytest.mark.parametrize("keep, said, found", [
    (-10240, "has no end mark, so it may be half written; the 2 videos before that are used", ["1.mp4", "2.mp4"]),
    (-20000, "is cut off in 2.mp4; the video before that is used", ["1.mp4"]),
])
def test_a_half_written_tar_gives_what_it_holds(film, tmp_path, caplog, keep, said, found):
    whole = write_tar(tmp_path / "a.tar", {"1.mp4": film, "2.mp4": film}).read_bytes()
    end = whole.rstrip(b"\0")
    end = end + bytes(-len(end) % 512)
    (tmp_path / "a.tar").write_bytes(end if keep == -10240 else end[: keep + 10000])
    assert names(tmp_path / "a.tar") == found
    assert caplog.messages == [f"{tmp_path}/a.tar: {said}"]


def test_damage_in_the_middle_of_a_tar(film, tmp_path, caplog):
    tar = write_tar(tmp_path / "a.tar", {"1.mp4": film, "2.mp4": film, "3.mp4": film})
    first, second, _ = (video.path for video in find_videos([tar]))
    data = bytearray(tar.read_bytes())
    data[second.offset - 512] ^= 1
    tar.write_bytes(data)
    assert names(tar) == ["1.mp4"]
    assert caplog.messages == [f"{tar}: is damaged at byte {second.offset - 512}; the video before that is used"]
    mark = second.offset - 512
    data[mark : mark + 1024] = bytes(1024)
    tar.write_bytes(data)
    assert names(tar) == ["1.mp4"]
    assert caplog.messages[1:] == [f"{tar}: goes on after its end mark at byte {mark}: it is damaged, or several tars "
                                   "in one file; the video before that is used"]
    tar.write_bytes(b"no tar at all" * 1000)
    caplog.clear()
    with pytest.raises(EruvError, match=r"a.tar: is not a sound tar \([^()]*\)$"):
        find_videos([tar])
    (tmp_path / "b.tar").write_bytes(b"nor this" * 1000)
    with pytest.raises(EruvError, match=r"a.tar: is not a sound tar .* \(and 1 more\)$"):
        find_videos([tmp_path])
    assert not caplog.messages  # it is said once
    assert not first.exists() and Place(tar, "x", 12998, 2).exists() and not Place(tar, "x", 12999, 2).exists()


def test_the_list_is_made_once(film, tmp_path, monkeypatch):
    tar, kept = write_tar(tmp_path / "a.tar", {"1.mp4": film}), tmp_path / "kept"
    read = []
    read_headers = tar_module.read_headers
    monkeypatch.setattr(tar_module, "read_headers", lambda tar: read.append(tar) or read_headers(tar))

    def found():
        lists = TarLists(kept)
        videos = find_videos([tar], lists)
        lists.save()
        return [video.name for video in videos], len(read)

    assert found() == (["1.mp4"], 1) and not list(tmp_path.glob("*.json"))
    assert found() == (["1.mp4"], 1)
    write_tar(tar, {"1.mp4": film, "2.mp4": film})
    assert found() == (["1.mp4", "2.mp4"], 2)
    (listed,) = kept.iterdir()
    for damage in ("", "[]", json.dumps([json.loads(listed.read_text())[0], [["a.mp4", "x", 1]], ""])):
        listed.write_text(damage)
        read.clear()
        assert found() == (["1.mp4", "2.mp4"], 1)


def test_a_place_is_told_by_its_text(tmp_path):
    for member in ("a/b.mp4", "50%: a::b.mp4", "line\nbreak.mp4"):
        place = Place(tmp_path / "odd::1+2/x.tar", member, 512, 99)
        assert locate(str(place)) == place
        assert unplaced(str(place)) == unplaced(str(Place(place.file, member, 1, 2))) != str(place)
    assert locate("a.mp4") == Path("a.mp4") and unplaced("/a.mp4") == "/a.mp4"


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_frames_of_a_member_are_those_of_the_file(tmp_path, suffix):
    film = write_video(tmp_path / f"film.{suffix}", frames=40, gop=8, size=(64, 96))
    tar = write_tar(tmp_path / "a, b:c.tar", {"x/other.txt": b"1" * 700, f"x/film.{suffix}": film, "y.mp4": b"end"})
    (place,) = (video.path for video in find_videos([tar]) if video.name != "y.mp4")
    (of_file, facts), (of_member, same) = index_video(film), index_video(place)
    assert facts == same and np.array_equal(of_file.pts, of_member.pts) and np.array_equal(of_file.key, of_member.key)
    assert suffix != "mp4" or np.array_equal(of_file.offset, of_member.offset)
    reader, wanted = FrameReader(), [3, 17, 18, 39]
    pictures = reader.read(place, of_member, wanted, 128, 171)
    assert read_numbers(pictures, (0, 0)) == wanted
    assert np.array_equal(pictures, FrameReader().read(film, of_file, wanted, 128, 171))
    assert (cut := reader.slice(place, of_member, wanted)) is None or cut.data == FrameReader().slice(
        film, of_file, wanted).data
    reader.close()
    data = film.read_bytes()
    assert read_ranges(place, [(0, 10), (100, 50), (len(data) - 4, 10), (len(data) + 1, 5)]) == [
        data[:10], data[100:150], data[-4:], b""]
    assert content_of(place) == content_of(film) and same_content(str(place), str(film))
    with open_location(place) as file:
        assert file.read() == film.read_bytes() and file.read(1) == b""
        file.seek(-4, 2)
        assert file.read(10) == film.read_bytes()[-4:]
