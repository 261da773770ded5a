"""A DATASET in a store: an HTTP server and S3, both on this machine; the same clips as from the folder it is a copy of,
and what is said, and what goes on, if the store fails, refuses or has something else."""

import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from numbered import PACKS
from s3 import s3_server
from store import Store

from eruv_dali import RelationLoader
from eruv_dali.dataset import Dataset, fetched, remote_pack
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.answers import held_out_answers
from eruv_dali.loader import ClipLoader
from eruv_dali.prepare import prepare
from eruv_dali.prepare.convert import convert
from eruv_dali.pretext.loader import PretextLoader
from eruv_dali.pretrain.run import pretrain
from eruv_dali.train.config import load_config
from eruv_dali.video import remote, remote_cache, remote_store

pytest.importorskip("aiohttp")
SMALL = 1 << 15  # bytes of a block here, for the films are small
PACKED = [pack for pack in PACKS if pack != "none"]
LONG = [pytest.param(pack, marks=[pytest.mark.slow] * (pack != "video")) for pack in PACKED]
PAIRS = dict(batch_size=4, device="cpu", threads=2, pairs_per_epoch=12, seed=7)


def forget():
    """As in a new process."""
    for known in (remote_store._known, remote_store._failed, remote_store._looked, remote_store._changed,
                  remote_store._idle, remote_store._in_a_row):
        known.clear()


def files_of(folder: Path) -> dict[str, bytes]:
    """What is copied to a store."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.parent.name != "records"}


@pytest.fixture
def store(tmp_path, monkeypatch):
    for module, name, value in ((remote, "BLOCK", SMALL), (remote_pack, "BLOCK", SMALL), (remote_pack, "GAP", SMALL),
                                (remote_store, "FIRST_WAIT", 0.01), (remote_store, "LONGEST_WAIT", 0.05),
                                (remote_store, "LOOK_EVERY", 0.0)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setenv("ERUV_REMOTE_CACHE", str(tmp_path / "cache"))
    forget()
    store = Store()
    yield store
    store.close()


def serve(store, folder: Path) -> str:
    store.objects = {f"my/set/{name}": content for name, content in files_of(folder).items()}
    return f"{store.url}/my/set"


def epoch(source, **options) -> list:
    """The batches of an epoch: bytes of the clips, labels, and where they came from."""
    with RelationLoader(source, **{**PAIRS, **options}) as loader:
        return [(batch.clips.numpy().tobytes(), batch.relation.tolist(), batch.info) for batch in loader]


@pytest.mark.parametrize("pack", LONG)
def test_the_same_clips_from_a_web_server(store, datasets, pack):
    url, there = serve(store, datasets[pack]), epoch(datasets[pack])
    assert epoch(url) == there
    size = sum(len(content) for name, content in store.objects.items() if "/pack/" in name)
    asked, sent = len(store.asked), store.sent
    forget()
    assert epoch(f"{url}/") == there  # tables and blocks are kept
    assert [method for method, *_ in store.asked[asked:]].count("GET") == 1 and store.sent - sent < 2000  # the seal
    with ClipLoader(url, batch_size=8, device="cpu") as remote_clips, ClipLoader(
            datasets[pack], batch_size=8, device="cpu") as clips:
        assert remote_clips.classes == clips.classes and len(remote_clips) == len(clips)
        assert all((one.clips == other.clips).all() and one.info == other.info
                   for one, other in zip(remote_clips, clips, strict=True))
    assert size > 0 and not [name for _, name, *_ in store.asked if "records" in name]


def test_many_requests_are_under_way(store, datasets):
    """Each takes as long as the store is away: clips of many small batches are asked for at once."""
    url, under_way, seen, enough = serve(store, datasets["raw"]), set(), [], threading.Event()

    def hold(method, name, number):
        if method == "GET" and "/pack/" in name and len(seen) < 1000:
            under_way.add(number)
            seen.append(len(under_way))
            if len(under_way) >= 12:
                enough.set()
            enough.wait(1)
            under_way.discard(number)

    store.mischief = hold
    epoch(url, batch_size=1, pairs_per_epoch=24)
    assert max(seen) >= 12


def test_without_a_pack_the_videos_are_read_where_the_tables_say(store, videos, tmp_path):
    films = sorted(videos.rglob("h264*.mp4"))[:3]
    store.objects = {f"films/{film.name}": film.read_bytes() for film in films}
    prepare([f"{store.url}/films/{film.name}" for film in films], tmp_path / "set", device="cpu", pack="none",
            workers=1)
    there = epoch(tmp_path / "set", relations=("CS", "CD", "CR"))
    store.objects |= {f"my/set/{name}": content for name, content in files_of(tmp_path / "set").items()}
    forget()
    assert epoch(f"{store.url}/my/set", relations=("CS", "CD", "CR")) == there


def test_only_what_the_clips_need_is_read(store, datasets):
    url = serve(store, datasets["raw"])
    with ClipLoader([("long/a.mp4", 100, 0)], dataset=url, device="cpu", clip_length=8) as loader:
        before = store.sent
        (batch,) = loader
    assert [*batch.info[0].frames] == [*range(100, 108)]
    frame = 128 * 171 * 3
    assert 8 * frame <= store.sent - before < 8 * frame + 2 * SMALL
    asked = [(begin, end) for method, name, begin, end in store.asked if method == "GET" and "pack" in name]
    assert len(asked) <= -(-8 * frame // (remote.MOST * SMALL)) + 1  # neighbouring blocks in one request


def test_a_run_that_was_trained_on_it_is_shown(store, datasets, tmp_path):
    """`visualize pairs` and `training` find the DATASET where the run's configuration says, or --data."""
    url = serve(store, datasets["raw"])
    words = [f"data.dataset={url}", "device=cpu", "data.crop=40", "data.batch_size=2", "data.val_pairs=4",
             "data.pairs_per_epoch=4", "model.width=4", "model.backbone=r3d", "optim.epochs=1"]
    pretrain(load_config(None, words), Dataset(url), tmp_path / "run")
    forget()
    here = held_out_answers(tmp_path / "run", data=datasets["raw"], device="cpu").answers
    for there in (held_out_answers(tmp_path / "run", device="cpu").answers,
                  held_out_answers(tmp_path / "run", data=url, device="cpu").answers):
        assert [one.info for one in there] == [one.info for one in here]
        assert all(np.array_equal(one.clips_KTHWC, two.clips_KTHWC) for one, two in zip(there, here, strict=True))


