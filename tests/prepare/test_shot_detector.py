"""prepare as a shot detector: shortest shot, range of time, shots as files and pictures, lists, JSON lines, options."""

import io
import json
import os
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numbered import read_number, write_video
from PIL import Image
from prepared import table

from eruv_dali.dataset.opened import read_settings
from eruv_dali.errors import EruvError
from eruv_dali.prepare import prepare, shot_files
from eruv_dali.prepare.__main__ import clock_time, listed, main
from eruv_dali.prepare.option_file import parse_with_file
from eruv_dali.prepare.shot_images import frames_shown
from eruv_dali.shots import Shot
from eruv_dali.shots.rules import MIN_SHOT
from eruv_dali.video.frames import rgb_picture

SIZE = (64, 96)
OPTIONS = dict(device="cpu", workers=1, pack="none", min_length=1)


def numbers_in(path: Path) -> list[int]:
    """The numbers that the frames of a file carry."""
    with av.open(str(path)) as container:
        return [read_number(frame.reformat(171, 128, "rgb24").to_ndarray()) for frame in container.decode(video=0)]


def add_sound(path: Path, out: Path, codec: str = "aac") -> Path:
    """The same packets with 4 seconds of sound beside them."""
    rate, length, kind, sample = {"aac": (16000, 1024, "fltp", np.float32),
                                  "pcm_alaw": (8000, 800, "s16", np.int16)}[codec]
    with av.open(str(path)) as source, av.open(str(out), "w") as output:
        video = output.add_stream_from_template(source.streams.video[0])
        sound = output.add_stream(codec, rate=rate, layout="mono")
        for n in range(4 * rate // length):
            loud = n / 100 if kind == "fltp" else n
            frame = av.AudioFrame.from_ndarray(np.full((1, length), loud, sample), kind, "mono")
            frame.sample_rate, frame.pts = rate, n * length
            output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                output.mux(packet)
    return out


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """Two shots of 50 frames: in a.mp4 the cut is at a key frame, in b.mp4 (with sound) it is not."""
    folder = tmp_path_factory.mktemp("films")
    write_video(folder / "v" / "a.mp4", frames=100, shots=2, size=SIZE, gop=25, b_frames=2,
                options={"sc_threshold": "0"})
    write_video(folder / "b.mp4", frames=100, shots=2, size=SIZE, gop=250, b_frames=2, options={"sc_threshold": "0"})
    add_sound(folder / "b.mp4", folder / "v" / "b.mp4")
    return folder / "v"


@pytest.fixture(scope="module")
def split(films, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out")
    prepare([films], out, **OPTIONS, split=True, images=3)
    return out


@pytest.mark.parametrize("name", ["a.mp4", "b.mp4"])
def test_split_writes_each_shot_with_its_frames_and_no_others(split, name):
    files = sorted((split / "split" / name).iterdir())
    assert [path.name for path in files] == ["0000.mp4", "0001.mp4"]
    assert [numbers_in(path) for path in files] == [list(range(50)), list(range(50, 100))]
    with av.open(str(files[1])) as container:
        assert container.duration == pytest.approx(2e6, abs=1.5e5)


def test_split_copies_between_key_frames_and_encodes_elsewhere(films, split):
    def packets(path, count=None):
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    original = packets(films / "a.mp4")
    assert packets(split / "split" / "a.mp4" / "0001.mp4") == original[50:]
    assert not set(packets(split / "split" / "b.mp4" / "0001.mp4")) & set(packets(films / "b.mp4"))


def test_split_keeps_the_sound_that_belongs_to_a_shot(split):
    for number, first in ((0, 0), (1, 32)):
        with av.open(str(split / "split" / "b.mp4" / f"{number:04d}.mp4")) as container:
            sound = [packet for packet in container.demux(audio=0) if packet.size]
            assert len(sound) == pytest.approx(31, abs=2), (number, first)
            assert float(sound[0].pts * sound[0].time_base) < 0.1


@pytest.fixture(scope="module")
def split_odd(films, tmp_path_factory) -> Path:
    """Split: AV1, whose decoder and encoder differ in name; sound and video that mp4 and mkv refuse."""
    folder = tmp_path_factory.mktemp("odd")
    write_video(folder / "av1.mp4", frames=60, size=SIZE, codec="libsvtav1", options={"preset": "12"}, gop=30)
    write_video(folder / "h263.3gp", frames=60, size=(144, 176), codec="h263")
    add_sound(films / "a.mp4", folder / "alaw.mov", "pcm_alaw")  # only QuickTime holds it
    prepare([folder], folder / "out", **OPTIONS, split=True, export=["edl"])
    return folder / "out"


def test_split_of_what_its_containers_do_not_hold(split_odd, films):
    files = {path.relative_to(split_odd / "split").as_posix(): path for path in (split_odd / "split").rglob("*.m*")
             if path.is_file()}
    assert sorted(files) == ["alaw.mov/0000.mp4", "alaw.mov/0001.mp4", "av1.mp4/0000.mp4", "h263.3gp/0000.mp4"]
    assert numbers_in(files["alaw.mov/0001.mp4"]) == list(range(50, 100))
    assert numbers_in(files["av1.mp4/0000.mp4"]) == numbers_in(files["h263.3gp/0000.mp4"]) == list(range(60))
    for name, codec in (("av1.mp4", "av1"), ("h263.3gp", "h264"), ("alaw.mov", "h264")):
        with av.open(str(files[f"{name}/0000.mp4"])) as container:
            assert container.streams.video[0].codec_context.codec.canonical_name == codec
            assert not container.streams.audio


def test_sound_that_is_left_out_is_said_once(films, tmp_path, capsys):
    prepare([add_sound(films / "a.mp4", tmp_path / "alaw.mov", "pcm_alaw")], tmp_path / "out", **OPTIONS, split=True)
    assert capsys.readouterr().err.count("alaw.mov: the files of --split are without its sound (pcm_alaw)") == 1


def test_a_video_that_pyav_refuses_to_write_is_not_split_and_the_others_are(films, tmp_path, monkeypatch, capsys):
    encode = shot_files._encode

    def refused(folder, path, record, *rest):
        if record.note.video == "a.mp4":
            raise av.codec.codec.UnknownCodecError("libnone")
        encode(folder, path, record, *rest)

    monkeypatch.setattr(shot_files, "_encode", refused)
    monkeypatch.setattr(shot_files, "_copied", lambda *_: False)
    prepare([films], tmp_path / "out", **OPTIONS, split=True)
    assert "a.mp4: no split" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out" / "split" / "b.mp4").iterdir()]


def test_images_are_frames_of_their_shots(split):
    pictures = sorted((split / "images" / "b.mp4").iterdir())
    assert [path.name for path in pictures] == [
        f"{shot:04d}-frame-{frame}.jpg" for shot, frames in ((0, (0, 24, 49)), (1, (50, 74, 99))) for frame in frames]
    for path in pictures:
        with Image.open(path) as image:
            assert image.size == SIZE[::-1]
            assert read_number(np.asarray(image.resize((171, 128)))) == int(path.stem.split("-")[-1])
    assert frames_shown(Shot(10, 13, 0, 10), 5) == [10, 11, 12] and frames_shown(Shot(10, 13, 0, 10), 1) == [11]


@pytest.mark.parametrize("turned", [0, 90])
def test_encoded_shots_keep_the_shape_of_their_pixels_and_their_colours(tmp_path, turned):
    def look(path):
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            said = container.streams.video[0].codec_context
            return (container.streams.video[0].sample_aspect_ratio, said.color_primaries, said.color_trc,
                    int(frame.colorspace), int(frame.color_range)), frame.to_ndarray(format="rgb24")[10, 10].tolist()

    with av.open(str(tmp_path / "0.mp4"), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = *SIZE[::-1], "yuv420p"
        coder = stream.codec_context
        coder.sample_aspect_ratio, coder.gop_size = Fraction(16, 11), 250
        coder.colorspace, coder.color_primaries, coder.color_trc, coder.color_range = 9, 9, 16, 2  # BT.2020, PQ, full
        for _ in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((*SIZE, 3), (240, 20, 60), np.uint8), format="rgb24")
            output.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=9, dst_color_range=2)))
        output.mux(stream.encode())
    if turned:
        turn(tmp_path / "0.mp4", tmp_path / "90.mp4", 90)
    prepare([tmp_path / f"{turned}.mp4"], tmp_path / "out", **OPTIONS, end=0.6, split=True)
    found, colour = look(tmp_path / "out" / "split" / f"{turned}.mp4" / "0000.mp4")
    assert found == (Fraction(11, 16) if turned else Fraction(16, 11), 9, 16, 9, 2)
    assert colour == pytest.approx(look(tmp_path / "0.mp4")[1], abs=4)


