"""prepare and the loader on videos of a store: an HTTP server that misbehaves, and S3 as moto serves it."""

import os
import time

import pytest
from numbered import numbers, write_video
from prepared import table
from s3 import s3_server
from store import Store
from tars import write_tar

from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.loader import ClipLoader
from eruv_dali.prepare import prepare
from eruv_dali.video import remote_store

pytest.importorskip("aiohttp")
OPTIONS = dict(device="cpu", workers=1, pack="none")


@pytest.fixture(scope="module")
def films(made_once):
    def draw(folder):
        for name, frames in (("a.mp4", 60), ("b.mkv", 70), ("c.mp4", 80)):
            write_video(folder / name, frames=frames, gop=12, size=(64, 96))

    return made_once("films_for_stores", draw)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("ERUV_REMOTE_CACHE", str(tmp_path / "cache"))
    store = Store()
    yield store
    store.close()


def in_order(out):
    with ClipLoader(out, batch_size=4, clip_length=8, device="cpu", threads=1) as loader:
        return all(list(info.frames) == list(numbers(clip)) for batch in loader
                   for clip, info in zip(batch.clips, batch.info, strict=True))


def names(out, name="videos.csv"):
    return [row["video"] for row in table(out, name)]


@pytest.mark.slow
def test_what_cannot_be_had_is_rejected_until_it_can(films, store, tmp_path, caplog):
    film, out = (films / "a.mp4").read_bytes(), tmp_path / "out"
    tar = write_tar(tmp_path / "s.tar", {"x/b.mkv": films / "b.mkv", "x/c.mp4": films / "c.mp4"}).read_bytes()
    store.objects = {"v/a.mp4": film, "v/gone.mp4": film, "v/locked.mp4": film, "v/moves.mp4": film, "v/s.tar": tar}

    def mischief(method, name, number):
        if name == "v/moves.mp4" and method == "GET":
            store.objects[name] = store.objects[name] + b"\0\0\0\x08free"
        return {"v/gone.mp4": 404, "v/locked.mp4": 403}.get(name)

    store.mischief = mischief
    store.conditions = False
    prepare([f"{store.url}/v/", films / "c.mp4"], out, **OPTIONS)
    assert names(out) == ["a.mp4", "c.mp4", "x/b.mkv", "x/c.mp4"] and in_order(out)
    said = {row["video"]: row["reason"] for row in table(out, "rejected.csv")}
    assert said == {
        "gone.mp4": f"{store.url}/v/gone.mp4: there is no such object",
        "locked.mp4": f"{store.url}/v/locked.mp4: access is refused (HTTP 403 Forbidden); check the credentials",
        "moves.mp4": f"{store.url}/v/moves.mp4: has changed while it was read; run again"}
    store.mischief = lambda *request: None
    before = store.sent
    prepare([f"{store.url}/v/", films / "c.mp4"], out, **OPTIONS)
    assert names(out) == ["a.mp4", "c.mp4", "gone.mp4", "locked.mp4", "moves.mp4", "x/b.mkv", "x/c.mp4"]
    assert not names(out, "rejected.csv") and store.sent - before < 3 * len(film) + 6000
    store.mischief = lambda method, name, number: 403 if name == "v/a.mp4" else None
    prepare([f"{store.url}/v/", films / "c.mp4"], out, remove=True, **OPTIONS)
    assert len(names(out)) == 7 and f"{store.url}/v/a.mp4: access is refused" in caplog.text
    store.objects["v/a.mp4"] = (films / "c.mp4").read_bytes()
    store.mischief = lambda *request: None
    with pytest.raises(EruvError, match=f"^{store.url}/v/a.mp4: has changed since prepare"):
        Dataset(out).check()
    store.mischief = lambda method, name, number: 403
    with pytest.raises(EruvError, match=f"^{store.url}/v/a.mp4: access is refused"):
        Dataset(out).check()