def test_resuming_and_listed_clips(store, datasets):
    url = serve(store, datasets["video"])
    with PretextLoader(url, "vcop", batch_size=4, device="cpu", samples_per_epoch=20, seed=3) as loader, PretextLoader(
            datasets["video"], "vcop", batch_size=4, device="cpu", samples_per_epoch=20, seed=3) as local:
        for number, _ in enumerate(loader):
            if number == 1:
                break
        local.load_state_dict(loader.state_dict())
        rest = [batch.clips for batch in local]
        loader.load_state_dict(loader.state_dict())
        assert len(rest) == 3 and all((batch.clips == other).all() for batch, other in zip(loader, rest, strict=True))


@pytest.mark.parametrize("mischief", [503, "cut", "short", "slow"])
def test_what_fails_is_tried_again(store, datasets, mischief):
    url = serve(store, datasets["video"])
    store.mischief = lambda *request: mischief if store.asked.count(store.asked[-1]) < 3 else None  # twice each
    assert epoch(url) == epoch(datasets["video"])


@pytest.fixture
def two_files(datasets, tmp_path):
    """Makes a DATASET of this pack with a file of its own for the last video's frames, and the name of that video."""
    def make(pack: str) -> tuple[Path, str]:
        import json

        out = shutil.copytree(datasets[pack], tmp_path / "two")
        from eruv_dali.dataset.seal import seal_dataset
        from eruv_dali.dataset.video_table import write_videos

        videos = json.loads((out / "videos.json").read_text())
        name = "long/b.mp4"
        held = videos[name]["pack"]
        shutil.copy(out / "pack" / held, out / "pack" / "frames-00009.bin")
        videos[name]["pack"] = "frames-00009.bin"
        write_videos(out, videos)
        seal_dataset(out, (out / "dataset.json").read_text())
        return out, name

    return make


