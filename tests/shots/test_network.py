"""The network of the rule `robust`: the same numbers as PyTorch's, whatever the chunks; and what it is taught on."""

import zipfile
from dataclasses import astuple

import numpy as np
import pytest
import torch
from drawn_shots import curves_of, film, shot
from places import benchmark

from eruv_dali.shots import network
from eruv_dali.shots.rules import CUT_THRESHOLD, ENOUGH, transition_evidence


@pytest.fixture(scope="module")
def curves():
    return curves_of(film(shot(1, 50, speed=1), shot(2, 40), shot(3, 45, speed=0.5)))


def logits_of(curves, weights, training):
    """What PyTorch computes from the weights of the package."""
    model = training.Network(len(weights["mean"])).eval()
    state = {}
    for name, value in weights.items():
        if name not in ("mean", "deviation"):
            part, bias = name.removesuffix("_bias"), name.endswith("_bias")
            part = part.replace("layer", "layers.")
            state[f"{part}.{'bias' if bias else 'weight'}"] = torch.from_numpy(value)
    model.load_state_dict(state)
    x = (network.features(curves) - weights["mean"]) / weights["deviation"]
    with torch.inference_mode():
        return model(torch.from_numpy(x)[None])[0].numpy()


def test_the_network_is_pytorchs(curves):
    training, weights = benchmark("shot_network"), network.read_weights(network.WEIGHTS)
    np.testing.assert_allclose(network.transition_logits(curves), logits_of(curves, weights, training), atol=2e-3)


@pytest.mark.parametrize("chunk", [1, 17, 64])
def test_the_network_does_not_depend_on_chunks(curves, monkeypatch, chunk):
    whole = network.transition_logits(curves)
    monkeypatch.setattr(network, "CHUNK", chunk)
    np.testing.assert_allclose(network.transition_logits(curves), whole, atol=2e-3)


@pytest.mark.parametrize("N", [0, 1, 2, 7, 40])
def test_videos_of_any_length_have_logits(curves, N):
    short = type(curves)(*(field[..., :N] for field in astuple(curves)))
    assert network.transition_logits(short).shape == (2, N)
    assert N == 0 or np.isfinite(network.transition_logits(short)).all()


def test_evidence_is_the_threshold_where_the_odds_are_enough(curves):
    evidence, logits = transition_evidence(curves), network.transition_logits(curves)
    np.testing.assert_array_equal(evidence > CUT_THRESHOLD, logits > ENOUGH)
    assert np.argsort(evidence[0]).tolist() == np.argsort(np.clip(logits[0], -20, 20)).tolist()
    assert np.sort(np.argsort(evidence[0])[-2:]).tolist() == [50, 90]


def test_lasting_is_the_least_of_six_differences():
    rng = np.random.default_rng(0)
    x = rng.random((60, 8)).astype(np.float32)  # a feature of each frame
    lags = np.zeros((3, 60), np.float32)
    for row, lag in zip(lags, (1, 5, 9), strict=True):
        row[lag:] = np.abs(x[lag:] - x[:-lag]).mean(1)
    for t in (1, 4, 9, 30, 57, 59):
        pairs = [(t - before, t + after) for before, after in network.PAIRS if t >= before and t + after < 60]
        assert network.lasting(lags)[t] == pytest.approx(min(np.abs(x[b] - x[a]).mean() for a, b in pairs))


def test_curves_backwards_are_those_of_the_video_backwards():
    training = benchmark("shot_network")
    frames = film(shot(1, 40, speed=1), shot(2, 45))
    turned, wanted = training.backwards(curves_of(frames)), curves_of(frames[::-1])
    for name in training.ShotCurves.__dataclass_fields__:
        np.testing.assert_allclose(getattr(turned, name), getattr(wanted, name), atol=1e-5, err_msg=name)


def test_another_version_says_which_frames_it_shows():
    training = benchmark("shot_network")
    frames = np.tile(np.arange(60, dtype=np.uint8)[:, None, None, None] * 4, (1, 96, 128, 3))
    lengths = set()
    for seed in range(30):
        made, source = training.another_version(frames, np.random.default_rng(seed))
        assert made.shape == (len(source), 96, 128, 3) and (np.diff(source) >= 0).all() and source[0] == 0
        assert np.corrcoef(made[:, 48, 64, 0], source)[0, 1] > 0.9
        lengths.add(len(source))
    assert lengths >= {30, 60, 75, 120, 150}


def test_events_lie_where_the_version_shows_them():
    training = benchmark("shot_network")
    events = [{"a": 9, "b": 10}, {"a": 20, "b": 31}]
    assert training.events_shown(events, np.arange(60)) == events
    assert training.events_shown(events, np.repeat(np.arange(60), 2)) == [{"a": 19, "b": 20}, {"a": 41, "b": 62}]
    assert training.events_shown(events, np.arange(0, 60, 2)) == [{"a": 4, "b": 5}, {"a": 10, "b": 16}]
    assert training.events_shown(events, np.arange(5)) == []


def test_a_network_learns_what_it_is_shown(curves, tmp_path, monkeypatch):
    """A few steps on one video are enough to find its cuts; the weights are stored as the package reads them."""
    training = benchmark("shot_network")
    monkeypatch.setattr(training, "WIDTH", 8)
    events = [{"a": 49, "b": 50}, {"a": 89, "b": 90}]
    weights = training.train(training.both_ways(curves, events), steps=150)
    np.savez(tmp_path / "w.npz", **weights)
    assert set(zipfile.ZipFile(tmp_path / "w.npz").namelist()) == set(zipfile.ZipFile(network.WEIGHTS).namelist())
    monkeypatch.setattr(network, "WEIGHTS", tmp_path / "w.npz")
    assert np.sort(np.argsort(network.transition_logits(curves)[0])[-2:]).tolist() == [50, 90]


@pytest.mark.parametrize(("begin", "end"), [(0, 30), (20, 85), (35, 60), (70, 75)])
def test_the_curves_of_an_excerpt_are_those_of_its_frames(begin, end):
    training = benchmark("shot_network")
    frames = film(shot(1, 40, speed=1), shot(2, 45))
    part, wanted = training.excerpt(curves_of(frames), begin, end), curves_of(frames[begin:end])
    for name in training.ShotCurves.__dataclass_fields__:
        np.testing.assert_allclose(getattr(part, name), getattr(wanted, name), atol=1e-5, err_msg=name)


def test_excerpts_cover_the_video_and_know_no_cut_at_their_start(curves):
    training = benchmark("shot_network")
    events = [{"a": 49, "b": 50}, {"a": 89, "b": 90}]
    parts = list(training.excerpts(curves, events, np.random.default_rng(0)))
    assert sum(x.shape[1] for x, _, _ in parts) == len(curves) and len(parts) > 1
    assert all(truth[0, 0] == 0 for _, truth, _ in parts) and 1 <= sum(truth[0].sum() for _, truth, _ in parts) <= 2


def test_beyond_the_end_of_a_piece_layers_are_zero(curves):
    """A piece that is shorter than those it is learnt with has the logits that it has alone."""
    training, weights = benchmark("shot_network"), network.read_weights(network.WEIGHTS)
    torch.manual_seed(0)
    model = training.Network(len(weights["mean"])).eval()
    x = torch.randn(1, len(weights["mean"]), 60)
    padded, known = torch.zeros(1, x.shape[1], 100), torch.zeros(1, 1, 100)
    padded[:, :, :60], known[:, :, :60] = x, 1
    with torch.inference_mode():
        torch.testing.assert_close(model(padded, known)[:, :, :60], model(x), atol=1e-5, rtol=1e-5)
