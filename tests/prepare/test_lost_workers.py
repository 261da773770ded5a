"""prepare when its worker processes are killed, stopped or crash: a sound video is whole in the end."""

import os
import signal
import subprocess
import sys
import time

import pytest
from numbered import write_video
from prepared import table, tables, while_decoding
from running import with_our_path

from eruv_dali.prepare import prepare, scan_all
from eruv_dali.prepare.scan import Job, Probe, Scan
from eruv_dali.prepare.scan_all import CRASHED, KILLED, SILENT, Loss, Rejected, what_next
from eruv_dali.prepare.workers import Done, Lost, Progress
from eruv_dali.video.find import Video

# What WHAT does is done over frame 128 of victim.mp4, until TIMES is used up (MISHAPS is a file with a line for
# each time that it was done).
MISHAP = """
if path.name == "victim.mp4":
    with open(os.environ["MISHAPS"], "a+") as file:
        file.seek(0)
        done = len(file.readlines())
        if done < int(os.environ["TIMES"]):
            print(os.getpid(), file=file, flush=True)
            exec(os.environ["WHAT"])
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
STOP = "os.kill(os.getpid(), signal.SIGSTOP)"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for name in ("a", "victim", "z"):
        write_video(folder / f"{name}.mp4", frames=300, size=(64, 96))
    return folder


@pytest.fixture(scope="module")
def undisturbed(films, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    prepare([films], folder, device="cpu", pack="raw", workers=2)
    return tables(folder)


@pytest.fixture
def mishap(tmp_path, monkeypatch):
    """Let something happen, so many times; returns the file that counts it."""
    while_decoding(monkeypatch, tmp_path / "site", MISHAP)

    def arrange(what, times):
        for name, value in (("WHAT", what), ("TIMES", str(times)), ("MISHAPS", str(tmp_path / "mishaps"))):
            monkeypatch.setenv(name, value)
        return tmp_path / "mishaps"

    return arrange


@pytest.mark.parametrize("what, said", [
    (KILL, "its worker process was killed (out of memory?); it is tried again"),
    ("os.kill(os.getpid(), signal.SIGSEGV)", "its worker process died (SIGSEGV); it is tried again"),
    (STOP, "its worker process yielded no frame for 2 s and was stopped; it is tried again"),
])
def test_lost_once_is_no_loss(films, undisturbed, mishap, tmp_path, capsys, what, said):
    happened = mishap(what, 1)
    prepare([films], tmp_path / "out", device="cpu", pack="raw", workers=2, time_limit=2)
    assert len(happened.read_text().split()) == 1
    assert f"victim.mp4: {said}" in capsys.readouterr().err
    assert tables(tmp_path / "out") == undisturbed
    assert sum(path.stat().st_size for path in (tmp_path / "out" / "pack").iterdir()) == 900 * 128 * 171 * 3


@pytest.mark.slow
def test_killed_twice_is_tried_again_by_the_next_run(films, undisturbed, mishap, tmp_path, capsys):
    happened, out = mishap(KILL, 2), tmp_path / "out"
    options = dict(device="cpu", pack="raw", workers=2)
    prepare([films], out, **options)
    assert [tuple(row.values()) for row in table(out, "rejected.csv")] == [
        ("victim.mp4", "its worker process was killed twice (out of memory?); prepare tries it again when it is run "
                       "again")]
    assert [row["video"] for row in table(out, "videos.csv")] == ["a.mp4", "z.mp4"]
    assert len(set(happened.read_text().split())) == 2  # each time another process
    capsys.readouterr()
    prepare([films], out, **options)
    said = capsys.readouterr().err
    assert "nothing was new" not in said and "1/1 videos" in said
    assert tables(out) == undisturbed
    prepare([films], out, **options)
    assert "nothing was new or changed" in capsys.readouterr().err


@pytest.mark.slow
def test_silent_twice_is_tried_again_by_the_next_run(films, undisturbed, mishap, tmp_path):
    mishap("time.sleep(1000)", 2)
    options = dict(device="cpu", pack="raw", workers=1, time_limit=1.5)
    prepare([films], tmp_path / "out", **options)
    notes = {row["video"]: (row["frames"], row["note"]) for row in table(tmp_path / "out", "videos.csv")}
    assert notes["victim.mp4"] == (
        "128", "decoding yielded no frame for 1.5 s after frame 127; the frames before it are used")
    prepare([films], tmp_path / "out", **options)
    assert tables(tmp_path / "out") == undisturbed


def test_crashed_twice_is_final(films, mishap, tmp_path, capsys):
    mishap("os.abort()", 2)
    options = dict(device="cpu", pack="none", workers=2)
    prepare([films], tmp_path / "out", **options)
    before = tables(tmp_path / "out")
    assert b"decoding crashed the decoder after frame 127" in before["videos.csv"]
    capsys.readouterr()
    prepare([films], tmp_path / "out", **options)
    assert "nothing was new or changed" in capsys.readouterr().err and tables(tmp_path / "out") == before


@pytest.mark.slow
def test_the_whole_group_stopped_for_longer_than_the_limit(films, undisturbed, mishap, tmp_path):
    """Ctrl-Z, and `fg` after a while: nobody had that time, so nobody is late."""
    happened, out = mishap("time.sleep(1)", 4), tmp_path / "out"
    command = [sys.executable, "-m", "eruv_dali.prepare", str(films), "--out", str(out), "--device", "cpu", "--pack",
               "raw", "--workers", "2", "--time-limit", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True,
                               env=with_our_path())
    deadline = time.monotonic() + 60
    while not happened.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    for _ in range(2):
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(3)
        os.killpg(process.pid, signal.SIGCONT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0 and "worker process" not in said, said
    assert tables(out) == undisturbed


def test_what_next():
    video = Video("v.mp4", None)
    whole = Job(video)

    def loss(way, frames=200, job=whole):
        return Loss(way, job, frames)

    for way in (CRASHED, SILENT, KILLED):
        assert what_next([loss(way)], 2) == whole
    assert what_next([loss(KILLED), loss(CRASHED)], 2) == whole  # not in the same way
    assert what_next([loss(KILLED), loss(CRASHED), loss(SILENT)], 2) == whole
    assert what_next([loss(KILLED), loss(CRASHED), loss(KILLED)], 2).provisional
    for way, provisional in ((CRASHED, False), (SILENT, True)):
        part = what_next([loss(way, 256), loss(way, 128)], 2)
        assert (part.limit, part.provisional) == (128, provisional) and "after frame 127" in part.trouble
        assert what_next([loss(way), loss(way), loss(way, 0, part)], 2) == part
        assert what_next([loss(way), loss(way), loss(way, 0, part), loss(way, 0, part)], 2) == Rejected(
            part.trouble.split(" after")[0], provisional)
        assert isinstance(what_next([loss(way, 0), loss(way, 0)], 2), Rejected)


def test_progress_is_that_of_all_videos_at_a_cost_that_does_not_depend_on_their_number(tmp_path, monkeypatch):
    videos = [Video(f"{n:03d}.mp4", tmp_path / f"{n:03d}.mp4") for n in range(300)]
    a, b = map(Job, videos[:2])
    runs = [[Done(Probe(video), 10) for video in videos],
            [Progress(a, 4), Progress(b, 12), Done(b, 15), Lost(a, False, -signal.SIGKILL),
             *(Done(Job(video), 10) for video in videos[2:])],
            [Progress(a, 3), Done(a, 9)]]  # the lost one again, alone
    hashed, shown = [], []
    monkeypatch.setattr(Video, "__hash__", lambda video: hashed.append(video) or hash(video.name))
    monkeypatch.setattr(scan_all.Progress, "update", lambda _, line, *, completed, total, done, rate: shown.append(
        (len(hashed), completed, total, done)))

    class Pool:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def run(self, tasks):
            return iter(runs.pop(0))

    scan_all.scan_all(tmp_path, videos, Scan(64, 86, "none", 0), lambda count: Pool(), workers=None, time_limit=1,
                      ready=lambda: None)
    assert [counts for _, *counts in shown[:5]] == [
        [4, 3000, 0], [16, 3002, 0], [19, 3005, 1], [19, 3005, 1], [29, 3005, 2]]
    assert [counts for _, *counts in shown[-3:]] == [[2999, 3005, 299], [2998, 3005, 299], [3004, 3004, 300]]
    times = [before for before, *_ in shown[:-2]]
    assert max(after - before for before, after in zip(times, times[1:], strict=False)) < 20
