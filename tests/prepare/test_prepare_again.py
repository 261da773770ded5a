"""prepare on a DATASET that holds videos already: nothing goes that was not asked to go."""

import errno
import json
import os
import pickle
import re
import resource
import shutil
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numbered import read_number, write_video
from prepared import table
from running import run_alone

import eruv_dali.prepare.plan
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.pack_reader import CutShort
from eruv_dali.dataset.records import Identity, Note, read_record
from eruv_dali.errors import EruvError
from eruv_dali.prepare import prepare
from eruv_dali.prepare.plan import VideosNotNamed, _renamed
from eruv_dali.prepare.scan import Job, Scan, Scanner
from eruv_dali.video.content import content_of
from eruv_dali.video.find import Video

OPTIONS = dict(device="cpu", workers=1)


def film(path, frames=60, **kind):
    return write_video(path, frames=frames, size=(64, 96), **kind)


@pytest.fixture
def two(tmp_path) -> tuple[Path, Path, Path]:
    """Folders a (a.mp4, b.mp4, and notes.mp4, which is no video) and b (c.mp4); a is prepared."""
    for name in ("a/a", "a/b", "b/c"):
        film(tmp_path / f"{name}.mp4")
    (tmp_path / "a" / "notes.mp4").write_text("no video")
    prepare([tmp_path / "a"], tmp_path / "out", **OPTIONS)
    return tmp_path / "a", tmp_path / "b", tmp_path / "out"


def rows(out, name="videos.csv"):
    return table(out, name)


def names(out, name="videos.csv"):
    return [row["video"] for row in rows(out, name)]


