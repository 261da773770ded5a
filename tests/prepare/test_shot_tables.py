"""shots.csv and what is made of it: frames and times that other programs agree with, exports, stats, drawings."""

import json
import shutil
import subprocess

import av
import numpy as np
import pytest
from numbered import KINDS, read_number, write_video
from PIL import Image
from prepared import table

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.columns import SHOT_COLUMNS
from eruv_dali.dataset.records import Identity, Note, Record, Scan, read_record, record_path
from eruv_dali.errors import EruvError
from eruv_dali.prepare import prepare
from eruv_dali.prepare.export import as_edl, as_json, as_otio
from eruv_dali.prepare.found_shots import frames_within, shots_of
from eruv_dali.prepare.shot_page import draw_shots
from eruv_dali.shots import ShotCurves, find_shots
from eruv_dali.video.frames import VideoFacts
from eruv_dali.video.reader import FrameReader


def record_of(folder, name):
    return read_record(record_path(folder, name))


def frames_to_check(folder, name):
    """First and last frames of the shots, and some others."""
    rows = [row for row in table(folder, "shots.csv") if row["video"] == name]
    frames = {int(row["start"]) for row in rows} | {int(row["end"]) - 1 for row in rows}
    return sorted(frames | set(range(0, int(rows[-1]["end"]), 37)))