def turn(path: Path, out: Path, degrees: int) -> None:
    """The same packets, to be shown turned."""
    with av.open(str(path)) as source, av.open(str(out), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        if not hasattr(stream, "set_display_rotation"):
            pytest.skip("this PyAV cannot write a rotation")
        stream.set_display_rotation(degrees)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)


def test_a_rotated_video_is_split_upright(tmp_path):
    write_video(tmp_path / "plain.mp4", frames=60, size=SIZE, gop=250, options={"sc_threshold": "0"})
    turn(tmp_path / "plain.mp4", tmp_path / "turned.mp4", 90)
    prepare([tmp_path / "turned.mp4"], tmp_path / "out", **OPTIONS, end=1.0, split=True)
    with av.open(str(tmp_path / "out/split/turned.mp4/0000.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [(frame.width, frame.height) for frame in frames] == [SIZE] * 25
    with av.open(str(tmp_path / "turned.mp4")) as container:
        upright = rgb_picture(next(container.decode(video=0)), *SIZE[::-1])
    assert np.abs(frames[0].to_ndarray(format="rgb24").astype(int) - upright).mean() < 10  # turned the wrong way 60


def test_a_range_keeps_the_parts_of_shots_within_it_and_decodes_nothing(split, films):
    made = [path.stat().st_mtime_ns for path in (split / "records").iterdir()]
    prepare([films], split, **OPTIONS, start=1.0, end=3.0)
    rows = [row for row in table(split, "shots.csv") if row["video"] == "a.mp4"]
    assert [(row["start"], row["end"], row["transition"]) for row in rows] == [("25", "50", ""), ("50", "75", "cut")]
    assert [path.stat().st_mtime_ns for path in (split / "records").iterdir()] == made
    assert not (split / "split").exists()
    prepare([films], split, **OPTIONS, start=2.0, export=["otio"])
    clips = json.loads((split / "export/a.mp4.otio").read_text())["tracks"]["children"][0]["children"]
    assert [clip["name"] for clip in clips] == ["outside --start and --end", "shot 0"]
    rows = [row for row in table(split, "shots.csv") if row["video"] == "a.mp4"]
    assert [(row["start"], row["end"], row["transition"]) for row in rows] == [("50", "100", "cut")]


def test_a_range_that_begins_after_every_video_is_refused_and_changes_nothing(films, split):
    before = {path: path.read_bytes() for path in split.rglob("*") if path.is_file()}
    with pytest.raises(EruvError, match=r"^start 4: every video ends before, the longest, b\.mp4, after 4\.0 "):
        prepare([films], split, **OPTIONS, start=4)
    assert {path: path.read_bytes() for path in split.rglob("*") if path.is_file()} == before


def test_a_late_start_with_a_new_video_leaves_the_dataset_as_it_is(films, tmp_path):
    prepare([films / "a.mp4"], tmp_path, **OPTIONS)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(EruvError, match=r"^start 500: every video ends before, of those held, .* videos without"):
        prepare([films], tmp_path, **OPTIONS, start=500)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_shots_that_it_writes_are_no_videos_for_it(films, tmp_path, monkeypatch):
    """Where --out lies in the folder given."""
    shutil.copytree(films, tmp_path / "films")
    monkeypatch.chdir(tmp_path / "films")
    (tmp_path / "films" / "link").symlink_to(tmp_path / "films" / "cuts" / "split")
    for given in (".", ".", tmp_path, "cuts"):
        if given == "cuts":
            with pytest.raises(EruvError, match="no videos in this folder"):
                prepare(given, "cuts", **OPTIONS)
            continue
        prepare(given, "cuts", **OPTIONS, split=True, export="edl")
        assert [Path(row["video"]).name for row in table(Path("cuts"), "videos.csv")] == ["a.mp4", "b.mp4"]
        assert len(list(Path("cuts/split").rglob("0*.mp4"))) == 4 and len(list(Path("cuts").rglob("*.edl"))) == 2
    prepare(["cuts/split"], tmp_path / "of_shots", **OPTIONS)
    assert len(table(tmp_path / "of_shots", "videos.csv")) == 4
    for given in ("cuts/split", "cuts/split/films/a.mp4/0000.mp4"):
        with pytest.raises(EruvError, match="lies in cuts/split, which prepare deletes and makes anew"):
            prepare([given], "cuts", **OPTIONS, remove=True)
    shutil.copytree("cuts/split/films/a.mp4", "cuts/mine")
    prepare(["cuts/mine"], "cuts", **OPTIONS, remove=True)  # named itself
    assert len(table(Path("cuts"), "videos.csv")) == 2


def test_the_shortest_shot_can_be_chosen(films, split):
    prepare([films], split, **OPTIONS, min_shot=60)
    assert [(row["start"], row["end"]) for row in table(split, "shots.csv")] == [("0", "100")] * 2
    assert read_settings(split)["min_shot"] == 60


def test_json_lines_from_a_list_on_standard_input(films, split, monkeypatch, capsys):
    paths = f"{films / 'a.mp4'}\n{films / 'b.mp4'}\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(paths)))
    monkeypatch.setattr(sys, "argv", ["prepare", "-", "--out", str(split), "--device", "cpu", "--pack", "none",
                                      "--min-length", "1", "--json-lines"])
    main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["video"], line["start"], line["end"], line["end_time"]) for line in lines] == [
        (name, start, start + 50, start / 25 + 2) for name in ("a.mp4", "b.mp4") for start in (0, 50)]


