"""The benchmark of loaders: every peer delivers the frames asked for, wrong ones are found, and it runs whole."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered import CENTRE, read_numbers
from places import benchmark
from running import refused

from eruv_dali.dataset import Dataset
from eruv_dali.loader.requests import ClipRequest

throughput = benchmark("throughput")

from peers import files  # noqa: E402 (the benchmark's folder has to be on the path)
from peers.all import PEERS  # noqa: E402
from race import clips, guard, heat  # noqa: E402

USED = ("h264_b.mp4", "vp9.webm", "long/a.mp4")  # those in which frame n lies n frame durations after the first
ON_CPU = [(form, name) for form, peers in PEERS.items() for name, peer in peers.items() if peer.decoder]


def request(video: int, first: int) -> ClipRequest:
    return ClipRequest(video, 0, 0, first + np.arange(clips.T), 0, CENTRE, 1)


def chosen(dataset: Dataset) -> list[int]:
    return [number for number, video in enumerate(dataset.videos) if video.name in USED]


@pytest.fixture(scope="module")
def forms(datasets, tmp_path_factory) -> dict[str, files.Files]:
    """The numbered videos in every form that peers read."""
    dataset, folder = Dataset(datasets["none"]), tmp_path_factory.mktemp("forms")
    videos = chosen(dataset)
    paths = {form: {video: folder / f"{form}{video}{files.SUFFIXES[form]}" for video in videos} for form in files.FORMS}
    for video in videos:
        files._write_video(str(dataset.videos[video].path), dataset.videos[video].frames,
                           {form: str(paths[form][video]) for form in files.FORMS}, 16)
    made = {form: files.Files(form, paths[form], files._copied_time, 1.0) for form in files.FORMS}
    return {"originals": files.originals(dataset, videos), **made}


@pytest.mark.parametrize("form, name", ON_CPU)
def test_peers_deliver_the_frames_asked_for(forms, form, name):
    try:
        decode = PEERS[form][name].decoder()
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"{name}: {str(error).splitlines()[-1]}")
    for video in forms[form].paths:
        for first in (0, 17, 32, 61):
            clip = forms[form].clip(request(video, first))
            pictures = np.asarray(decode(clip))
            assert len(pictures) == clips.T
            if pictures.shape[1:3] != (112, 112):  # SPDL crops in its filters
                top, left = CENTRE
                pictures = pictures[:, top : top + 112, left : left + 112]
            assert read_numbers(pictures, CENTRE) == clip.frames.tolist()


def test_copies_are_in_closed_groups_and_small(forms):
    import av

    for path in forms["copies"].paths.values():
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            packets = [packet for packet in container.demux(stream) if packet.size]
        assert (stream.width, stream.height, stream.pix_fmt) == (176, 128, "yuv420p")
        assert [number for number, packet in enumerate(packets) if packet.is_keyframe] == list(
            range(0, len(packets), 16))
        assert [packet.pts for packet in packets] == [packet.dts for packet in packets]  # no B-pictures


def test_spread_order_repeats_no_video_within_our_look_ahead(datasets, monkeypatch):
    monkeypatch.setattr(clips, "APART", 4)
    dataset = Dataset(datasets["none"])
    videos = list(range(len(dataset.videos)))
    drawn = [clip.video for clip in clips.clip_requests(dataset, videos, 60, 0, "spread")]
    assert all(len(set(drawn[place : place + 5])) == 5 for place in range(56)) and set(drawn) == set(videos)
    drawn = [clip.video for clip in clips.clip_requests(dataset, videos, 60, 0, "random")]
    assert not all(len(set(drawn[place : place + 5])) == 5 for place in range(56))


def test_the_order_falls_back_only_where_none_was_asked_for():
    assert throughput.orders_of(None, clips.APART + 1) == (["spread", "random"], [])
    orders, out = throughput.orders_of(None, clips.APART)
    assert orders == ["random"] and "spread" in out[0]
    with pytest.raises(throughput.EruvError, match="--order spread"):
        throughput.orders_of(["spread"], clips.APART)


@pytest.fixture(scope="module")
def expected(datasets) -> list[guard.Reference]:
    dataset = Dataset(datasets["none"])
    return guard.references(dataset, chosen(dataset))


def delivered(expected: list[guard.Reference], shift: int = 0, error: float = 0.0) -> torch.Tensor:
    """The clips as a contender delivers them, `shift` frames off, with noise."""
    taken = [reference.pictures[np.clip(np.arange(clips.T) + reference.first + shift, 0,
                                        len(reference.pictures) - 1)] for reference in expected]
    right = torch.from_numpy(np.stack(taken)).float() / 255
    return right + error * torch.randn(right.shape, generator=torch.Generator().manual_seed(0))


def test_the_guard_finds_frames_beside_the_right_ones(expected):
    assert guard.wrong_clips(delivered(expected, error=0.03), expected) == []
    assert guard.wrong_clips(delivered(expected, shift=2), expected) == [2] * len(expected)
    black = torch.zeros_like(delivered(expected))
    assert len(guard.wrong_clips(black, expected)) == len(expected)
    one = delivered(expected)
    one[0, 7] = one[0, 5]
    assert guard.wrong_clips(one, expected) == [-2]


class Contender:
    """Delivers what the guard expects; fails in its run number `fails`."""

    def __init__(self, expected: list, fails: int = 99) -> None:
        self.expected, self.left = expected, fails

    def batches(self, requests: list):
        self.left -= 1
        if not self.left:
            raise RuntimeError("no more\nout of luck")
        if len(requests) == len(self.expected):
            yield delivered(self.expected)
        else:
            yield torch.zeros(len(requests), 1)

    def close(self) -> None:
        self.left = 0


def test_who_fails_is_left_out_with_the_reason_and_ours_is_compared_with_the_best(datasets, expected):
    dataset = Dataset(datasets["none"])
    made = {name: Contender(expected, fails) for name, fails in (("ours, x", 99), ("good", 99), ("bad", 3))}
    rows, failed = heat.run_heat(
        {name: lambda contender=contender: contender for name, contender in made.items()}, dataset, chosen(dataset),
        expected, orders=["random"], clips=8, repeats=2, device="cpu", say=lambda line: None)
    assert failed == ["bad (out of luck)"] and [row["loader"] for row in rows] == ["ours, x", "good"]
    assert rows[0]["best_peer"] == "good" and rows[0]["ratio"] == rows[0]["median"] / rows[1]["median"]
    assert rows[1]["ratio"] is None and rows[0]["wrong_clips"] == []
    assert all(contender.left == 0 for contender in made.values())


class StandIn:
    """In place of the network, which takes long on a CPU."""

    def __init__(self, device: str) -> None:
        self.setting = "none"

    def run(self) -> float:
        return 1.0


@pytest.mark.slow
def test_it_runs_whole(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(throughput, "Network", StandIn)
    for name in USED:
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).symlink_to(videos / name)
    result, chart = tmp_path / "result.json", tmp_path / "chart.png"
    monkeypatch.setattr("sys.argv", [
        "throughput.py", "--videos", str(tmp_path / "videos"), "--device", "cpu", "--peers", "pyav", "memmap",
        "dali-reader", "--clips", "4", "--repeats", "1", "--json", str(result), "--plot", str(chart)])
    throughput.main()
    found = json.loads(result.read_text())
    assert [(row["group"], row["loader"]) for row in found["rows"]] == [
        ("originals", "ours, direct"), ("originals", "pyav"), ("copies", "ours, video pack"), ("copies", "pyav"),
        ("jpeg", "ours, jpeg pack"), ("raw", "ours, raw pack"), ("raw", "memmap")]
    assert all(row["wrong_clips"] == [] and row["bytes_per_frame"] > 0 for row in found["rows"])
    assert sum("dali-reader" in line for line in found["left_out"]) == 2
    assert any("spread" in line for line in found["left_out"])
    assert chart.stat().st_size > 0 and "x pyav" in capsys.readouterr().out


@pytest.mark.slow
def test_the_profile_has_python_on_the_training_thread(datasets, tmp_path, monkeypatch):
    result = tmp_path / "result.json"
    monkeypatch.setattr("sys.argv", ["throughput.py", "--data", *map(str, datasets.values()), "--device", "cpu",
                                     "--profile", "--clips", "48", "--json", str(result)])
    throughput.main()
    rows = json.loads(result.read_text())["profile"]
    assert len(rows) == len(datasets) and all(row["python_engine"] > 0 and row["python_loader"] > 0 for row in rows)


@pytest.mark.parametrize("words, said", [
    (["--clips", "0"], "--clips 0"), (["--gop", "0"], "--gop 0"), (["--profile", "--clips", "47"], "--clips 48"),
    (["--codecs", "prores"], "no video"), (["--order", "spread"], "--order spread"),
])
def test_wrong_arguments_are_one_line(datasets, monkeypatch, capsys, words, said):
    peers = [] if "--peers" in words else ["--peers"]
    assert said in refused(monkeypatch, capsys, throughput.main, "--data", Path(datasets["none"]), "--device", "cpu",
                           *words, *peers)
