"""The cost model: rates are read from the results, and figures follow from them by plain arithmetic."""

import json

import pytest
from places import benchmark as load
from running import refused

RESULTS = {
    "shots_decoding": {"frames": 1000, "processor_seconds": {
        "ffmpeg-decode": [1.0, 9.0, 2.0], "prepare": [3.0, 3.0, 3.0], "prepare-video": [5.0, 4.0, 9.0]}},
    "pack_quality": {"frame_size": [100, 200], "rows": [
        {"pack": "video", "changed": "", "bytes_per_frame": 1000.0, "encode_ms": 9.0},
        {"pack": "video", "changed": "quality 16", "bytes_per_frame": 7.0, "encode_ms": 9.0},
        {"pack": "jpeg", "changed": "", "bytes_per_frame": 8000.0, "encode_ms": 4.0}]},
    "index": {"folders": {"shots_synthetic": {"megabytes": 2.0}}},
    "profile_cpu": {"profile": [{"source": source, "decode": 2.0, "python_loader": 1.0} for source in (
        "direct", "video pack", "jpeg pack", "raw pack")]},
}


@pytest.fixture
def rates(tmp_path):
    for name, content in RESULTS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return load("cost").measured(tmp_path)


def test_rates_are_what_was_measured(rates):
    assert rates.original_bytes == 2000 and rates.decode_seconds == 0.002
    assert rates.scan_seconds == pytest.approx({"none": 0.001, "raw": 0.001, "video": 0.003, "jpeg": 0.005})
    assert rates.pack_bytes == {"none": 0, "raw": 60_000, "video": 1000, "jpeg": 8000}
    assert set(rates.clip_seconds.values()) == {0.003}
    assert load("cost").measured().decode_seconds > 0  # those of the repository


def test_costs(rates):
    cost = load("cost")
    work = cost.Work(videos=1000, seconds=36, fps=100, size=(720, 640), epochs=3, backbone="c3d")  # 3.6 million frames
    video, raw, none = (cost.cost(rates, work, pack) for pack in ("video", "raw", "none"))
    assert video.originals == 3.6e6 * 4000 and video.pack == 3.6e9 and raw.pack == 3.6e6 * 60_000 and none.pack == 0
    assert video.prepare_core_hours == pytest.approx(4 + 3) and raw.prepare_core_hours == pytest.approx(4 + 1)
    clips = 3.6e6 / (6.4e6 / 30_500) * 2 * 3
    assert video.load_core_hours == pytest.approx(clips * 0.003 / 3600)
    assert video.train_gpu_hours == pytest.approx(clips * 231e9 / (798e12 * 0.35) / 3600)
    assert raw.read_per_gpu == pytest.approx(798e12 * 0.35 / 231e9 * 16 * 60_000)
    days = video.days(cores=7 / 24, gpus=1)
    assert days["prepare"] == pytest.approx(1) and max(days, key=days.get) == "prepare"


def test_results_that_are_missing(monkeypatch, capsys, tmp_path):
    cost = load("cost")
    with pytest.raises(cost.EruvError, match="holds no results to reckon with"):
        cost.measured(tmp_path)
    assert "--gpus 0 must be greater" in refused(monkeypatch, capsys, cost.main, "--gpus", "0")