def state(out):
    """Every file with its content and times."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else sorted(os.listdir(path)))
            for path in [out, *out.rglob("*")]}


def records(out):
    return {path.name: path.stat().st_mtime_ns for path in (out / "records").iterdir()}


def check_pixels(out):
    """Each frame in the pack is what was written, and in a raw pack shows its own number."""
    dataset = Dataset(out)
    dataset.check()
    for number, video in enumerate(dataset.videos):
        for n, frame in enumerate(dataset.frames_of(number)):
            data = dataset.packed.read(video.pack_file, int(frame["offset"]), int(frame["size"]))
            assert zlib.crc32(data) == frame["crc"]
            if n % 20 == 0 and dataset.pack == "raw":
                assert read_number(np.frombuffer(data, np.uint8).reshape(128, 171, 3)) == n
    dataset.close()


def run(*arguments):
    return run_alone("prepare", *arguments, "--device", "cpu", "--workers", "1")


def test_other_videos_are_refused_and_nothing_is_touched(two):
    _, b, out = two
    before = state(out)
    done = run(b, "--out", out)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr == (f"error: {out}: holds 2 videos that are not among those given now ('a.mp4' first; is a disk "
                           "not mounted?); nothing was changed; add=True (--add) keeps them, remove=True (--remove) "
                           "removes them\n")
    assert state(out) == before
    done = run(b, "--out", out, "--add", "--remove")
    assert done.returncode == 2 and "not allowed with" in done.stderr
    with pytest.raises(EruvError, match="add and remove cannot both"):
        prepare([b], out, **OPTIONS, add=True, remove=True)
    assert state(out) == before


def test_remove_lets_them_go_and_says_so(two):
    _, b, out = two
    done = run(b, "--out", out, "--remove")
    assert done.returncode == 0, done.stderr
    assert "2 videos no longer given are removed" in done.stderr
    assert "1 unusable video no longer given is forgotten" in done.stderr
    assert names(out) == ["c.mp4"] and names(out, "rejected.csv") == [] and len(records(out)) == 1


def test_add_keeps_all_and_scans_only_what_is_new(two):
    a, b, out = two
    before, kept = rows(out), records(out)
    prepare([b], out, **OPTIONS, add=True)
    assert names(out) == ["a.mp4", "b.mp4", "c.mp4"] and names(out, "rejected.csv") == ["notes.mp4"]
    assert rows(out)[:2] == before
    assert {name: records(out)[name] for name in kept} == kept
    after = state(out / "records")
    prepare([b], out, **OPTIONS, add=True)  # nothing is new
    assert state(out / "records") == after
    prepare([a, b], out, **OPTIONS)  # and all being named, neither word is needed
    assert state(out / "records") == after
    check_pixels(out)


def test_only_usable_videos_are_missed(two):
    a, _, out = two
    (a / "notes.mp4").unlink()
    prepare([a], out, **OPTIONS)
    assert names(out) == ["a.mp4", "b.mp4"] and len(records(out)) == 2
    film(a / "short.mp4", frames=20)
    prepare([a], out, **OPTIONS)
    assert names(out, "rejected.csv") == ["short.mp4"]
    (a / "short.mp4").rename(a.parent / "short.mp4")
    prepare([a], out, **OPTIONS)
    shutil.copy2(a.parent / "short.mp4", a)
    prepare([a], out, **OPTIONS, min_length=10)
    (a / "short.mp4").unlink()
    with pytest.raises(VideosNotNamed, match=r"1 video .*'short.mp4'"):  # it was usable as it was prepared last
        prepare([a], out, **OPTIONS)


@pytest.mark.parametrize("way", ["empty", "absent"])
def test_a_folder_out_of_reach_costs_nothing(tmp_path, way):
    films, out = tmp_path / "films", tmp_path / "out"
    film(films / "here.mp4")
    film(films / "disk" / "a.mp4")
    film(films / "disk" / "b.mp4")
    prepare([films], out, **OPTIONS)
    before = state(out)
    (films / "disk").rename(tmp_path / "away")
    if way == "empty":
        (films / "disk").mkdir()  # as of a mount point without its disk
    with pytest.raises(VideosNotNamed, match="holds 2 videos .*'disk/a.mp4' first.*nothing was changed"):
        prepare([films], out, **OPTIONS)
    with pytest.raises(EruvError, match="no videos in this folder" if way == "empty" else "no such file"):
        prepare([films / "disk"], out, **OPTIONS)
    assert state(out) == before
    shutil.rmtree(films / "disk", ignore_errors=True)
    (tmp_path / "away").rename(films / "disk")
    prepare([films], out, **OPTIONS)
    assert state(out / "records") == {path: seen for path, seen in before.items() if out / "records" in
                                      (path, path.parent)}


def test_two_videos_of_one_name(two):
    a, b, out = two
    film(b / "a.mp4", frames=70)
    before = state(out)
    for options in ({}, {"add": True}):
        with pytest.raises(EruvError) as refused:
            prepare([b], out, **OPTIONS, **options)
        said = str(refused.value)
        assert str(a / "a.mp4") in said and str(b / "a.mp4") in said and "give their common folder" in said
        assert state(out) == before
    prepare([a.parent], out, **OPTIONS)  # the common folder: the same files by other names, nothing lost or refused
    assert names(out) == ["a/a.mp4", "a/b.mp4", "b/a.mp4", "b/c.mp4"]
    assert [row["frames"] for row in rows(out)] == ["60", "60", "70", "60"]
    assert len(records(out)) == 5
    check_pixels(out)


def test_of_one_name_size_and_time(two):
    """What tells a copy from another video, where both are there, is the content."""
    a, b, out = two
    for name in ("a.mp4", "b.mp4"):
        shutil.copy2(a / name, b)
    prepare([b], out, **OPTIONS)
    assert [Path(row["path"]).parent for row in rows(out)] == [b, b, b]
    status = (b / "a.mp4").stat()
    (a / "a.mp4").write_bytes((a / "a.mp4").read_bytes()[:-1] + b"x")
    os.utime(a / "a.mp4", ns=(status.st_atime_ns, status.st_mtime_ns))
    (b / "c.mp4").rename(a / "c.mp4")
    with pytest.raises(EruvError, match="holds .*b/a.mp4 under the name 'a.mp4', which .*a/a.mp4 would have"):
        prepare([a], out, **OPTIONS)


def test_one_that_takes_the_place_of_another_by_remove(two):
    _, b, out = two
    film(b / "a.mp4", frames=70)
    done = run(b, "--out", out, "--remove")
    assert done.returncode == 0 and "2 videos no longer given are removed" in done.stderr
    assert [(row["video"], row["frames"]) for row in rows(out)] == [("a.mp4", "70"), ("c.mp4", "60")]


def test_renamed_by_a_higher_folder_decodes_nothing(two, monkeypatch):
    a, _, out = two
    shutil.rmtree(a.parent / "b")
    shutil.rmtree(out)
    prepare([a], out, **OPTIONS, pack="raw")
    frames = [row["frames"] for row in rows(out)]
    monkeypatch.setattr("eruv_dali.prepare.workers.Workers.run", None)  # nobody may scan
    (a.parent / "above").mkdir()
    a.rename(a.parent / "above" / "a")  # moved: neither path nor, at the end, name is what it was
    prepare([a.parent / "above" / "a"], out, **OPTIONS, pack="raw")
    assert [row["path"] for row in rows(out)] == [str(a.parent / "above" / "a" / name) for name in ("a.mp4", "b.mp4")]
    prepare([a.parent / "above"], out, **OPTIONS, pack="raw")
    assert names(out) == ["a/a.mp4", "a/b.mp4"] and [row["frames"] for row in rows(out)] == frames
    check_pixels(out)


def nobody_scans(monkeypatch):
    monkeypatch.setattr("eruv_dali.prepare.workers.Workers.run", None)


def test_what_is_known_by_its_content_is_not_decoded_again(two, monkeypatch):
    a, _, out = two
    frames = [row["frames"] for row in rows(out)]
    nobody_scans(monkeypatch)
    for path in a.iterdir():
        os.utime(path, (1, 1))
    prepare([a], out, **OPTIONS)  # touched
    assert {row["mtime_ns"] for row in rows(out)} == {str(10**9)}
    copy = a.parent / "copy"
    shutil.copytree(a, copy, copy_function=shutil.copyfile)
    prepare([copy], out, **OPTIONS)  # copied, with new times, while the old ones are there
    assert {Path(row["path"]).parent for row in rows(out)} == {copy}
    shutil.rmtree(a)
    copy.rename(a)
    (a / "a.mp4").rename(a / "z.mp4")
    os.utime(a / "z.mp4", (2, 2))
    prepare([a], out, **OPTIONS)  # moved back, one renamed and touched too
    assert names(out) == ["b.mp4", "z.mp4"] and len(records(out)) == 3
    assert [row["frames"] for row in rows(out)] == frames
    prepare([a], out, **OPTIONS)
    shutil.copytree(out, a.parent / "out2", copy_function=shutil.copyfile)
    prepare([a], a.parent / "out2", **OPTIONS)  # a copied DATASET
    check_pixels(a.parent / "out2")


def test_another_content_is_decoded_however_alike(two):
    a, _, out = two
    before = records(out)
    content, status = (a / "a.mp4").read_bytes(), (a / "a.mp4").stat()
    (a / "a.mp4").write_bytes(content[:-1] + b"x")
    prepare([a], out, **OPTIONS)
    assert sum(before[name] != time for name, time in records(out).items()) == 1
    (a / "a.mp4").unlink()  # another one of the same size under a new name is not the renamed one
    (a / "new.mp4").write_bytes(content[:-1] + b"y")
    os.utime(a / "new.mp4", ns=(status.st_atime_ns, status.st_mtime_ns + 5))
    with pytest.raises(VideosNotNamed, match=r"'a.mp4'"):
        prepare([a], out, **OPTIONS)


def test_an_early_record_goes_by_the_time(two, monkeypatch):
    """Records of earlier versions do not tell the content."""
    a, _, out = two
    for path in (out / "records").iterdir():
        with np.load(path) as record:
            arrays = dict(record)
        note = json.loads(str(arrays.pop("note")))
        assert len(note.pop("content")) == 32
        np.savez(path, note=np.array(json.dumps(note)), **arrays)
    prepare([a], out, **OPTIONS, segment_length=100)
    videos = json.loads((out / "videos.json").read_text())
    assert [video.pop("content") for video in videos.values()] == ["", ""]
    before = records(out)
    os.utime(a / "a.mp4", (1, 1))
    prepare([a], out, **OPTIONS)
    assert sum(before[name] != time for name, time in records(out).items()) == 1
    nobody_scans(monkeypatch)
    os.utime(a / "a.mp4", (2, 2))
    prepare([a], out, **OPTIONS)


def test_kept_videos_whose_files_are_gone_or_changed(two):
    a, b, out = two
    (a / "a.mp4").unlink()
    film(a / "b.mp4", frames=80)
    prepare([b], out, **OPTIONS, add=True)
    assert [(row["video"], row["frames"]) for row in rows(out)] == [("a.mp4", "60"), ("b.mp4", "60"), ("c.mp4", "60")]
    before = state(out)
    for options in ({"pack": "raw"}, {"frame_size": (64, 96)}):  # they would have to be decoded again
        with pytest.raises(EruvError, match="a.mp4: is missing or has changed, .*128x171, pack video.*nothing was"):
            prepare([b], out, **OPTIONS, add=True, **options)
        assert state(out) == before
    prepare([b], out, **OPTIONS, add=True, rule="threshold", threshold=9.0, export=["html"])  # these need no decoding
    assert len(rows(out, "shots.csv")) == 3 and len(list((out / "export").iterdir())) == 3


def test_kept_videos_whose_part_of_the_pack_is_damaged(two):
    a, b, out = two
    (pack,) = (out / "pack").iterdir()
    pack.write_bytes(bytes(pack.stat().st_size))
    (a / "a.mp4").rename(a.parent / "a.mp4")
    with pytest.raises(EruvError, match=r"a.mp4: is missing.*its part of the pack is damaged.*nothing was changed"):
        prepare([b], out, **OPTIONS, add=True)
    (a.parent / "a.mp4").rename(a / "a.mp4")
    prepare([b], out, **OPTIONS, add=True)
    assert names(out) == ["a.mp4", "b.mp4", "c.mp4"]
    check_pixels(out)


def test_add_what_is_held_by_another_name(two):
    a, b, out = two
    before = records(out)
    prepare([a.parent], out, **OPTIONS, add=True)  # here they are called a/a.mp4, a/b.mp4, b/c.mp4
    assert names(out) == ["a.mp4", "b.mp4", "b/c.mp4"] and before.items() <= records(out).items()
    film(a / "b.mp4", frames=70)
    prepare([a.parent], out, **OPTIONS, add=True)
    assert [(row["video"], row["frames"]) for row in rows(out)] == [("a.mp4", "60"), ("b.mp4", "70"), ("b/c.mp4", "60")]


def test_kept_videos_whose_files_are_there_follow_other_settings(two):
    _, b, out = two
    prepare([b], out, **OPTIONS, add=True, pack="raw")
    assert names(out) == ["a.mp4", "b.mp4", "c.mp4"]
    check_pixels(out)


def test_a_page_of_a_kept_video_without_its_file(two):
    a, b, out = two
    shutil.rmtree(out)
    prepare([a], out, **OPTIONS, pack="none")
    shutil.rmtree(a)
    done = run(b, "--out", out, "--add", "--pack", "none", "--export", "html")
    assert done.returncode == 0 and "a.mp4: no html (" in done.stderr
    assert [path.name for path in (out / "export").iterdir()] == ["c.mp4.html"]


def test_a_damaged_record(two):
    """Its video is scanned again where it is named; where it is not, nobody knows what it was of."""
    a, b, out = two
    for path in (out / "records").iterdir():
        os.truncate(path, 300)
    with pytest.raises(VideosNotNamed, match=r"3 videos.*'records/"):
        prepare([b], out, **OPTIONS)
    with pytest.raises(EruvError, match=r"records/.*: cannot be read"):
        prepare([b], out, **OPTIONS, add=True)
    prepare([a], out, **OPTIONS)
    assert names(out) == ["a.mp4", "b.mp4"]
    (out / "seal.json").write_text("{")
    prepare([a], out, **OPTIONS)
    check_pixels(out)


@pytest.mark.parametrize("after, pack", [("carry_record", "video"), ("trim_pack", "video"), ("trim_pack", "raw")])
def test_killed_while_it_makes_room(two, monkeypatch, after, pack):
    """Whatever a run had done when it was killed, also under other names or settings: all that was held is held."""
    a, b, out = two
    film(b / "a.mp4", frames=70)

    def killed(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    real = getattr(eruv_dali.prepare.plan, after)
    monkeypatch.setattr(eruv_dali.prepare.plan, after, killed)
    with pytest.raises(KeyboardInterrupt):
        prepare([a.parent], out, **OPTIONS, pack=pack)
    monkeypatch.undo()
    held = {read_record(path).note.identity.path for path in (out / "records").iterdir()}
    assert held >= {str(a / "a.mp4"), str(a / "b.mp4")}
    prepare([a.parent], out, **OPTIONS, pack=pack)
    assert [path.name for path in (out / "records").glob("*.npz") if read_record(path).note.video == "a.mp4"] == []
    assert [(row["video"], row["frames"]) for row in rows(out)] == [
        ("a/a.mp4", "60"), ("a/b.mp4", "60"), ("b/a.mp4", "70"), ("b/c.mp4", "60")]
    check_pixels(out)


def test_what_is_scanned_with_other_settings_stays_until_it_is_replaced(two, monkeypatch):
    """A disk too small for the new pack is found out before the old one goes."""
    a, _, out = two
    before = state(out)
    usage = shutil.disk_usage(out)
    monkeypatch.setattr("eruv_dali.prepare.scan_all.shutil.disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(EruvError, match=r"1\.0 MB free, but the pack needs about 7\.9 MB.*pack video, or pack none"):
        prepare([a], out, **OPTIONS, pack="raw")
    assert state(out) == before


def test_a_header_that_lies_refuses_nothing(tmp_path, monkeypatch, capsys):
    """WebM with a duration of 1e13: the forecast of disk space goes by the size of the file."""
    film(tmp_path / "films" / "good.mp4")
    liar = film(tmp_path / "films" / "liar.mkv", options={"cluster_time_limit": "100"})
    data = liar.read_bytes()
    at = data.index(b"\x44\x89\x88") + 3  # Duration, 8 bytes
    liar.write_bytes(data[:at] + struct.pack(">d", 1e13) + data[at + 8 :])
    dataset = prepare([tmp_path / "films"], tmp_path / "out", **OPTIONS)
    assert [video.name for video in dataset.videos] == ["good.mp4", "liar.mkv"]
    usage = shutil.disk_usage(tmp_path)
    with liar.open("ab") as file:
        file.write(bytes(1_000_000))  # by its size and header, 51,000 frames
    monkeypatch.setattr("eruv_dali.prepare.scan_all.shutil.disk_usage", lambda path: usage._replace(free=10_000_000))
    dataset = prepare([tmp_path / "films"], tmp_path / "tried", **OPTIONS)
    assert len(dataset.videos) == 2 and "which is much for a file of its size" in capsys.readouterr().err
    monkeypatch.setattr("eruv_dali.prepare.scan_all.shutil.disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(EruvError, match=r"the largest part for .*liar\.mkv \(about [\d,]+ frames by its header\)"):
        prepare([tmp_path / "films"], tmp_path / "other", **OPTIONS)


@pytest.mark.parametrize("pack", ["jpeg", "raw"])
def test_a_full_disk_is_one_line(tmp_path, pack):
    film(tmp_path / "a.mp4", frames=200)
    command = (f"ulimit -f 500; exec {sys.executable} -m eruv_dali.prepare {tmp_path}/a.mp4 --out {tmp_path}/out "
               f"--device cpu --pack {pack} --workers 1")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "cannot be written (File too large); free some space" in done.stderr


def test_a_worker_that_ends_on_a_full_disk_says_nothing(tmp_path):
    """What it still had to write is in no record; its traceback would stand before the one clear line."""
    scanner = Scanner(tmp_path, Scan(64, 86, "jpeg", 92), "cpu", 1)
    name, _ = scanner.writer.begin_video()
    scanner.writer.add(np.zeros((64, 86, 3), np.uint8))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        scanner.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "pack" / name).stat().st_size == 0


@pytest.mark.parametrize(("error", "said"), [
    ((errno.ENOSPC, "No space left on device"), "out: cannot be written (No space left on device); free some space "),
    ((errno.EMFILE, "Too many open files"), "out: cannot be written (Too many open files); fix that "),
    ((errno.EIO, "Input/output error", "a.mp4"), "a.mp4: cannot be read (Input/output error); fix that, "),
])
def test_what_the_system_says_while_a_video_is_scanned(monkeypatch, error, said):
    def fails(*_):
        raise OSError(*error)

    scanner = Scanner(Path("out"), Scan(64, 86, "none", 0), "cpu", 1)
    monkeypatch.setattr(scanner, "scan_video", fails)
    with pytest.raises(EruvError, match=re.escape(said)):
        scanner(Job(Video("a.mp4", Path("a.mp4"))), print)


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4")
    done = run(path, "--out", "/sys/eruv_dali")
    assert done.returncode == 2 and "Traceback" not in done.stderr and "error: /sys/eruv_dali" in done.stderr
    nowhere = {**os.environ, "ERUV_CACHE": "", "HOME": "/proc"}
    nowhere.pop("ERUV_CACHE"), nowhere.pop("XDG_CACHE_HOME", None)
    nowhere["TMPDIR"] = str(tmp_path)  # a read-only home: kernels are kept elsewhere, or NumPy works in their place
    done = run_alone("prepare", path, "--out", tmp_path / "out", "--device", "cpu", "--workers", "1", env=nowhere)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert done.stderr.count(f"compiled kernels are kept in {tmp_path}/eruv_dali-") == 2  # here, and by the worker
    for module, *words in (("visualize", "shots", tmp_path / "out", "--out", "/proc/shots.html"),
                           ("prepare", "--from-pack", tmp_path / "out", "--pack", "raw", "--out", "/proc/out")):
        done = run_alone(module, *words)
        assert done.returncode == 2 and "Traceback" not in done.stderr and "error: /proc/" in done.stderr

    def read_only(*arguments):
        raise OSError(30, "Read-only file system", str(tmp_path / "out" / "videos.csv"))

    monkeypatch.setattr("eruv_dali.prepare.tables.write_csv", read_only)
    with pytest.raises(EruvError, match=r"out/videos.csv: cannot be written or read \(Read-only file system\)"):
        prepare([path], tmp_path / "out", **OPTIONS)


def grey_film(path, level):
    """60 frames of one grey, uncompressed: all such files are of one size."""
    picture = bytes([level]) * (64 * 48) + bytes([128]) * (64 * 48 // 2)
    path.write_bytes(b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg\n" + (b"FRAME\n" + picture) * 60)
    os.utime(path, (1_700_000_000, 1_700_000_000))


def greys(out):
    """The mean of each video's first packed frame."""
    dataset = Dataset(out)
    means = {}
    for number, video in enumerate(dataset.videos):
        frame = dataset.frames_of(number)[0]
        data = dataset.packed.read(video.pack_file, int(frame["offset"]), int(frame["size"]))
        means[video.name] = round(float(np.frombuffer(data, np.uint8).mean()))
    return means