def test_json_lines_that_nobody_reads_any_more(films, split, monkeypatch):
    """As with `| head`: the DATASET is finished all the same."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", buffering=1) as output:
        monkeypatch.setattr(sys, "stdout", output)
        prepare(str(films), split, **OPTIONS, print_shots=True, threshold=0.05)
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)  # for what is left at the end
    assert read_settings(split)["threshold"] == 0.05 and len(table(split, "videos.csv")) == 2


def test_lists_of_paths():
    assert listed(io.BytesIO(b"a b.mp4\n\nc.mp4\n")) == ["a b.mp4", "c.mp4"]
    assert listed(io.BytesIO(b"a\nb.mp4\0c.mp4\0")) == ["a\nb.mp4", "c.mp4"]
    assert listed(io.BytesIO(b"\xef\xbb\xbfa.mp4\r\nb \r\n\r\n")) == ["a.mp4", "b "]  # of Windows
    with pytest.raises(EruvError, match="no paths came on standard input"):
        listed(io.BytesIO(b"\n"))


def test_options_come_from_a_file_unless_the_command_line_says_otherwise(films, split, tmp_path, monkeypatch):
    (tmp_path / "options.yaml").write_text(
        f"out: {split}\ndevice: cpu\npack: none\nmin-length: 1\nmin-shot: 60\nend: 0:03\nexport: [edl]\nstats: true\n")
    monkeypatch.setattr(sys, "argv", ["prepare", str(films), "--config", str(tmp_path / "options.yaml"),
                                      "--min-shot", "8"])
    main()
    assert [row["end"] for row in table(split, "shots.csv")] == ["50", "75"] * 2
    assert (split / "export" / "a.mp4.edl").exists() and (split / "stats" / "a.mp4.csv").exists()


@pytest.mark.parametrize(("text", "names"), [
    ("min-shots: 3", "'min-shots' is no option; did you mean 'min-shot'"),
    ("min-shot: many", "min-shot: 'many' is not a value"),
    ("stats: 3", "stats: 3 is not true or false"),
    ("pack: zip", "pack: 'zip' is not one of none, video"),
    ("export: [edl, avid]", "export: 'avid' is not one of"),
    ("start: [1]", "start: .* is not a value"),
    ("- 3", "holds no options"),
    ("a: [", "not valid YAML"),
    ("shard: 0/2\nmerge: true", "shard and merge exclude each other"),
])
def test_bad_option_files_are_named(tmp_path, monkeypatch, text, names):
    (tmp_path / "options.yaml").write_text(text)
    monkeypatch.setattr(sys, "argv", ["prepare", "x", "--out", str(tmp_path / "o"), "--config",
                                      str(tmp_path / "options.yaml")])
    with pytest.raises(EruvError, match=f"options.yaml: {names}"):
        main()


@pytest.mark.parametrize(("content", "line", "shard", "merge", "add", "remove"), [
    ("shard: 0/2", ["--merge"], None, True, False, False),
    ("shard: 0/2", ["--shard=1/2"], "1/2", False, False, False),
    ("merge: true", ["--shard", "1/2"], "1/2", False, False, False),
    ("shard: 0/2\nmerge: false", [], "0/2", False, False, False),
    ("merge: true", ["--ray", "auto"], None, False, False, False),
    ("add: true", ["--remove"], None, False, False, True),
    ("add: true\nshard: 0/2", [], "0/2", False, True, False),
])
def test_what_the_line_says_excludes_what_the_file_says(
    tmp_path, monkeypatch, content, line, shard, merge, add, remove
):
    (tmp_path / "options.yaml").write_text(f"out: o\n{content}")
    found = []
    monkeypatch.setattr("eruv_dali.prepare.__main__.parse_with_file", lambda parser: found.append(
        parse_with_file(parser, ["x", "--config", str(tmp_path / "options.yaml"), *line])) or sys.exit())
    with pytest.raises(SystemExit):
        main()
    assert [getattr(found[0], name) for name in ("shard", "merge", "add", "remove")] == [shard, merge, add, remove]


def test_options_are_not_abbreviated(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["prepare", "x", "--out", "o", "--conf", "options.yaml"])
    with pytest.raises(EruvError, match="unrecognized arguments: --conf"):
        main()


def test_a_list_from_a_closed_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["prepare", "-", "--out", "o"])
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(EruvError, match="^-: standard input is closed"):
        main()


@pytest.mark.parametrize(("options", "names"), [
    (dict(min_shot=0), "min_shot 0"), (dict(start=5.0, end=3.0), "start 5"), (dict(start=-1.0), "start -1"),
    (dict(images=-1), "images -1"), (dict(images=1.5), "images 1.5"), (dict(workers="2"), "workers '2'"),
    (dict(frame_size="128x171"), "frame_size '128x171'"), (dict(frame_size=(128, 70000)), "frame_size 70000"),
    (dict(segment_length=2**31), "segment_length 2147483648"), (dict(segment_length=9.5), "segment_length 9.5"),
    (dict(threshold="high"), "threshold 'high'"), (dict(pack="jpeg", quality="x"), "quality 'x'"),
    (dict(start="1:30"), "start '1:30'"), (dict(end="x"), "end 'x'"),
    (dict(time_limit=None), "time_limit None"), (dict(time_limit=0), "time_limit 0"),
])
def test_bad_arguments_are_named(films, tmp_path, options, names):
    with pytest.raises(EruvError, match=names):
        prepare([films], tmp_path / "out", **{**OPTIONS, **options})
    assert not (tmp_path / "out").exists()


def test_help_names_the_shortest_shot(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["prepare", "--help"])
    with pytest.raises(SystemExit):
        main()
    said = " ".join(capsys.readouterr().out.split())
    assert f"default {MIN_SHOT} with robust, 1 with the others" in said
    assert said.count("a run without this option deletes them") == len(("stats", "split", "save-images", "export"))


def test_times_as_people_write_them():
    assert [clock_time(text) for text in ("90", "1:30", "0:01:30.5")] == [90, 90, 90.5]
    for text in ("", "1:70", "x", "-3", "1:2:3:4", "nan"):
        with pytest.raises(Exception, match="is not a time"):
            clock_time(text)


def test_a_video_that_is_gone_cannot_be_split_and_that_is_said(films, tmp_path, capsys):
    video = tmp_path / "gone.mp4"
    video.write_bytes((films / "a.mp4").read_bytes())
    prepare([video], tmp_path / "out", **OPTIONS)
    video.unlink()
    prepare([films / "a.mp4"], tmp_path / "out", **OPTIONS, add=True, split=True, images=1)
    said = " ".join(capsys.readouterr().err.split())
    assert "gone.mp4: no split" in said and "gone.mp4: no images" in said
    assert len(list((tmp_path / "out" / "split" / "a.mp4").iterdir())) == 2
