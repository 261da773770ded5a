"""Videos in a store, here a real HTTP server: what is read of them, what is tried again, what is said if it fails."""

import re
import socket

import numpy as np
import pytest
from numbered import read_numbers, write_video
from store import Store
from tars import write_tar

from eruv_dali.dataset.indexed import IndexedVideos
from eruv_dali.errors import EruvError
from eruv_dali.loader import ClipLoader
from eruv_dali.video import remote, remote_cache, remote_store
from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.find import find_videos
from eruv_dali.video.index import index_video
from eruv_dali.video.open import Unreachable
from eruv_dali.video.place import Place, look_again, open_location
from eruv_dali.video.reader import FrameNotFound, FrameReader
from eruv_dali.video.remote_store import OutOfReach

pytest.importorskip("aiohttp")
SMALL = 4096  # bytes of a block here, for the films are small


@pytest.fixture(scope="module")
def film(made_once):
    return made_once("film_for_stores", lambda folder: write_video(folder / "film.mp4", frames=240, gop=12,
                                                                   size=(120, 160))) / "film.mp4"


@pytest.fixture
def store(film, tmp_path, monkeypatch):
    for module, name, value in ((remote, "BLOCK", SMALL), (remote_store, "FIRST_WAIT", 0.01),
                                (remote_store, "SILENCE", 0.5), (remote_store, "LOOK_EVERY", 0.0)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setenv("ERUV_REMOTE_CACHE", str(tmp_path / "cache"))
    store = Store()
    store.objects["a/film.mp4"] = film.read_bytes()
    yield store
    store.close()


def forget():
    """As in a new process."""
    for known in (remote_store._known, remote_store._failed, remote_store._looked, remote_store._changed):
        known.clear()
    remote_store._idle.clear()


def reads_well(store, wanted=(100, 131), name="a/film.mp4"):
    place = Place(f"{store.url}/{name}")
    index, facts = index_video(place)
    assert len(index.pts) == 240 and facts.width == 160
    assert read_numbers(FrameReader().read(place, index, list(wanted), 128, 171), (0, 0)) == list(wanted)


def test_only_the_needed_ranges_are_read(store, film):
    place = Place(f"{store.url}/a/film.mp4")
    index, _ = index_video(place)
    header = store.sent
    assert header < film.stat().st_size / 5 and {method for method, *_ in store.asked} == {"HEAD", "GET"}
    assert read_numbers(FrameReader().read(place, index, [130, 131], 128, 171), (0, 0)) == [130, 131]
    needed = int(index.size[120:132].sum())
    assert needed <= store.sent - header < 1.2 * needed + 4 * SMALL
    before = len(store.asked)
    FrameReader().read(place, index, [121, 129], 128, 171)
    forget()
    index_video(place)
    assert [method for method, *_ in store.asked[before:]] == ["HEAD"]


@pytest.mark.parametrize("mischief", [503, 429, "cut", "short", "stall", "slow"])
def test_what_fails_is_tried_again(store, film, mischief):
    store.mischief = lambda method, name, number: mischief if method == "GET" and number % 3 == 2 else None
    whole = film.read_bytes()
    assert remote.read_remote(f"{store.url}/a/film.mp4", 0, len(whole)) == whole
    reads_well(store)
    assert len(store.asked) > 3


@pytest.mark.parametrize("mischief, said", [
    (404, "there is no such object"), (403, r"access is refused \(HTTP 403 .*\); check the credentials"),
    (500, r"cannot be read \(HTTP 500 .*; tried 4 times\)"), ("cut", r"cannot be read \(.*; tried 4 times\)")])
def test_what_cannot_be_read_is_said_in_one_line(store, film, mischief, said):
    url = f"{store.url}/a/film.mp4"
    store.mischief = lambda method, name, number: mischief if name == "a/film.mp4" and (
        method == "GET" or mischief != "cut") else None
    with pytest.raises(Unreachable, match=f"^{said}$"):
        index_video(Place(url))
    store.objects["b.mp4"] = film.read_bytes()
    videos = find_videos([url, f"{store.url}/b.mp4"])
    indexed = IndexedVideos(videos, (128, 171), 1, skip_unreadable=True)
    assert [video.name for video in indexed.videos] == ["b.mp4"] and list(map(str, indexed.skipped)) == [url]
    with pytest.raises(EruvError, match=f"^{re.escape(url)}: {said}; leave it out$"):
        IndexedVideos(videos, (128, 171), 1)


def test_a_store_that_is_not_there(monkeypatch, store):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/videos/"
    with pytest.raises(EruvError, match=f"^{url}: cannot be read .*Cannot connect.*tried 4 times"):
        find_videos([url])
    with pytest.raises(EruvError, match="^nosuch://x/: .*nosuch"):
        find_videos(["nosuch://x/"])


def test_a_server_without_ranges(store):
    store.ranges = False
    with pytest.raises(Unreachable, match="^the server refuses to send parts of it; download it$"):
        reads_well(store)
    forget()
    store.lengths = False
    with pytest.raises(Unreachable, match="^its size is not told by the server"):
        reads_well(store)


@pytest.mark.parametrize("conditions, etags", [(True, True), (False, True)])
def test_an_object_that_changes_while_it_is_read(store, film, monkeypatch, conditions, etags):
    if conditions:
        monkeypatch.setattr(remote_store, "LOOK_EVERY", 1e9)  # so that only the server can tell
    store.conditions, store.etags = conditions, etags
    place = Place(f"{store.url}/a/film.mp4")
    index, _ = index_video(place)
    store.objects["a/film.mp4"] = film.read_bytes()[::-1]
    with pytest.raises(FrameNotFound, match="has changed while it was read; run again"):
        FrameReader().read(place, index, [130], 128, 171)
    with pytest.raises(OutOfReach, match="has changed while it was read"):
        place.stat()
    store.objects["a/film.mp4"] = film.read_bytes() + b"\0\0\0\x08free"
    look_again([place])
    reads_well(store)


def test_a_video_that_can_no_longer_be_read_is_not_taken_for_a_damaged_one(store, film):
    size = film.stat().st_size
    store.mischief = lambda method, name, number: 403 if method == "GET" and (
        size // 2 < store.asked[-1][2] < size - 3 * SMALL) else None
    decoded = []
    with pytest.raises(Unreachable, match="access is refused"):
        for chunk in decode_pictures(Place(f"{store.url}/a/film.mp4"), [(32, 32)]):
            decoded += chunk.pts.tolist()
    assert 0 < len(decoded) < 240


def test_blocks_are_bounded_and_checked(store, film, tmp_path, monkeypatch):
    kept = tmp_path / "cache"
    monkeypatch.setenv("ERUV_REMOTE_CACHE_GB", str(10 * SMALL / 1e9))
    with open_location(Place(f"{store.url}/a/film.mp4")) as file:
        assert file.read() == film.read_bytes()
    assert 0 < sum(path.stat().st_size for path in kept.rglob("*") if path.is_file()) < 11 * (SMALL + 4)
    monkeypatch.setenv("ERUV_REMOTE_CACHE_GB", "1")
    reads_well(store)
    blocks = [path for path in kept.rglob("*") if path.is_file()]
    for path in blocks:
        path.write_bytes(path.read_bytes()[:-5] + b"12345")
    before = store.sent
    reads_well(store)
    assert store.sent - before > SMALL * len(blocks) // 3
    monkeypatch.setenv("ERUV_REMOTE_CACHE_GB", "many")
    with pytest.raises(EruvError, match="ERUV_REMOTE_CACHE_GB is 'many'"):
        remote_cache.bound()


def test_an_object_without_a_version_is_not_kept(store, tmp_path):
    store.etags = False
    reads_well(store)
    assert not (tmp_path / "cache").exists()


def test_clips_that_can_no_longer_be_had_are_replaced(store, film, caplog):
    store.objects["b.mp4"] = film.read_bytes()
    with ClipLoader([f"{store.url}/a/film.mp4", f"{store.url}/b.mp4"], batch_size=6, device="cpu") as loader:
        store.mischief = lambda method, name, number: 403 if name == "b.mp4" else None
        found = [info for batch in loader for info in batch.info]
        assert len(found) == 30 and {info.video for info in found} == {"film.mp4"} and loader.stats()["replaced"] >= 15
    assert f"{store.url}/b.mp4: frames" in caplog.text and "access is refused (HTTP 403" in caplog.text


def test_folders_tars_and_clips_of_a_store(store, film, tmp_path):
    tar = write_tar(tmp_path / "s.tar", {"x/1.json": b"{}", "x/1.mp4": film, "x/2.mp4": film})
    store.objects |= {"b/s.tar": tar.read_bytes(), "b/c/0%20.mp4": film.read_bytes(), "b/notes.txt": b"no video"}
    videos = find_videos([f"{store.url}/b/"])
    assert [video.name for video in videos] == ["c/0 .mp4", "x/1.mp4", "x/2.mp4"]
    (of_tar,) = (video.path for video in videos if video.name == "x/2.mp4")
    index, _ = index_video(of_tar)
    of_file, _ = index_video(film)
    assert np.array_equal(index.offset, of_file.offset)
    store.asked.clear()
    store.sent = 0
    with ClipLoader([(str(of_tar), 60, 7), (f"{store.url}/a/film.mp4", 3, 8)], batch_size=2, device="cpu") as loader:
        (batch,) = loader
    assert batch.label.tolist() == [7, 8]
    assert [read_numbers((clip.permute(1, 2, 3, 0) * 255).numpy(), (8, 29))[0] for clip in batch.clips] == [60, 3]
    assert store.sent < film.stat().st_size / 2
    cut = tar.read_bytes()[: film.stat().st_size + 9000]
    store.objects["b/s.tar"] = cut
    assert [video.name for video in find_videos([f"{store.url}/b/"])] == ["c/0 .mp4", "x/1.mp4"]
