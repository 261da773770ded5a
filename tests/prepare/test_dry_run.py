"""`prepare --dry-run` writes nothing and says what a run costs; `--quiet` says only what is wrong."""

import re

import pytest
from editing import FRAMES
from rich.progress import Progress
from running import outcome, refused

from eruv_dali import ClipLoader, EruvError
from eruv_dali.console import TimeLeft
from eruv_dali.prepare.__main__ import main
from eruv_dali.prepare.dry_run import duration
from eruv_dali.shots import Shot


def test_dry_run_writes_nothing_and_foretells(films, tmp_path, monkeypatch, capsys):
    out = tmp_path / "dataset"
    words = (films, "--out", out, "--device", "cpu", "--workers", 1)
    done = outcome(monkeypatch, capsys, main, *words, "--dry-run")
    assert done.returncode == 0 and not out.exists() and not list(tmp_path.iterdir())
    said = done.stdout
    assert f"{out}: would hold 3 videos, 3 of them to decode; nothing was written" in said
    assert re.search(r"^time: about \d+ (s|minutes), judged by [\d,]+ frames of 2 videos$", said, re.M)
    foretold = float(re.search(r"^disk: about ([\d.]+) MB more", said, re.M)[1])
    frames = int(re.search(r"^frames: about ([\d,]+)", said, re.M)[1].replace(",", ""))

    done = outcome(monkeypatch, capsys, main, *words, "--quiet")
    assert done.returncode == 0 and not done.stdout and not done.stderr
    held = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    assert 0.4 * held < foretold < 2.5 * held
    assert frames == 3 * FRAMES

    again = outcome(monkeypatch, capsys, main, *words, "--dry-run").stdout
    assert "would hold 3 videos, 0 of them to decode" in again and "time" not in again
    (tmp_path / "other").mkdir()
    one = next(films.glob("*"))
    (tmp_path / "other" / f"new{one.suffix}").write_bytes(one.read_bytes()[:-1])
    elsewhere = (tmp_path / "other", "--out", out, "--device", "cpu", "--dry-run")
    assert "--add" in refused(monkeypatch, capsys, main, *elsewhere)
    assert "removed: 3 videos" in outcome(monkeypatch, capsys, main, *elsewhere, "--remove").stdout
    assert "min_length 0" in refused(monkeypatch, capsys, main, *words, "--dry-run", "--min-length", 0)


def test_quiet_still_says_what_is_wrong(films, tmp_path, monkeypatch, capsys):
    (tmp_path / "videos").mkdir()
    for number, video in enumerate(films.glob("*")):
        (tmp_path / "videos" / f"{'n' * 246}{number}{video.suffix}").symlink_to(video)
    done = outcome(monkeypatch, capsys, main, tmp_path / "videos", "--out", tmp_path / "out", "--device", "cpu",
                   "--workers", 1, "--pack", "none", "--export", "json", "--quiet")
    assert done.returncode == 0 and not done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and all("no json (File name too long)" in line for line in lines)


def test_shots_of_a_short_video_are_in_the_tables(tmp_path, films, monkeypatch, capsys):
    done = outcome(monkeypatch, capsys, main, films, "--out", tmp_path / "out", "--device", "cpu", "--workers", 1,
                   "--pack", "none", "--min-length", 200, "--segment-length", 300, "--export", "json")
    assert done.returncode == 0
    short = [line.split(",")[0] for line in (tmp_path / "out" / "rejected.csv").read_text().splitlines()[1:]]
    shots = (tmp_path / "out" / "shots.csv").read_text().splitlines()[1:]
    assert short and set(short) <= {line.split(",")[0] for line in shots}
    assert all((tmp_path / "out" / "export" / f"{name}.json").exists() for name in short)
    segments = (tmp_path / "out" / "segments.csv").read_text().splitlines()[1:]
    assert not set(short) & {line.split(",")[1] for line in segments}
    with pytest.raises(EruvError, match="holds no video for clips.*see rejected.csv"):
        ClipLoader(tmp_path / "out", batch_size=1, device="cpu")


def test_the_summary_counts_gradual_transitions_of_short_videos_too(tmp_path, films, monkeypatch, capsys):
    def shots_of(record, settings):
        return [Shot(0, 30, 0.0, 0), Shot(40, 64, 0.5, 30)]

    monkeypatch.setattr("eruv_dali.prepare.tables.shots_of", shots_of)
    done = outcome(monkeypatch, capsys, main, films, "--out", tmp_path / "out", "--device", "cpu", "--workers", 1,
                   "--pack", "none", "--min-length", 65)
    assert done.returncode == 0 and re.search(r"shots +│ +6 │ 3 after a gradual transition", done.stderr)


def test_dry_run_refuses_what_the_run_refuses(tmp_path, films, monkeypatch, capsys):
    words = (films, "--device", "cpu", "--workers", 1, "--pack", "none", "--out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    for dry in (["--dry-run"], []):
        assert "something other than a DATASET" in refused(monkeypatch, capsys, main, *words, tmp_path / "mine", *dry)
    out = tmp_path / "begun"
    outcome(monkeypatch, capsys, main, *words, out, "--shard", "0/2")
    for dry in (["--dry-run"], []):
        assert "was begun in shards" in refused(monkeypatch, capsys, main, *words, out, *dry)
    out = tmp_path / "out"
    outcome(monkeypatch, capsys, main, *words, out)
    one = next(films.glob("*"))
    for dry in (["--dry-run"], []):  # they were usable as they were prepared last
        assert "holds 2 videos that are" in refused(
            monkeypatch, capsys, main, one, *words[1:], out, "--min-length", 100, "--segment-length", 200, *dry)
        assert "every video ends before" in refused(monkeypatch, capsys, main, *words, out, "--start", "60", *dry)


@pytest.mark.parametrize("seconds, words", [(0.2, "1 s"), (119, "119 s"), (121, "2 minutes"), (7300, "2 hours"),
                                            (9e5, "10 days")])
def test_a_duration_in_the_unit_that_a_person_would_use(seconds, words):
    assert duration(seconds) == words


def test_the_time_left_is_said_only_where_it_is_known():
    bar = Progress()
    for total in (None, 10):
        bar.add_task("frames", total=total)
    assert [TimeLeft().render(task).plain for task in bar.tasks] == ["", ""]
    now = [0.0]
    bar = Progress(get_time=lambda: now[0])
    task = bar.add_task("frames", total=10)
    for now[0] in (1.0, 2.0):
        bar.advance(task, 2)
    assert TimeLeft().render(bar.tasks[0]).plain == "0:00:03 left"
    bar.update(task, completed=10)  # "0:00:00 left" at the end would say nothing
    assert TimeLeft().render(bar.tasks[0]).plain == ""
