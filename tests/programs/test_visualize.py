"""Pictures of networks: the numbers behind them are right, and they show the frames that the network saw."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from running import outcome, run

from eruv_dali import EruvError, build_backbone
from eruv_dali.evaluate.even_clips import EvenClips
from eruv_dali.evaluate.features import video_features
from eruv_dali.models import save_backbone
from eruv_dali.video.reader import FrameNotFound, FrameReader
from eruv_dali.visualize.__main__ import main
from eruv_dali.visualize.attention import LABEL, attention_maps, overlay
from eruv_dali.visualize.embedding import class_distances, labelled_videos, principal_plane, sample_clips
from eruv_dali.visualize.networks import load_networks

SMALL = ["--crop", "32", "--frame-size", "36x48", "--device", "cpu"]
RANDOM = ["--init", "none", "--backbone", "r3d", "--width", "2", *SMALL]


@pytest.fixture(scope="module")
def ramp(tmp_path_factory) -> Path:
    """20 frames of 96x128: red grows to the right, green downwards, blue in time, each place another colour."""
    file = tmp_path_factory.mktemp("ramp") / "ramp.mp4"
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.linspace(20, 230, 128), np.linspace(20, 230, 96)[:, None]
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 128, 96, "yuv420p", 2_000_000
        for number in range(20):
            picture[..., 2] = 20 + 10 * number
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return file


def test_plane_is_that_of_the_covariances_eigenvectors():
    random = np.random.default_rng(0)
    x = (random.standard_normal((40, 6)) * [5, 3, 1, 1, 1, 1] + 7).astype(np.float32)
    plane, share = principal_plane(x)
    values, vectors = np.linalg.eigh(np.cov(x.T.astype(np.float64)))
    np.testing.assert_allclose(plane.var(0, ddof=1), values[::-1][:2], rtol=1e-5)
    np.testing.assert_allclose(share, values[::-1][:2] / values.sum(), rtol=1e-5)
    for number in (0, 1):
        axis = vectors[:, -1 - number]
        axis = axis * np.sign(axis[np.abs(axis).argmax()])
        np.testing.assert_allclose(plane[:, number], (x - x.mean(0)) @ axis, atol=1e-4)  # the sign too
    with pytest.raises(EruvError, match="2 features of 6 numbers do not span a plane"):
        principal_plane(x[:2])


def test_distances_against_brute_force():
    random = np.random.default_rng(1)
    x, labels = random.standard_normal((12, 5)), np.repeat([0, 1, 2], 4)
    far = {(i, j): np.linalg.norm(x[i] - x[j]) for i in range(12) for j in range(12) if i != j}
    found = class_distances(x, labels)
    assert found["intra"] == pytest.approx(np.mean([d for (i, j), d in far.items() if labels[i] == labels[j]]))
    assert found["inter"] == pytest.approx(np.mean([d for (i, j), d in far.items() if labels[i] != labels[j]]))
    assert found["ratio"] == pytest.approx(found["inter"] / found["intra"])


def test_samples_are_features_of_clips_of_their_class(persons):
    net, = (net for _, net in load_networks(["none"], backbone="r3d", width=2, crop=32, frame_size=(36, 48)))
    videos = labelled_videos("folder", persons, ["wave1", "bend"])
    videos[1] = videos[1][:2]  # two videos must give three clips
    features, labels = sample_clips(net, videos, 7, device="cpu")
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    for label, each in enumerate(videos):
        clips = video_features(net.backbone, each, clips=2, crop=32, frame_size=(36, 48), device="cpu")
        near = np.abs(features[labels == label][:, None, None] - clips).max(-1) < 1e-4 * np.abs(clips).max()
        of_video = near.any(2)  # clips of one video of noise in one colour are not the same clip
        assert of_video.any(1).all() and of_video.any(0).sum() == min(3, len(each))


def test_samples_have_no_negative_seed(persons):
    net, = (net for _, net in load_networks(["none"], backbone="r3d", width=2, crop=32, frame_size=(36, 48)))
    with pytest.raises(EruvError, match="^seed -1 must be at least 0$"):
        sample_clips(net, labelled_videos("folder", persons, ["bend", "run"]), 4, seed=-1)


def test_embedding_program(monkeypatch, tmp_path, capsys, persons):
    torch.manual_seed(5)
    save_backbone(build_backbone("r3d", width=2), tmp_path / "backbone.pt")
    run(monkeypatch, main, "embedding", "--init", tmp_path / "backbone.pt", "none", *SMALL, "--dataset", "folder",
        "--root", persons, "--classes", "bend,run,wave1", "--samples", 12, "--out", tmp_path / "e.png")
    assert min(Image.open(tmp_path / "e.png").size) > 400
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["samples"] == 12 and found["classes"] == ["bend", "run", "wave1"]
    assert [(net["name"], net["backbone"], net["width"]) for net in found["networks"]] == [
        (tmp_path.name, "r3d", 2), ("random weights", "r3d", 2)]  # the random one is like the first
    said = capsys.readouterr().out
    for net in found["networks"]:
        assert net["pool5"]["ratio"] > 1.5  # the classes have colours of their own
        assert f"{net['name']} (r3d): within classes {net['pool5']['intra']:.4g}" in said


@pytest.mark.parametrize("p", [2, 1])
def test_attention_is_the_power_mean_over_channels_in_its_place(p):
    class Spot(torch.nn.Module):
        def feature_maps(self, x):
            maps = torch.zeros(len(x), 4, 2, 4, 4)
            maps[0, 3, 1, 2, 0] = -3  # negative answers count as well
            return maps

    found = attention_maps(Spot(), torch.zeros(2, 3, 16, 64, 64), p=p)
    assert found.shape == (2, 16, 64, 64) and not found[1].any()
    # At the edges, here in time and to the left, nothing weakens it; its middle row lies half a pixel of 16 away.
    assert found.max() == pytest.approx(3**p / 4 * (1 - 1 / 32), rel=1e-3)
    places = (found[0] > 0.9 * found.max()).nonzero()
    assert (places[:, 0] >= 8).all() and (places[:, 1] // 16 == 2).all() and (places[:, 2] // 16 == 0).all()


@pytest.mark.parametrize("name", ["c3d", "r3d", "r2plus1d", "caffenet"])
def test_attention_of_each_backbone(name):
    torch.manual_seed(0)
    net = build_backbone(name, width=2).eval()
    with torch.inference_mode():
        x = torch.rand(1, 3, 16, 64, 64)
        found, maps = attention_maps(net, x), net.feature_maps(x)
    assert found.shape == (1, 16, 64, 64) and found.min() >= 0
    corner = found[0, 0, 0, 0]  # beyond the centre of the outermost cell nothing is interpolated
    assert corner == pytest.approx(float((maps[0, :, 0, 0, 0] ** 2).mean()), rel=1e-5)


def test_overlay_shows_the_frame_where_attention_is_weak():
    pictures = np.full((1, 8, 8, 3), 200, np.uint8)
    maps = np.zeros((1, 2, 2), np.float32)
    maps[0, 1, 1] = 1
    found = overlay(pictures, maps)[0].astype(int)
    assert np.abs(found[0, 0] - 130).max() <= 2 and found[7, 7, 0] > 200 and found[7, 7, 2] < 180


def test_no_map_of_another_clip_is_drawn(monkeypatch, tmp_path, ramp):
    """The loader delivers the first clip again in the place of the second, which cannot be decoded."""
    read = FrameReader.read

    def damaged(self, path, index, frames, *words):
        if max(frames) > 17:
            raise FrameNotFound("damaged", np.array([18]))
        return read(self, path, index, frames, *words)

    monkeypatch.setattr(FrameReader, "read", damaged)
    with pytest.raises(EruvError, match="ramp.mp4: frames 16 to 19 cannot be decoded; choose other frames"):
        run(monkeypatch, main, "attention", ramp, *RANDOM, "--out", tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png", "mp4", "gif"])
def test_attention_program_shows_what_the_network_saw(monkeypatch, tmp_path, ramp, kind):
    monkeypatch.setattr("eruv_dali.visualize.attention.CHUNK", 5)
    out = tmp_path / f"a.{kind}"
    run(monkeypatch, main, "attention", ramp, *RANDOM, "--start", 2, "--frames", 30, "--out", out)  # 18 are left
    if kind == "png":
        seen = np.asarray(Image.open(out).convert("RGB"))[LABEL:LABEL + 168, 6:6 + 168]
        assert Image.open(out).size == (8 + 8 * 172, 4 + 2 * (168 + LABEL))
    else:
        with av.open(str(out)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            assert float(container.streams.video[0].average_rate) == pytest.approx(10, rel=0.01)
        side = frames[0].shape[0] - LABEL
        assert len(frames) == 18 and frames[0].shape[1] == 2 * side
        seen = frames[7][LABEL:, :side]
        assert np.abs(frames[7][LABEL:, side:].astype(int) - seen).mean() > 10  # the overlay is something else
    small = np.asarray(Image.fromarray(seen).resize((32, 32), Image.Resampling.BOX)).astype(int)
    with EvenClips([ramp], clips=1, crop=32, frame_size=(36, 48), device="cpu") as even:
        clip = even.answers(lambda x_BCTHW: x_BCTHW.flatten(1))[0, 0].reshape(3, 16, 32, 32)[:, 0]
    wanted, first = 255 * clip.transpose(1, 2, 0), 2 if kind == "png" else 9
    wanted[..., 2] += 10 * first  # the clip begins at frame 0
    # A crop one pixel of these 32 away differs by 4 levels in red, 6 in green; a frame before or after by 10 in blue.
    assert np.abs((small - wanted).mean((0, 1))).max() < 3, (small - wanted).mean((0, 1))


@pytest.mark.parametrize("words, said", [
    (["attention", "RAMP", *RANDOM, "--out", "a.jpg"], "choose a file name that ends in .png, .mp4 or .gif"),
    (["attention", "gone.mp4", *RANDOM, "--out", "a.png"], "gone.mp4: no such video"),
    (["attention", "RAMP", *RANDOM, "--start", "20", "--out", "a.png"], "the video has frames 0 to 19"),
    (["attention", "RAMP", "--init", "none", "--crop", "200", "--out", "a.png"], "a crop of 200 does not fit"),
    (["attention", "RAMP", "--init", "none", "--crop", "0", "--out", "a.png"], "a crop of 0 does not fit"),
    (["attention", "RAMP", "--init", "none", "--crop", "8", "--out", "a.png"], "c3d cannot take a clip of 16 frames of "
     "8x8"),
    (["attention", "RAMP", "--init", "none", "--width", "0", "--out", "a.png"], "backbone width 0 must be at least 1"),
    (["attention", "RAMP", *RANDOM, "--power", "nan", "--out", "a.png"], "power nan must be greater than 0"),
    (["embedding", "--dataset", "folder", "--root", "PERSONS", "--classes", "bend,jump", *RANDOM, "--out", "e.png"],
     "class 'jump' is not in"),
    (["embedding", "--dataset", "folder", "--root", "PERSONS", "--classes", "bend", *RANDOM, "--out", "e.png"],
     "give at least two of bend, run, wave1"),
    (["embedding", "--dataset", "folder", "--root", "PERSONS", "--classes", "bend,run", *RANDOM, "--samples", "3",
      "--out", "e.png"], "fewer than two for each of 2 classes"),
    (["attention", "RAMP", *RANDOM, "--out", "no/such/a.png"], "no such folder"),
    (["shots", "s3://bucket/set", "--out", "s.html"], "s3://bucket/set: the DATASET must be a folder of this machine"),
])
def test_bad_input(monkeypatch, tmp_path, capsys, ramp, persons, words, said):
    monkeypatch.chdir(tmp_path)
    known = {"RAMP": str(ramp), "PERSONS": str(persons)}
    done = outcome(monkeypatch, capsys, main, *(known.get(word, word) for word in words))
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.iterdir())