@pytest.mark.parametrize("name", [*KINDS, "long/a.mp4"])
def test_frame_numbers_mean_the_same_pictures_everywhere(datasets, videos, name):
    wanted = frames_to_check(datasets["none"], name)
    dataset = Dataset(datasets["none"])
    number = next(n for n, video in enumerate(dataset.videos) if video.name == name)
    reader = FrameReader()
    for frame in wanted:
        loaded = reader.read(videos / name, dataset.index(number), [frame], 128, 171)[0]
        assert read_number(loaded) == frame, f"FrameReader, frame {frame}"
    reader.close()

    with av.open(str(videos / name)) as container:
        decoded = [f.reformat(171, 128, "rgb24").to_ndarray() for f in container.decode(video=0)]
    assert [read_number(decoded[frame]) for frame in wanted] == wanted

    ffmpeg = shutil.which("ffmpeg")
    if not ffmpeg:
        pytest.skip("ffmpeg is not installed; the other two agree")
    select = "+".join(f"eq(n\\,{frame})" for frame in wanted)
    done = subprocess.run([ffmpeg, "-v", "error", "-i", videos / name, "-map", "0:v:0", "-vf", f"select={select},"
                           "scale=171:128", "-vsync", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"],
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    pictures = np.frombuffer(done.stdout, np.uint8).reshape(-1, 128, 171, 3)
    assert [read_number(picture) for picture in pictures] == wanted


@pytest.mark.parametrize("name", ["vfr.mkv", "mpeg2.ts", "h264_edit_list.mp4", "mpeg4_b.avi", "h264_b.mp4"])
def test_times_are_those_of_the_time_stamps(datasets, videos, name):
    times = record_of(datasets["none"], name).times()
    with av.open(str(videos / name)) as container:
        begin = (container.start_time or 0) / av.time_base
        stamps = [frame.pts for frame in container.decode(video=0)]
        tick = float(container.streams.video[0].time_base)
    # This AVI tags its frames in the order they are coded in.
    expected = np.arange(120) / 25 + times[0] if name == "mpeg4_b.avi" else np.array(stamps) * tick - begin
    np.testing.assert_allclose(times[:-1], expected, atol=2e-3)
    assert times[-1] - times[-2] == pytest.approx(1 / float(record_of(datasets["none"], name).note.facts.fps), rel=1e-6)
    if name == "vfr.mkv":
        np.testing.assert_allclose(times[:-1], [(n + n * n // 7) / 25 for n in range(120)], atol=2e-3)


def test_shots_csv_keeps_its_first_columns_and_times_fit_frames(datasets):
    assert SHOT_COLUMNS[:5] == ("video", "shot", "start", "end", "score")
    for row in table(datasets["jpeg"], "shots.csv"):
        times = record_of(datasets["jpeg"], row["video"]).times()
        assert float(row["start_time"]) == pytest.approx(times[int(row["start"])], abs=1e-6)
        assert float(row["end_time"]) == pytest.approx(times[int(row["end"])], abs=1e-6)
        cut = ("cut", row["start"], row["start"]) if int(row["start"]) else ("", "", "")
        assert (row["transition"], row["transition_start"], row["transition_end"]) == cut


def dissolving() -> tuple[Record, list]:
    """200 frames at 24 a second: a cut at 50, a gradual transition about 120, 3 frames left over at the end."""
    lags = np.zeros((3, 200), np.float32)
    for row, lag in zip(lags, (1, 5, 9), strict=True):
        row[50 : 50 + lag] = 0.2
        row[197 : 197 + lag] = 0.2
        row[110 : 130 + lag] = 0.02 * min(lag, 5)
    window, colour, grey = np.zeros(200, np.float32), np.zeros((2, 200), np.float32), np.full((32, 200), 60, np.uint8)
    window[112:128], colour[:, 105:136] = 0.05, 0.5
    grey[:, 110:130], grey[:, 130:] = np.linspace(60, 140, 20), 140
    curves = ShotCurves(hog=lags[0], luminance=lags[0], lags=lags, low=lags, window=window,
                        window_low=np.stack([window, window]), colour=colour, grey=grey)
    frames = np.zeros(200, [("pts", "<i8"), ("key", "?")])
    frames["pts"] = np.arange(200) * 512 + 1024
    note = Note("a & b/<x>.mp4", Identity("/films/a & b/<x>.mp4", 1, 1), Scan(128, 171, "none", 0),
                VideoFacts("24", 64, 48, "h264", 0, "1/12288", 0.0))
    return Record(note, frames, curves), find_shots(curves)


def test_exports_say_what_shots_csv_says():
    record, shots = dissolving()
    assert [shot.transition for shot in shots] == ["", "cut", "gradual"] and shots[-1].end == 197
    content = json.loads(as_json(record, shots))
    assert [(s["start"], s["end"]) for s in content["shots"]] == [(s.start, s.end) for s in shots]
    assert content["shots"][2]["transition_start"] == shots[1].end < content["shots"][2]["transition_end"]
    assert content["shots"][1]["start_time"] == pytest.approx((50 * 512 + 1024) / 12288, abs=1e-6)

    events = [line.split() for line in as_edl(record, shots).splitlines() if line[:3].isdigit()]
    assert [event[0] for event in events] == ["001", "002", "003"]
    assert events[0][4:] == ["00:00:00:00", "00:00:02:02"] * 2
    assert events[1][4] == "00:00:02:02" and events[2][5] == "00:00:08:05"
    assert as_edl(record, shots).count("GRADUAL") == 1

    timeline = json.loads(as_otio(record, shots))
    clips = timeline["tracks"]["children"][0]["children"]
    assert [clip["name"] for clip in clips] == ["shot 0", "shot 1", "gradual transition", "shot 2",
                                                "too short for a shot"]
    end = 0
    for clip in clips:  # end to end, the whole video
        assert clip["source_range"]["start_time"] == {"OTIO_SCHEMA": "RationalTime.1", "rate": 24.0, "value": end}
        end += clip["source_range"]["duration"]["value"]
    assert end == 200
    assert clips[0]["media_references"]["DEFAULT_MEDIA"]["target_url"] == "file:///films/a%20%26%20b/%3Cx%3E.mp4"


@pytest.mark.parametrize("after, said", [(0, ("", "")), (-1, ("gradual", "gradual transition"))])
def test_a_range_that_begins_where_a_dissolve_ends(after, said):
    """Then nothing is known to begin the first shot; and what is outside the range is not called short."""
    record, shots = dissolving()
    settings = {"rule": "robust", "threshold": None, "end": record.times()[180]}
    opened = shots[2].start + after
    within = frames_within(record, {**settings, "start": record.times()[opened]})
    assert within == (opened, 180)
    (shot,) = shots_of(record, {**settings, "start": record.times()[opened]})
    assert (shot.start, shot.end, shot.transition) == (shots[2].start, 180, said[0])
    assert shot.score == (shots[2].score if said[0] else 0)
    clips = json.loads(as_otio(record, [shot], within))["tracks"]["children"][0]["children"]
    assert [clip["name"] for clip in clips] == [
        "outside --start and --end", *said[1:] * bool(said[1]), "shot 0", "outside --start and --end"]
    assert sum(clip["source_range"]["duration"]["value"] for clip in clips) == 200
    clips = json.loads(as_otio(record, [], (198, 199)))["tracks"]["children"][0]["children"]
    assert [(clip["name"], clip["source_range"]["start_time"]["value"]) for clip in clips] == [
        ("outside --start and --end", 0), ("too short for a shot", 198), ("outside --start and --end", 199)]


def test_opentimelineio_reads_the_otio():
    opentimelineio = pytest.importorskip("opentimelineio", reason="opentimelineio is not installed")
    record, shots = dissolving()
    timeline = opentimelineio.adapters.read_from_string(as_otio(record, shots), "otio_json")
    assert timeline.duration().value == 200 and len(list(timeline.find_clips())) == 5


def test_prepare_writes_stats_and_exports_and_other_rules_decode_nothing(tmp_path):
    films, out = tmp_path / "films", tmp_path / "dataset"
    write_video(films / "sub" / "a.mp4", frames=120, shots=2, size=(64, 96))
    options = dict(device="cpu", workers=1, pack="none")
    prepare([films], out, **options, stats=True, export=["json", "edl", "otio", "html"])
    rows = table(out / "stats" / "sub", "a.mp4.csv")
    assert len(rows) == 120 and float(rows[60]["hog"]) > 0.05 > float(rows[61]["hog"])
    assert float(rows[60]["time"]) == pytest.approx(60 / 25)
    assert sorted(path.name for path in (out / "export" / "sub").iterdir()) == [
        f"a.mp4.{kind}" for kind in ("edl", "html", "json", "otio")]
    page = (out / "export" / "sub" / "a.mp4.html").read_text()
    assert page.count("data:image/jpeg") == 6 and "http" not in page
    made = [path.stat().st_mtime_ns for path in (out / "records").iterdir()]

    films.joinpath("sub", "a.mp4").chmod(0)  # nothing may want to read it
    prepare([films], out, **options, threshold=0.9, export=["json"])
    assert [path.stat().st_mtime_ns for path in (out / "records").iterdir()] == made
    assert len(json.loads((out / "export" / "sub" / "a.mp4.json").read_text())["shots"]) == 1
    assert not (out / "stats").exists() and not (out / "export" / "sub" / "a.mp4.edl").exists()


@pytest.mark.parametrize("pack", ["video", "jpeg", "raw", "none"])
def test_drawing_shows_the_first_middle_and_last_frame(datasets, tmp_path, pack):
    from eruv_dali.prepare.shot_page import Drawing, shot_pictures

    record = record_of(datasets[pack], "long/a.mp4")
    shots = find_shots(record.curves)
    pictures = shot_pictures(Drawing(record, shots, datasets[pack] / "pack"))
    assert [[read_number(picture, frame=(96, 128)) for picture in three] for three in pictures] == [
        [0, 83, 166], [167, 250, 333], [334, 416, 499]]
    draw_shots(datasets[pack], tmp_path / "a.png", names=["long/a.mp4"])
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.width == 1440
        red = (np.asarray(sheet.convert("RGB"))[70:85] == (200, 40, 40)).all(-1).any(0)  # the marks above the curve
    at = [48 + frame * (1440 - 12 - 48) / 500 for frame in (167, 334)]
    assert all(red[round(x)] for x in at) and not red[round(at[0]) + 20 : round(at[1]) - 20].any()


def test_drawing_says_what_is_wrong(datasets, tmp_path):
    for arguments, words in (
        ((tmp_path, tmp_path / "a.html"), "no DATASET"),
        ((datasets["jpeg"], tmp_path / "a.pdf"), "ends in .html or .png"),
        ((datasets["jpeg"], tmp_path / "a.png"), "a PNG shows one video"),
    ):
        with pytest.raises(EruvError, match=words):
            draw_shots(*arguments)
    with pytest.raises(EruvError, match="'b.avi' is not in"):
        draw_shots(datasets["jpeg"], tmp_path / "a.html", names=["b.avi"])