@pytest.fixture
def bucket(films, tmp_path, monkeypatch):
    """s3://films/some/ with a.mp4, c.mp4 and s.tar, which holds b.mkv; and the server's client, with `mischief`."""
    with s3_server(monkeypatch, tmp_path / "cache") as client:
        client.create_bucket(Bucket="films")
        write_tar(tmp_path / "s.tar", {"x/b.mkv": films / "b.mkv"})
        for path in (films / "a.mp4", films / "c.mp4", tmp_path / "s.tar"):
            client.upload_file(str(path), "films", f"some/{path.name}")
        yield client


@pytest.mark.slow
def test_a_bucket_of_s3(bucket, films, tmp_path, monkeypatch):
    out, url = tmp_path / "out", "s3://films/some"
    prepare([url], out, **OPTIONS)
    assert names(out) == ["a.mp4", "c.mp4", "x/b.mkv"] and in_order(out) and in_order(url)
    assert [row["path"] for row in table(out, "videos.csv")][:2] == [f"{url}/a.mp4", f"{url}/c.mp4"]
    stamps = {path.name: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    bucket.copy_object(Bucket="films", Key="some/d.mp4", CopySource="films/some/a.mp4")
    bucket.delete_object(Bucket="films", Key="some/a.mp4")
    bucket.upload_file(str(films / "a.mp4"), "films", "some/c.mp4")
    prepare([url], out, **OPTIONS)
    assert names(out) == ["c.mp4", "d.mp4", "x/b.mkv"]
    assert [row["frames"] for row in table(out, "videos.csv")] == ["60", "60", "70"] and len(stamps) == 3
    with pytest.raises(EruvError, match="^s3://nothing/here: (there is no such object|no videos in this folder)"):
        prepare(["s3://nothing/here"], tmp_path / "none", **OPTIONS)
    with pytest.raises(EruvError, match="^s3://films/some/z.mp4.* there is no such object"):
        ClipLoader(["s3://films/some/z.mp4"], device="cpu")


@pytest.mark.slow
def test_s3_that_fails_and_answers_slowly(bucket, tmp_path):
    asked: list[str] = []

    def now_and_then(method, path, part):
        asked.append(path)
        time.sleep(0.3)
        return ("503 Slow Down", "500 Internal Error", None, None)[len(asked) % 4]

    bucket.mischief.append(now_and_then)
    assert in_order("s3://films/some/") and len(asked) > 8
    bucket.mischief.append(lambda method, path, part: "403 Forbidden" if path.endswith("a.mp4") else None)
    out = tmp_path / "out"
    prepare(["s3://films/some/"], out, **OPTIONS)
    assert names(out) == ["c.mp4", "x/b.mkv"]
    (row,) = table(out, "rejected.csv")
    assert row["reason"].startswith("s3://films/some/a.mp4: access is refused (")


@pytest.mark.slow
def test_an_object_of_s3_that_changes_while_it_is_read(bucket, films, monkeypatch):
    monkeypatch.setattr(remote_store, "LOOK_EVERY", 1e9)  # so that only the server can tell
    url = "s3://films/some/c.mp4"
    known = remote_store.status(url, again=True)
    assert len(remote_store.fetch(url, known, 0, 100)) == 100
    bucket.upload_file(str(films / "a.mp4"), "films", "some/c.mp4")
    with pytest.raises(remote_store.OutOfReach, match="has changed while it was read"):
        remote_store.fetch(url, known, 100, 200)


@pytest.mark.slow
def test_without_credentials_for_s3(bucket, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    import fsspec
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    began = time.monotonic()
    with pytest.raises(EruvError, match="^s3://films/some: (no credentials|access is refused)"):
        prepare(["s3://films/some"], tmp_path / "none", **OPTIONS)
    assert time.monotonic() - began < 60 and fsspec


def test_nothing_reached_twice_under_one_name(store, tmp_path):
    """The second is held for a file that has vanished: the name is that of the first, which was no video either."""
    for port, said in ((9, "none of the 1 videos can be used; a.mp4: http://127.0.0.1:9/a.mp4: cannot be read"),
                       (1, "none of the videos given can be found or reached now; check their paths or URLs")):
        with pytest.raises(EruvError, match=said):
            prepare([f"http://127.0.0.1:{port}/a.mp4"], tmp_path / "out", **OPTIONS)