def test_renamed_files_of_one_size_and_time_keep_their_own_frames(tmp_path, monkeypatch):
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    grey_film(films / "a.y4m", 40)
    grey_film(films / "b.y4m", 200)
    prepare([films], out, **OPTIONS, pack="raw")
    before = greys(out)
    assert before["a.y4m"] < before["b.y4m"]
    (films / "a.y4m").rename(films / "y.y4m")
    (films / "b.y4m").rename(films / "x.y4m")
    nobody_scans(monkeypatch)
    prepare([films], out, **OPTIONS, pack="raw")
    assert greys(out) == {"x.y4m": before["b.y4m"], "y.y4m": before["a.y4m"]}
    (tmp_path / "moved").mkdir()
    (films / "x.y4m").rename(tmp_path / "moved" / "y.y4m")
    (films / "y.y4m").rename(tmp_path / "moved" / "x.y4m")
    with pytest.raises(EruvError, match=r"under the name '[xy]\.y4m'"):
        prepare([tmp_path / "moved"], out, **OPTIONS, pack="raw")


def test_each_renamed_file_has_its_own_early_record_or_none(tmp_path):
    """Where the content is not known, files of one size and time could be taken for one another."""
    notes = {Path(f"/old/{name}"): Note(name, Identity(f"/gone/{name}", 9, 9), Scan(8, 8, "none", 0), content=content)
             for name, content in (("a", ""), ("b", ""))}
    new = {Path("/new/x"): Identity("/there/x", 9, 9), Path("/new/y"): Identity("/there/y", 9, 9)}
    assert _renamed(new, notes) == {} and _renamed(dict([*new.items()][:1]), notes) == {}
    one = dict([*notes.items()][:1])
    assert _renamed(new, one) == {}
    assert _renamed(dict([*new.items()][:1]), one) == {Path("/new/x"): Path("/old/a")}
    for name in "xy":
        (tmp_path / name).write_bytes(b"the same")
    new = {Path(f"/new/{name}"): Identity(str(tmp_path / name), 9, 9) for name in "xy"}
    notes = {path: replace(note, content=content_of(tmp_path / "x")) for path, note in notes.items()}
    assert _renamed(new, notes) == {Path("/new/x"): Path("/old/a"), Path("/new/y"): Path("/old/b")}


