"""The proof for a GPU: its limits add up, a run cut off leaves what it had, figures stand beside their limits."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numbered import write_video
from places import ROOT, benchmark

from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError

SCRIPT = ROOT / "benchmarks" / "gpu_proof.sh"
LONGEST = 600  # seconds that a command may take; the last table and archive need some of them


def body(function: str) -> str:
    return re.search(rf"^{function}\(\) \{{.*?^\}}", SCRIPT.read_text(), re.M | re.S)[0]


@pytest.mark.parametrize("run", ["run_A", "run_B"])
def test_the_limits_of_the_parts_add_up_below_the_total(run):
    total = int(re.search(r"^TOTAL=(\d+)", SCRIPT.read_text(), re.M)[1])
    lines = [line.split() for line in body(run).splitlines() if re.match(r"\s+(part|bench|packs) ", line)]
    limits = {words[0] if words[0] == "packs" else words[1]: words[1 if words[0] == "packs" else 2] for words in lines}
    if run == "run_A":  # the last part takes what is left, but at least this
        limits["sanitizer"] = re.search(r"TOTAL - SECONDS : (\d+)\)\)", body(run))[1]
        assert list(limits)[-1] == "sanitizer"
    assert sum(map(int, limits.values())) <= total <= LONGEST - 25
    assert list(limits)[:2] == ["machine", "doctor"]


def test_all_files_with_tests_of_the_gpu_are_run_and_those_for_the_sanitizer_exist():
    command = f"{body('gpu_tests')}\ngpu_tests"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = done.stdout.split()
    marked = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")
              if re.search(r"mark\.gpu\b", path.read_text()) and path.resolve() != Path(__file__).resolve()}
    assert marked <= set(listed) and len(listed) == len(set(listed))
    assert all((ROOT / name).exists() for name in listed) and listed[0] == "tests/shots/test_hog.py"
    named = re.findall(r"test_gpu_\w+", body("run_A"))
    files = "".join((ROOT / name).read_text() for name in re.findall(r"tests/\w+/\w+\.py", body("run_A")))
    assert len(named) == 3 and all(f"def {name}(" in files for name in named)


def test_a_run_that_is_cut_off_leaves_the_parts_that_it_had(tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/bash\ncase "$*" in *proof_table*) exec {sys.executable} "$@";; '
                      '*machine*) echo a fine machine;; *) sleep 200;; esac\n')
    python.chmod(0o755)
    out, videos = tmp_path / "out", tmp_path
    environment = {**os.environ, "DEVICE": "cpu", "PYTHON": str(python), "TMPDIR": str(tmp_path),
                   "ARCHIVE_EVERY": "1000"}  # so that what archives is the end of a part
    run = subprocess.Popen(["bash", SCRIPT, "A", out, videos], env=environment, start_new_session=True,
                           stdout=subprocess.DEVNULL)
    archive, until = out / "proof_A.tar.gz", time.monotonic() + 100
    while not archive.exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    with tarfile.open(archive) as tar:
        names = {Path(name).name for name in tar.getnames()}
        assert {"machine.log", "machine.part.json", "proof.md"} <= names and "doctor.part.json" not in names
        assert b"a fine machine" in tar.extractfile("./machine.log").read()


def write_parts(folder: Path, **codes: int) -> None:
    for number, (name, code) in enumerate(codes.items()):
        file = folder / f"{name}.part.json"
        file.write_text(json.dumps({"part": name, "exit_code": code, "limit": 10, "seconds": 1.0, "command": ""}))
        os.utime(file, (number, number))
        (folder / f"{name}.log").write_text(f"said by {name}\n")


def test_the_table_puts_figures_beside_their_limits(tmp_path, monkeypatch, capsys):
    table = benchmark("proof_table")
    write_parts(tmp_path, nvdec_video=0, loading=124)
    turn = {"python": 0.1, "utilisation": {"nvdec": 71.0}}
    (tmp_path / "nvdec_video.json").write_text(json.dumps({"rows": [
        {"pack": "video", "clips_per_second": 2000.0, "pictures_a_clip": 25.0, "clips_without_slice": 3}]}))
    (tmp_path / "loading.json").write_text(json.dumps({"rows": [
        {"pack": pack, "clips_per_second": rate, "turns": [{**turn, "clips_per_second": rate}]}
        for pack, rate in (("video", 1700.0), ("raw", 3500.0), ("jpeg", 2000.0))]
        + [{"pack": "none", "turns": []}]}))
    monkeypatch.setattr("sys.argv", ["proof_table.py", str(tmp_path)])
    assert table.main() == 1
    said = capsys.readouterr().out
    assert "| loading | out of time |" in said and (tmp_path / "proof.md").read_text() == said
    found = {figure.what: figure for figure in table.figures(tmp_path)}
    video = found["RelationLoader, video pack"]
    assert not video.met and "85% of it" in video.limit and "50,000 pictures/s; ours 42,500" in video.limit
    assert "nvdec 71 % busy" in video.limit
    assert found["RelationLoader, raw pack"].met and "32,000 JPEGs/s" in found["RelationLoader, jpeg pack"].limit
    assert len(found) == 3
    write_parts(tmp_path, loading=0)
    assert table.main() == 0


def test_the_step_is_compared_with_float32_and_tf32_is_named(tmp_path):
    train_step, table = benchmark("train_step"), benchmark("proof_table")
    runs = {"loader + network": [(94.0, 0.06)], "cached batch": [(100.0, 0.0)], "reference": [(25.0, 0.0)],
            "reference, TF32": [(50.0, 0.0)]}
    peaks = {"torch.bfloat16": 800e9, "torch.float32": 50e9, "TF32": 400e9}
    rows = {row["way"]: row for row in train_step.figures(runs, "torch.bfloat16", peaks, 1e9)}
    assert rows["reference, TF32"]["of_matrix_peak"] == 50 / 400 and rows["reference"]["of_matrix_peak"] == 0.5
    assert train_step.ratio(runs) == 0.94
    step, peak, loaded = table.step("c3d", {"rows": list(rows.values()), "matrix_peak": peaks,
                                            "loader_of_cached": 0.94})
    assert step.met and "4.00 × it, 2.00 × it with TF32" in step.limit
    assert not peak.met and "TF32 0.4" in peak.limit and not loaded.met


def test_waiting_is_measured_without_the_start_of_the_epoch():
    train_step = benchmark("train_step")
    begun = []

    class Loader:
        def __iter__(self):
            begun.append(1)
            time.sleep(0.3)
            while True:
                yield type("Batch", (), {"clips": torch.zeros(1), "relation": torch.zeros(1)})

    loaded = train_step.Loaded(Loader(), 8, torch.device("cpu"))

    def step(*_):
        time.sleep(0.01)

    _, waited = train_step.timed(step, loaded.take(train_step.SKIPPED), torch.device("cpu"))
    assert waited > 0.5
    for _ in range(2):
        assert train_step.timed(step, loaded, torch.device("cpu"))[1] < 0.1
    assert begun == [1]


@pytest.mark.parametrize("codec, suffix", [("libx264", "mp4"), ("libx265", "mp4"), ("mpeg4", "avi"),
                                           ("libvpx-vp9", "webm")])
def test_packets_for_nvdec_are_a_whole_stream_of_their_own(tmp_path, codec, suffix):
    raw_nvdec = benchmark("raw_nvdec")
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        made = container.add_stream(codec, rate=25)
        made.width, made.height, made.pix_fmt = 160, 128, "yuv420p"
        made.options = {"x265-params": "log-level=none"}
        for number in range(12):
            picture = av.VideoFrame.from_ndarray(np.full((128, 160, 3), 20 * number, np.uint8), format="rgb24")
            container.mux(made.encode(picture))
        container.mux(made.encode())
    stream = raw_nvdec.packets_of(path.read_bytes(), np.array([0, 11]))
    assert stream.codec in raw_nvdec.CODECS and (stream.width, stream.height) == (160, 128)
    decoder = av.CodecContext.create(stream.codec, "r")  # without the container's header
    shown = [frame for packet in stream.packets for frame in decoder.decode(av.Packet(packet))] + decoder.decode(None)
    assert len(shown) == len(stream.packets) == 12
    if codec in ("libx264", "libx265"):
        assert all(packet.startswith((b"\0\0\1", b"\0\0\0\1")) for packet in stream.packets)


@pytest.mark.parametrize("pack", ["video", "none"])
def test_slices_for_nvdec_are_cut_where_there_is_none(datasets, pack):
    raw_nvdec = benchmark("raw_nvdec")
    streams, without = raw_nvdec.streams_of(Dataset(datasets[pack]), 12, "cpu")
    assert len(streams) + without == 12 and streams
    assert all(len(stream.wanted) <= 16 and stream.wanted.max() < len(stream.packets) for stream in streams)


def test_raw_nvdec_builds_here_and_says_what_is_missing():
    raw_nvdec = benchmark("raw_nvdec")
    if not shutil.which("g++"):
        pytest.skip("no g++")
    missing = raw_nvdec.missing(raw_nvdec.library())
    if not torch.cuda.is_available():
        assert missing.startswith("libcuda.so.1 cannot be loaded") or "libnvcuvid" in missing
        stream = raw_nvdec.Stream("h264", 16, 16, [b"\0"], np.array([0]))
        with pytest.raises(EruvError, match="h264 16x16: lib"):
            raw_nvdec.rate(raw_nvdec.library(), [stream], 2, 0.1)


def test_the_start_of_pre_training_is_left_out():
    pretrain_wait = benchmark("pretrain_wait")
    lines = [{"step": 10, "clips_per_second": 1.0, "data_wait": 0.9}, {"step": 20, "clips_per_second": 100.0,
             "data_wait": 0.5}, {"step": 30, "clips_per_second": 100.0, "data_wait": 0.1},
             {"step": 40, "clips_per_second": 50.0, "data_wait": 0.0}, {"step": 40, "val": {}}]
    found = pretrain_wait.after_start("\n".join(map(json.dumps, lines)), 20)
    assert found["clips_per_second"] == pytest.approx(20 / (10 / 100 + 10 / 50))
    assert found["data_wait"] == pytest.approx(0.1 * 0.1 / 0.3)
    with pytest.raises(EruvError, match="more --steps"):
        pretrain_wait.after_start(json.dumps(lines[0]), 20)


def test_videos_to_carry_are_what_their_names_say(tmp_path):
    carry = benchmark("gpu_carry")
    write_video(tmp_path / "source.mp4", frames=24, size=(48, 64))
    written = carry.write_samples(tmp_path / "made", [tmp_path / "source.mp4"], seconds=0.5)
    assert 12 <= len(written) <= 15 and {count for _, count in written} == {12}
    seen = {}
    for sample, (path, _) in zip(carry.SAMPLES, written, strict=True):
        with av.open(str(path)) as container:
            codec = container.streams.video[0].codec_context
            frames = list(container.decode(video=0))
            assert (codec.width, codec.height, codec.pix_fmt.replace("yuvj", "yuv")) == (*sample.size, sample.pixels)
            assert len(frames) == 12
            seen[path.stem] = (codec.name, frames[0].colorspace, frames[0].color_range)
    assert {codec for codec, *_ in seen.values()} >= {"h264", "hevc", "mpeg4"} and "vp9" in seen["vp9"][0]
    assert seen["h264_709"][1] == 1 and seen["h264_full_range"][2] == 2
    assert sum(sample.gop == 250 for sample in carry.SAMPLES) == 2


def test_what_does_not_fit_in_a_call_is_found(tmp_path, monkeypatch, capsys):
    carry = benchmark("gpu_carry")
    write_video(tmp_path / "source.mp4", frames=24, size=(128, 176))
    parts = tmp_path / "parts"
    parts.mkdir()
    for number in range(2):
        (parts / f"part-0{number}").write_bytes(bytes(1 << 20))
    monkeypatch.setattr(carry, "SAMPLES", carry.SAMPLES[:1])
    options = ["gpu_carry.py", "--out", str(tmp_path / "out"), "--videos", str(tmp_path / "source.mp4"), "--seconds",
               "0.5", "--packages", str(parts)]
    monkeypatch.setattr("sys.argv", options)
    carry.main()
    said = capsys.readouterr().out
    assert said.count("call ") == 2 and "! " not in said and f"gpu_proof.sh A \"$OUT\" {tmp_path}/out/videos" in said
    monkeypatch.setattr("sys.argv", [*options, "--limit-mib", "1"])
    with pytest.raises(SystemExit):
        carry.main()
    assert capsys.readouterr().out.count("! ") == 2


def test_prepare_on_two_devices_is_compared_video_by_video(datasets, monkeypatch):
    check = benchmark("prepare_check")
    base, other = Dataset(datasets["raw"]), Dataset(datasets["raw"])
    rows = check.compare(base, other)
    assert len(rows) == len(base.videos) and all(row["same"] and row["pixel_difference"] == 0 for row in rows)
    cuts = [check.shot_starts(base), {name: set() for name in check.shot_starts(base)}]
    monkeypatch.setattr(check, "shot_starts", lambda _: cuts.pop(0))
    real = check.pictures
    monkeypatch.setattr(check, "pictures", lambda dataset, *rest: real(dataset, *rest) | (3 * (dataset is other)))
    rows = check.compare(base, other)
    assert sum(row["cuts_changed"] for row in rows) == sum(row["cuts"] for row in rows) > 0
    assert max(row["mean_difference"] for row in rows) > 0


def test_engines_that_nvml_does_not_know_are_named_and_the_others_go_on(monkeypatch):
    loading = benchmark("loading")
    monkeypatch.setattr(loading, "EVERY", 0.001)
    assert loading.Utilisation("cpu").missing == "no GPU"
    used = loading.Utilisation("cpu")

    def unknown() -> float:
        raise RuntimeError("not supported")

    used._engines = {"nvdec": lambda: 40.0, "nvjpg": unknown}
    with used:
        time.sleep(0.1)
    assert used.means == {"nvdec": 40.0} and used.missing == "nvjpg: not supported"


def test_loaders_take_turns_and_are_written_after_each(datasets, tmp_path, monkeypatch):
    loading, file = benchmark("loading"), tmp_path / "loading.json"
    data = [str(datasets["raw"]), str(datasets["video"])]
    monkeypatch.setattr("sys.argv", ["loading.py", "--data", *data, "--device", "cpu", "--batch-size", "2", "--crop",
                                     "32", "--seconds", "0.1", "--json", str(file)])
    loading.main()
    rows = {row["pack"]: row for row in json.loads(file.read_text())["rows"]}
    assert set(rows) == {"raw", "video"}
    assert all(len(row["turns"]) == 2 and row["clips_per_second"] > 0 and row["turns"][0]["python"] > 0
               for row in rows.values())