@pytest.mark.parametrize("pack", LONG)
@pytest.mark.parametrize("mischief, said", [
    (403, r"access is refused \(HTTP 403 .*\); check the credentials"), (404, "there is no such object"),
    (500, r"cannot be read \(HTTP 500 .*; tried 6 times\)"), ("changed", "has changed while it was read; run again")])
def test_a_bad_object_costs_its_clips_and_not_the_epoch(store, two_files, pack, mischief, said, caplog):
    out, lost = two_files(pack)
    url, bad = serve(store, out), "my/set/pack/frames-00009.bin"
    relations = dict(relations=("CS", "CR", "PI"), pairs_per_epoch=40)
    with RelationLoader(url, **{**PAIRS, **relations}) as loader:
        if mischief == "changed":
            store.objects[bad] = store.objects[bad][::-1]
        else:
            store.mischief = lambda method, name, number: mischief if name == bad else None
        batches = [*loader]
        stats = loader.stats()
    assert sum(len(batch.clips) for batch in batches) == 40 and stats["replaced"] > 0
    assert lost not in {clip.video for batch in batches for pair in batch.info for clip in pair.clips}
    assert re.search(rf"{lost}: {url}/pack/frames-00009.bin: {said}; another clip takes its place", caplog.text)


def test_damaged_bytes_are_not_shown(store, two_files, caplog):
    out, lost = two_files("video")
    url, bad = serve(store, out), "my/set/pack/frames-00009.bin"
    store.objects[bad] = bytes(len(store.objects[bad]))
    with RelationLoader(url, **{**PAIRS, "relations": ("CS", "CR", "PI")}) as loader:
        assert lost not in {clip.video for batch in loader for pair in batch.info for clip in pair.clips}
    assert re.search(r"wrong checksum in pack/frames-00009.bin\); another clip", caplog.text)


@pytest.mark.parametrize("mischief, at, said", [
    (404, "dataset.json", r"{url}: no DATASET here \(no dataset.json\); make one with eruv_dali.prepare"),
    (403, "dataset.json", r"{url}/dataset.json: access is refused \(HTTP 403 .*\); check the credentials"),
    (404, "seal.json", "{url}/seal.json: is missing; copy the whole DATASET there again"),
    (404, "frames.npy", "{url}/frames.npy: is missing; copy the whole DATASET there again"),
    (500, "segments.npy", r"{url}/segments.npy: cannot be read \(HTTP 500 .*; tried 4 times\)"),
    (404, "pack/frames-00000.bin", "{url}/pack/frames-00000.bin: there is no such object"),
])
def test_what_cannot_be_had_is_one_line(store, datasets, tmp_path, mischief, at, said):
    url = serve(store, datasets["video"])
    store.mischief = lambda method, name, number: mischief if name == f"my/set/{at}" else None
    with pytest.raises(EruvError, match="^" + said.format(url=url)) as error:
        RelationLoader(url, **PAIRS)
    assert "\n" not in str(error.value)
    store.mischief = lambda *request: None
    forget()
    assert len(epoch(url)) == 3


def test_a_server_without_ranges(store, datasets):
    url = serve(store, datasets["video"])
    store.ranges = False
    with pytest.raises(EruvError, match=f"^{url}/.*: the server refuses to send parts of it; download it$"):
        RelationLoader(url, **PAIRS)


@pytest.mark.parametrize("name, said", [
    ("frames.npy", "{url}/frames.npy: damaged DATASET (its checksum is wrong); copy it there again"),
    ("videos.json", "{url}/videos.json: damaged DATASET (its checksum is wrong); copy it there again"),
    ("pack/frames-00000.bin", "{url}/pack/frames-00000.bin: has "),
    ("seal.json", "{url}/seal.json: damaged DATASET"),
])
def test_damage_is_one_line_with_the_url(store, datasets, name, said):
    url = serve(store, datasets["video"])
    content = store.objects[f"my/set/{name}"]
    store.objects[f"my/set/{name}"] = content[:-10] + (b"" if name.startswith("pack") else b"\0" * 10)
    with pytest.raises(EruvError, match="^" + re.escape(said.format(url=url))):
        RelationLoader(url, **PAIRS)


