"""prepare in shards: run side by side, twice, and killed, they end in what a single run writes."""

import errno
import fcntl
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from alike import same_dataset
from numbered import write_video
from prepared import draw_long, table, while_decoding
from running import refused, with_our_path

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.records import read_record, record_path, write_record
from eruv_dali.errors import EruvError
from eruv_dali.prepare import prepare, shards
from eruv_dali.prepare.__main__ import main
from eruv_dali.prepare.shards import Shard, in_ranges, merge_shards, named_shard, prepare_shard, shard_of

OPTIONS = dict(device="cpu", workers=1, pack="raw")
WORDS = ("--device", "cpu", "--workers", "1", "--pack", "raw")
SHARDS = {"a.mp4": 1, "b.mp4": 0, "d.mp4": 2, "g.mp4": 1, "no.mp4": 1}  # of three


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    return draw_long(tmp_path_factory.mktemp("films"), "a", "b", "d", "g")


@pytest.fixture(scope="module")
def whole(films, tmp_path_factory):
    """What a single run writes."""
    return prepare([films], tmp_path_factory.mktemp("whole"), **OPTIONS).folder


def holding(out):
    """Each file with its time of change and size, but the folder of shards."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in out.rglob("*")
            if path.is_file() and path.parent.name != "shards"}


def test_which_shard():
    """For ever: shards of one DATASET may be run by different versions."""
    assert {name: shard_of(name, 3) for name in SHARDS} == SHARDS
    counts = [0] * 16
    for number in range(16_000):
        counts[shard_of(f"{number}.mp4", 16)] += 1
    assert min(counts) > 900 and max(counts) < 1100
    assert in_ranges({3, 7, 0, 1, 2, 9, 8}) == "0-3,7-9" and in_ranges([5]) == "5"


def test_names_of_shards():
    def slurm(task, count, least, **more):
        return named_shard("slurm", {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in (
            ("ID", task), ("COUNT", count), ("MIN", least), *more.items())})

    assert named_shard("3/16", {}) == Shard(3, 16)
    assert [slurm(task, 3, 1) for task in (1, 2, 3)] == [Shard(n, 3) for n in range(3)]
    assert slurm(8, 4, 0, STEP=4) == Shard(2, 4)
    for text, wrong in (("16/16", "shard 16/16 must be one of 0/16 to 15/16"), ("1", "neither NUMBER/COUNT"),
                        ("-1/4", "neither NUMBER/COUNT"), ("0/0", "shard 0/0: there must be at least 1"),
                        ("slurm", "ID is not set")):
        with pytest.raises(EruvError, match=wrong):
            named_shard(text, {})
    with pytest.raises(EruvError, match="task 7 is not one of 2 in a row from 3"):  # --array=3,7
        slurm(7, 2, 3)
    with pytest.raises(EruvError, match="COUNT is 'x', not a whole number"):
        slurm(0, "x", 0)


# The whole run of a shard is killed, once, over the frames of victim b.mp4.
KILL_ITS_RUN = """
if path.name == "b.mp4" and not os.path.exists(os.environ["KILLED"]):
    open(os.environ["KILLED"], "x").close()
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(100)
"""


@pytest.mark.slow
def test_side_by_side_and_one_killed(films, whole, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    monkeypatch.setenv("KILLED", str(tmp_path / "killed"))
    while_decoding(monkeypatch, tmp_path / "site", KILL_ITS_RUN)

    def start(number):
        return subprocess.Popen([sys.executable, "-m", "eruv_dali.prepare", str(films), "--out", str(out), *WORDS,
                                 "--shard", f"{number}/3"], stderr=subprocess.PIPE, text=True, env=with_our_path())

    runs = [start(number) for number in range(3)]
    said = [run.communicate(timeout=300)[1] for run in runs]
    assert [run.returncode for run in runs] == [-signal.SIGKILL, 0, 0], said
    assert "shard 1/3: 3 of 5 videos, 3 scanned" in " ".join(said[1].split())

    before = holding(out)
    line = refused(monkeypatch, capsys, main, films, "--out", out, *WORDS, "--merge")
    missing = table(out, "shards/missing.csv")
    assert "b.mp4" in [row["video"] for row in missing] and {row["shard"] for row in missing} == {"0"}
    assert line == (f"error: {out}: {len(missing)} of 5 videos are missing, listed in {out}/shards/missing.csv; run "
                    "again these of 3 shards, then --merge: 0")
    assert holding(out) == before and not (out / "dataset.json").exists()

    again = [start(0), start(0), start(2)]  # two at a time of one shard, and one that has ended
    said = [run.communicate(timeout=300)[1] for run in again]
    assert [run.returncode for run in again] == [0, 0, 0] and "0 scanned" in said[2], said
    merge_shards([films], out, **OPTIONS)
    same_dataset(out, whole)
    assert not (out / "shards").exists()
    assert sum(path.stat().st_size for path in (out / "pack").iterdir()) <= 2 * 800 * 128 * 171 * 3


@pytest.fixture(scope="module")
def scanned_once(films, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scanned")
    for number in range(3):
        prepare_shard([films], folder, Shard(number, 3), **OPTIONS)
    return folder


@pytest.fixture
def scanned(scanned_once, tmp_path):
    """A DATASET whose three shards have ended."""
    return shutil.copytree(scanned_once, tmp_path / "out")


def test_merged_and_added_to(films, whole, scanned, tmp_path, capsys):
    before = holding(scanned)
    prepare_shard([films], scanned, Shard(1, 3), **OPTIONS)
    assert holding(scanned) == before  # nothing is done twice
    assert {path.name for path in (scanned / "pack").iterdir()} == {
        "frames-00000.bin", "frames-100000.bin", "frames-200000.bin"}
    with pytest.raises(EruvError, match="was begun in shards; end them with --merge"):
        prepare([films], scanned, **OPTIONS)  # it would cut off what running shards write
    assert holding(scanned) == before
    (scanned / "records" / ".a.npz.1.aside").touch()  # as of a worker killed while it wrote
    merge_shards([films], scanned, **OPTIONS, stats=True)
    same_dataset(scanned, whole)
    assert (scanned / "stats" / "a.mp4.csv").exists()
    capsys.readouterr()
    prepare([films], scanned, **OPTIONS)
    assert "nothing was new or changed" in capsys.readouterr().err
    with pytest.raises(EruvError, match="holds no shards to merge"):
        merge_shards([films], scanned, **OPTIONS)

    write_video(tmp_path / "more" / "z.mp4", frames=60, size=(64, 96))
    last = shard_of("z.mp4", 2)
    prepare_shard([tmp_path / "more"], scanned, Shard(1 - last, 2), **OPTIONS)  # which has no video
    assert (scanned / "dataset.json").exists()
    prepare_shard([tmp_path / "more"], scanned, Shard(last, 2), **OPTIONS)
    with pytest.raises(EruvError, match="holds 4 videos that are not among those given now"):
        merge_shards([tmp_path / "more"], scanned, **OPTIONS)
    dataset = merge_shards([tmp_path / "more"], scanned, **OPTIONS, add=True)
    assert [video.name for video in dataset.videos] == ["a.mp4", "b.mp4", "d.mp4", "g.mp4", "z.mp4"]


def test_what_is_missing(films, scanned, whole, monkeypatch, capsys):
    """A shard that has not ended is run again even if its records are whole; so is one whose record is gone."""
    note = scanned / "shards" / "00002-of-00003.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "done": False}))
    (victim,) = [path for path in (scanned / "records").iterdir()
                 if b"g.mp4" in path.read_bytes().replace(b"\0", b"")]
    victim.unlink()
    assert refused(monkeypatch, capsys, main, films, "--out", scanned, *WORDS, "--merge").endswith(
        "run again these of 3 shards, then --merge: 1-2")
    assert [row["video"] for row in table(scanned, "shards/missing.csv")] == ["g.mp4"]
    note.unlink()
    with pytest.raises(EruvError, match="then --merge: 1-2$"):
        merge_shards([films], scanned, **OPTIONS)
    for number in (1, 2):
        prepare_shard([films], scanned, Shard(number, 3), **OPTIONS)
    merge_shards([films], scanned, **OPTIONS)
    same_dataset(scanned, whole)


@pytest.mark.parametrize("change, said", [
    (dict(pack="video"), "has pack 'raw', now it is 'video'"),
    (dict(min_length=30), "has min_length 48, now it is 30"),
    (dict(frame_size=(64, 64)), "has frame_height 128, now it is 64"),
])
def test_other_settings(films, scanned, change, said):
    before, notes = holding(scanned), sorted((scanned / "shards").iterdir())
    then = [note.read_text() for note in notes]
    for number in (0, 2):
        with pytest.raises(EruvError, match=f"{notes[0]}: this shard {said}; give all shards the same"):
            prepare_shard([films], scanned, Shard(number, 3), **{**OPTIONS, **change})
    with pytest.raises(EruvError, match="has shards 3, now it is 4"):
        prepare_shard([films], scanned, Shard(3, 4), **OPTIONS)
    with pytest.raises(EruvError, match=said.replace("now it", "here it")):
        merge_shards([films], scanned, **{**OPTIONS, **change})
    assert holding(scanned) == before and [note.read_text() for note in notes] == then
    assert sorted((scanned / "shards").iterdir()) == notes


def test_a_try_again_does_not_hold_up_the_merge(films, scanned):
    """A video to be tried again by the next run is rejected until then, as by a single run."""
    record = read_record(record_path(scanned, "a.mp4"))
    write_record(scanned, replace(record.note, reason="killed twice", provisional=True))
    merge_shards([films], scanned, **OPTIONS)
    assert [row["video"] for row in table(scanned, "rejected.csv")] == ["a.mp4", "no.mp4"]
    prepare([films], scanned, **OPTIONS)
    assert [row["video"] for row in table(scanned, "rejected.csv")] == ["no.mp4"]


def test_locks_where_there_are_some_and_none(films, scanned, monkeypatch):
    with open(scanned / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # another shard
        with pytest.raises(EruvError, match="another prepare is working"):
            merge_shards([films], scanned, **OPTIONS)
        prepare_shard([films], scanned, Shard(0, 3), **OPTIONS)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EruvError, match="another prepare is working"):
            prepare_shard([films], scanned, Shard(0, 3), **OPTIONS)

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    prepare_shard([films], scanned, Shard(0, 3), **OPTIONS)
    merge_shards([films], scanned, **OPTIONS)
    with pytest.raises(EruvError, match="No locks available"):
        prepare([films], scanned, **OPTIONS)
    Dataset(scanned).check()


@pytest.mark.parametrize("words, said", [
    (("--shard", "0/2", "--add"), "add is for merging the shards"),
    (("--shard", "0/2", "--export", "edl"), "export is for merging the shards"),
    (("--shard", "0/2", "--split"), "split is for merging the shards"),
    (("--shard", "0/2", "--save-images", "2"), "save-images is for merging the shards"),
    (("--shard", "0/2", "--json-lines"), "json-lines is for merging the shards"),
    (("--shard", "two"), "neither NUMBER/COUNT"),
    (("--merge",), "holds no shards to merge"),
])
def test_refusals(films, tmp_path, monkeypatch, capsys, words, said):
    assert said in refused(monkeypatch, capsys, main, films, "--out", tmp_path / "out", *WORDS, *words)
    assert not (tmp_path / "out").exists()


def test_two_that_begin_at_once_with_different_settings(films, scanned, monkeypatch):
    """Each has looked before the other's note was there: the one that writes later sees it."""
    write, (first, *rest) = shards.write_text, sorted((scanned / "shards").iterdir())
    other = json.loads(first.read_text())
    for note in (first, *rest):
        note.unlink()

    def write_both(path, text):
        other["settings"]["pack"] = "jpeg"
        first.write_text(json.dumps(other))
        write(path, text)

    monkeypatch.setattr(shards, "write_text", write_both)
    with pytest.raises(EruvError, match="has pack 'jpeg', now it is 'raw'"):
        prepare_shard([films], scanned, Shard(2, 3), **OPTIONS)
    assert sorted((scanned / "shards").iterdir()) == [first]