@pytest.mark.parametrize("mine", ["records/mine.txt", "records"])
def test_a_folder_with_records_of_another_kind_is_left_alone(two, mine):
    a, _, _ = two
    project = a.parent / "project"
    for name in (mine, "images/precious.jpg"):
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine") if path.suffix else path.mkdir()
    with pytest.raises(EruvError, match="holds something other than a DATASET"):
        prepare([a], project, **OPTIONS, pack="none")
    assert (project / "images" / "precious.jpg").read_text() == "mine"


def test_what_was_ended_before_its_first_record_goes_on(two):
    a, _, _ = two
    begun = a.parent / "begun"
    (begun / "records").mkdir(parents=True)
    (begun / "records" / ".00000000.1.aside").write_bytes(b"half a rec")
    (begun / ".lock").touch()
    prepare([a], begun, **OPTIONS, pack="none")
    assert names(begun) == ["a.mp4", "b.mp4"]


def test_a_dataset_opened_before_does_not_bring_back_its_seal(two):
    a, b, out = two
    copy = a.parent / "copy_of_out"
    shutil.copytree(out, copy, copy_function=shutil.copyfile)
    opened = Dataset(copy)
    prepare([a, b], copy, **OPTIONS)
    opened.check()
    assert [video.name for video in Dataset(copy).videos] == ["a.mp4", "b.mp4", "c.mp4"]
    Dataset(copy).check()


def test_errors_of_one_line_pass_between_processes():
    for error in (VideosNotNamed(Path("out"), ["a.mp4"]), CutShort("ends early", 7)):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