def test_a_changed_dataset_is_fetched_again(store, datasets, undisturbed):
    url = serve(store, datasets["video"])
    names = [video.name for video in Dataset(url).videos]
    serve(store, undisturbed["video"])
    other = Dataset(url)
    assert [video.name for video in other.videos] != names
    assert len([*remote_cache.folder().glob("*/seal.json")]) == 2
    assert epoch(url, relations=("CS", "CR")) == epoch(undisturbed["video"], relations=("CS", "CR"))


def test_a_dataset_that_changes_while_its_tables_are_fetched(store, datasets, undisturbed):
    url = serve(store, datasets["video"])

    def mischief(method, name, number):
        if method == "GET" and name.endswith("videos.json"):
            store.objects["my/set/segments.csv"] = store.objects["my/set/segments.csv"] + b"\n"

    store.mischief = mischief
    with pytest.raises(EruvError, match=f"^{url}.*: has changed while it was read; run again$"):
        Dataset(url)
    assert not [*remote_cache.folder().glob("*/seal.json")]
    store.mischief = lambda *request: None
    assert Dataset(url).segments.size


def test_edited_tables_are_read_as_they_are_there(store, datasets):
    url = serve(store, datasets["video"])
    lines = store.objects["my/set/segments.csv"].splitlines(keepends=True)
    store.objects["my/set/segments.csv"] = b"".join(lines[:-2])
    assert len(Dataset(url).segments) == len(lines) - 3
    store.objects["my/set/segments.csv"] = b"".join(lines[:-1]) + b"1,nosuch.mp4,0,0,50\n"
    with pytest.raises(EruvError, match=f"^{url}/segments.csv: line {len(lines)}: video 'nosuch.mp4' is not in this"):
        Dataset(url)


def test_the_cache_is_bounded(store, datasets, monkeypatch):
    url = serve(store, datasets["jpeg"])
    needed = sum(len(content) for name, content in store.objects.items() if "/pack/" not in name)
    monkeypatch.setenv("ERUV_REMOTE_CACHE_GB", str(1.5 * needed / 1e9))
    with pytest.raises(EruvError, match=f"^{url}: its tables take .* GB of the cache's .*; set ERUV_REMOTE_CACHE_GB"):
        Dataset(url)
    most = 4 * needed + 1_000_000
    monkeypatch.setenv("ERUV_REMOTE_CACHE_GB", str(most / 1e9))
    assert epoch(url) == epoch(datasets["jpeg"])
    assert 0.5 * most < sum(path.stat().st_size for path in remote_cache.folder().rglob("*")
               if path.is_file()) < most + most // 16 + 40 * SMALL


def test_a_copy_that_was_cut_short_is_fetched_again(store, datasets):
    url = serve(store, datasets["video"])
    Dataset(url)
    (copy,) = [path.parent for path in remote_cache.folder().glob("*/seal.json")]
    with open(copy / "frames.npy", "ab") as file:
        file.truncate(1000)
    assert len(Dataset(url).frames_of(0))
    shutil.rmtree(copy)
    Dataset(url)


def test_no_name_leaves_the_copy(store, datasets):
    url = serve(store, datasets["video"])
    store.objects["my/set/seal.json"] = store.objects["my/set/seal.json"].replace(b'"frames.npy"', b'"../frames.npy"')
    with pytest.raises(EruvError, match="frames.npy"):
        Dataset(url)
    assert not [*remote_cache.folder().glob("frames.npy")]
    assert all(not fetched.TABLE.fullmatch(name) for name in ("../a.npy", "/etc/a.csv", "..", "pack/a.bin", "a/b.json"))


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    monkeypatch.setattr(remote_store, "FIRST_WAIT", 0.01)
    forget()
    with s3_server(monkeypatch, tmp_path / "cache") as client:
        client.create_bucket(Bucket="sets")
        yield client


