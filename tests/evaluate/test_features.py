"""Features: the clips are those promised, the last batch counts, short videos are kept."""

import threading

import numpy as np
import pytest
import torch
from numbered import numbers, write_video

from eruv_dali import ClipLoader, EruvError, build_backbone
from eruv_dali.dataset import Dataset
from eruv_dali.evaluate.even_clips import EvenClips, clip_starts
from eruv_dali.evaluate.features import pool5, video_features


def numbers_of(clips_BCTHW: torch.Tensor) -> torch.Tensor:
    """(B, T): the number that each frame carries."""
    return torch.tensor([numbers(clip) for clip in clips_BCTHW])


def test_clips_start_evenly_from_the_first_frame_to_the_last():
    assert clip_starts(106, 10, 16) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert clip_starts(16, 10, 16) == clip_starts(5, 10, 16) == [0] * 10
    assert clip_starts(120, 1, 16) == [0]


@pytest.mark.parametrize("pack", [None, "video", "jpeg", "raw"])
@pytest.mark.parametrize("batch_size", [7, 20])
def test_ten_clips_a_video_read_back_from_the_pixels(videos, datasets, pack, batch_size):
    dataset = Dataset(datasets[pack]) if pack else None
    paths = [videos / name for name in ("vp9.webm", "mpeg4.mp4", "h264_b.mp4")]
    with EvenClips(paths, batch_size=batch_size, dataset=dataset, device="cpu") as even:
        shown = even.answers(numbers_of)
        np.testing.assert_array_equal(even.answers(numbers_of), shown)  # as often as one likes
    wanted = np.array([[range(start, start + 16) for start in clip_starts(120, 10, 16)]] * 3)
    np.testing.assert_array_equal(shown, wanted)  # 30 clips in batches of 7: the last holds 2


def test_a_short_video_holds_its_last_frame(tmp_path):
    short = write_video(tmp_path / "short.mp4", frames=5)
    long = write_video(tmp_path / "long.mp4", frames=40)
    with EvenClips([short, long], clips=2, batch_size=3, device="cpu") as even:
        shown = even.answers(numbers_of)
    assert shown[0].tolist() == [[*range(5), *[4] * 11]] * 2
    assert shown[1].tolist() == [list(range(16)), list(range(24, 40))]


def test_a_pause_comes_after_each_batch_and_may_end_it(tmp_path):
    path = write_video(tmp_path / "long.mp4", frames=40)
    pauses = []

    def pause():
        pauses.append(None)
        if len(pauses) == 5:
            raise KeyboardInterrupt

    before = set(threading.enumerate())
    with EvenClips([path], clips=6, batch_size=2, device="cpu", threads=1) as even:
        assert [thread.name for thread in set(threading.enumerate()) - before] == ["eruv-read-0"]
        even.answers(numbers_of, pause=pause)
        assert len(pauses) == 3
        with pytest.raises(KeyboardInterrupt):
            even.answers(numbers_of, pause=pause)
        assert len(pauses) == 5 and len(even.answers(numbers_of)[0]) == 6


def test_averages_are_those_of_the_clips_and_the_network_is_left_as_it_was(videos):
    torch.manual_seed(0)
    net = build_backbone("r3d", width=2)
    assert net.training
    paths = [videos / "vp9.webm", videos / "mpeg4.mp4", videos / "mjpeg.avi"]
    options = dict(clips=3, crop=64, frame_size=(72, 96), batch_size=4, device="cpu")
    every = video_features(net, paths, **options)
    mean = video_features(net, paths, average_clips=True, **options)
    assert every.shape == (3, 3, 2 * 2 * 2 * 16) and every.dtype == np.float32 and net.training
    np.testing.assert_allclose(mean, every.mean(1), rtol=1e-5, atol=1e-6)
    with ClipLoader([(paths[2], start, 0) for start in clip_starts(120, 3, 16)], batch_size=3, crop=64,
                    frame_size=(72, 96), device="cpu") as loader, torch.no_grad():
        (batch,) = loader
        np.testing.assert_allclose(every[2], pool5(net.eval(), batch.clips).numpy(), rtol=1e-4, atol=1e-5)


def test_pool5_at_full_size():
    with torch.no_grad():
        features = pool5(build_backbone("r3d").eval(), torch.zeros(1, 3, 16, 112, 112))
    assert features.shape == (1, 9216)


def test_bad_input(videos, datasets, tmp_path):
    net = build_backbone("r3d", width=1)
    with pytest.raises(EruvError, match="no such file"):
        video_features(net, [tmp_path / "absent.avi"], device="cpu")
    with pytest.raises(EruvError, match="not in .*1 of 2"):
        video_features(net, [videos / "vp9.webm", tmp_path / "x.avi"], dataset=Dataset(datasets["raw"]), device="cpu")
    with pytest.raises(EruvError, match="no videos given"):
        video_features(net, [], device="cpu")
    with pytest.raises(EruvError, match="layer 'fc' is not one of pool5, average"):
        video_features(net, [videos / "vp9.webm"], layer="fc", device="cpu")
    with pytest.raises(EruvError, match="at least 32"):
        pool5(net, torch.zeros(1, 3, 16, 16, 16))


@pytest.mark.gpu
def test_gpu_features_are_those_of_the_cpu(videos, datasets):
    torch.manual_seed(0)
    net = build_backbone("r3d", width=8)
    paths = [videos / "vp9.webm", videos / "mpeg4.mp4", videos / "mjpeg.avi"]
    for dataset in (None, Dataset(datasets["jpeg"])):
        cpu, gpu = (video_features(net, paths, clips=4, dataset=dataset, device=device) for device in ("cpu", "gpu"))
        cosine = (cpu * gpu).sum(-1) / np.linalg.norm(cpu, axis=-1) / np.linalg.norm(gpu, axis=-1)
        assert cosine.min() > 0.99