def upload(client, folder: Path) -> str:
    for name, content in files_of(folder).items():
        client.put_object(Bucket="sets", Key=f"my/set/{name}", Body=content)
    return "s3://sets/my/set"


@pytest.mark.slow
@pytest.mark.parametrize("pack", PACKED)
def test_the_same_clips_from_s3(bucket, datasets, pack):
    url, there, asked = upload(bucket, datasets[pack]), epoch(datasets[pack]), []
    bucket.mischief.append(lambda method, path, part: asked.append(path))
    assert epoch(url) == there
    first = len(asked)
    forget()
    assert epoch(url) == there and len(asked) - first < 20

    def at_first(*request):
        """Each request fails twice."""
        asked.append(request)
        return ("", "503 Slow Down", "500 Internal Error", "")[min(asked.count(request), 3)]

    shutil.rmtree(os.environ["ERUV_REMOTE_CACHE"])
    forget()
    bucket.mischief.append(at_first)
    assert epoch(url) == there


@pytest.mark.slow
@pytest.mark.parametrize("mischief, said", [
    ("403 Forbidden", r"access is refused \(.*\); check the credentials"),
    ("changed", "has changed while it was read")])
def test_an_object_of_s3_that_goes_bad_in_mid_epoch(bucket, two_files, mischief, said, caplog):
    out, lost = two_files("video")
    url, bad = upload(bucket, out), "my/set/pack/frames-00009.bin"
    with RelationLoader(url, **{**PAIRS, "relations": ("CS", "CR", "PI"), "pairs_per_epoch": 40}) as loader:
        if mischief == "changed":
            bucket.put_object(Bucket="sets", Key=bad, Body=(out / "pack/frames-00009.bin").read_bytes()[::-1])
        else:
            bucket.mischief.append(lambda method, path, part: mischief if path.endswith("frames-00009.bin") else None)
        batches = [*loader]
    assert sum(len(batch.clips) for batch in batches) == 40
    assert lost not in {clip.video for batch in batches for pair in batch.info for clip in pair.clips}
    assert re.search(rf"{lost}: {url}/pack/frames-00009.bin: {said}", caplog.text)


@pytest.mark.slow
def test_wrong_credentials_for_s3(bucket, datasets):
    url = upload(bucket, datasets["video"])
    bucket.mischief.append(lambda method, path, part: "403 Forbidden")
    with pytest.raises(EruvError, match=r"^s3://sets/my/set/dataset.json: access is refused \(.*\); check the cred"):
        ClipLoader(url, device="cpu")
    assert url


def test_a_store_is_not_written_to(tmp_path, datasets, monkeypatch, videos):
    monkeypatch.chdir(tmp_path)
    for call in (lambda: prepare([videos], "s3://sets/new", device="cpu"),
                 lambda: convert(datasets["raw"], "s3://sets/new", pack="video")):
        with pytest.raises(EruvError, match="^s3://sets/new: a DATASET is written to a folder of this machine; .*copy"):
            call()
    with pytest.raises(EruvError, match="^s3://sets/old: the DATASET to convert must be a folder of this machine"):
        convert("s3://sets/old", tmp_path / "new", pack="video")
    assert not [*tmp_path.iterdir()]


def test_runs_of_blocks():
    assert [*remote._runs([1, 2, 3, 7, 8, 20], 0, 100)] == [(1, 4), (7, 9), (20, 21)]
    assert [*remote._runs([1, 2, 3, 7, 8, 20], 3, 100)] == [(1, 9), (20, 21)]
    assert [*remote._runs([*range(10)], 0, 4)] == [(0, 4), (4, 8), (8, 10)]
    assert [*remote._runs([0, 3, 4], 5, 4)] == [(0, 4), (4, 5)] and not [*remote._runs([], 1, 1)]
    assert np.sum([after - first for first, after in remote._runs([*range(100)], 2, 7)]) == 100
