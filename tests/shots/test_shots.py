"""Shots: streamed statistics, the three rules, and what they make of videos whose cuts are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from places import benchmark

from eruv_dali.errors import EruvError
from eruv_dali.shots import RULES, ShotCurves, ShotStatistics, find_shots, hog_host
from eruv_dali.shots.curves import LAGS


def picture(seed: int, H: int = 192, W: int = 256) -> np.ndarray:
    """A picture of random rectangles, tall ones for odd seeds, on a textured ground: (H, W, 3) float32."""
    rng = np.random.default_rng(seed)
    image = np.full((H, W, 3), 120, np.float32)
    for size in (4, 8, 16):
        image += np.kron(rng.normal(0, 12, (H // size, W // size, 1)), np.ones((size, size, 1)))
    texture = image - 120
    for _ in range(200):
        y, x = rng.integers(0, H), rng.integers(0, W)
        h, w = (rng.integers(*limits) for limits in (((6, 24), (10, 90)), ((10, 90), (6, 24)))[seed % 2])
        image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return image + texture


def shot(seed: int, T: int, speed: float = 0.0) -> np.ndarray:
    """T frames of a picture the camera pans over, `speed` pixels a frame."""
    image = picture(seed)
    return np.stack([image[20:116, 10 + round(t * speed) :][:, :128] for t in range(T)])


def film(*parts: np.ndarray, grain: float = 1.5) -> np.ndarray:
    frames = np.concatenate(parts)
    frames = frames + np.random.default_rng(1).normal(0, grain, frames.shape)
    return frames.round().clip(0, 255).astype(np.uint8)


def dissolve(a: np.ndarray, b: np.ndarray, T: int) -> np.ndarray:
    weight = (np.arange(1, T + 1) / (T + 1))[:, None, None, None]
    return a * (1 - weight) + b * weight


def curves_of(frames: np.ndarray, chunk: int = 64) -> ShotCurves:
    statistics = ShotStatistics()
    for begin in range(0, len(frames), chunk):
        statistics.add(frames[begin : begin + chunk])
    return statistics.finish()


def intervals(curves: ShotCurves, **options) -> list[tuple[int, int]]:
    return [(shot.start, shot.end) for shot in find_shots(curves, **options)]


def flat_curves(N: int, **cuts: float) -> ShotCurves:
    """Curves of a still video with clean cuts, f40=0.2 being one of that strength before frame 40."""
    lags = np.zeros((len(LAGS), N), np.float32)
    for name, strength in cuts.items():
        for row, lag in zip(lags, LAGS, strict=True):
            t = int(name[1:])
            row[max(t, lag) : t + lag] = strength
    return ShotCurves(hog=lags[0].copy(), luminance=np.zeros(N), lags=lags, window=np.zeros(N, np.float32))


def assert_curves_equal(a: ShotCurves, b: ShotCurves) -> None:
    for name in ("hog", "luminance", "lags", "window"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name


def test_rules_are_named():
    assert RULES == ("robust", "untrimmednets", "threshold")


@pytest.mark.parametrize("chunk", [1, 7, 33, 300])
def test_curves_do_not_depend_on_chunks(chunk):
    frames = film(shot(1, 40), shot(2, 50, speed=1))
    assert_curves_equal(curves_of(frames, chunk), curves_of(frames, len(frames)))


def test_curves_are_what_they_say():
    from eruv_dali.shots import hog
    from eruv_dali.shots.curves import EPSILON

    frames = film(shot(1, 30), shot(2, 30))
    curves, plain, features = curves_of(frames), hog(frames), hog(frames, epsilon=EPSILON)
    assert len(curves) == 60 and curves.hog.dtype == curves.window.dtype == curves.lags.dtype == np.float32
    assert curves.hog[0] == curves.luminance[0] == 0
    assert curves.hog[30] == pytest.approx(np.abs(plain[30] - plain[29]).mean(), rel=1e-5)
    for row, lag in zip(curves.lags, LAGS, strict=True):
        assert (row[:lag] == 0).all()
        assert row[33] == pytest.approx(np.abs(features[33] - features[33 - lag]).mean(), rel=1e-5)
    windows = features[25 + 8 : 25 + 17].mean(0) - features[25 - 16 : 25 - 7].mean(0)
    assert curves.window[25] == pytest.approx(np.abs(windows).mean(), rel=1e-5)
    assert (curves.window[:16] == 0).all() and (curves.window[-16:] == 0).all() and curves.window[16:-16].all()
    grey = frames[29:31].astype(int) @ [77, 150, 29] >> 8
    assert curves.luminance[30] == pytest.approx(np.abs(grey[1] - grey[0]).mean(), rel=1e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("N", [0, 1, 2, 3, 5, 12, 32, 33, 34])
def test_short_videos(rule, N):
    frames = film(shot(1, 34))[:N]
    assert intervals(curves_of(frames), rule=rule) == ([(0, N)] if N else [])


def test_no_frames_in_a_chunk_is_no_harm():
    frames = film(shot(1, 20))
    statistics = ShotStatistics()
    for chunk in (frames[:0], frames[:7], frames[7:7], frames[7:]):
        statistics.add(chunk)
    assert_curves_equal(statistics.finish(), curves_of(frames))


def test_frame_size_may_not_change():
    statistics = ShotStatistics()
    statistics.add(np.zeros((2, 96, 128, 3), np.uint8))
    with pytest.raises(EruvError, match=r"\(48, 64\)"):
        statistics.add(np.zeros((2, 48, 64, 3), np.uint8))


@pytest.mark.parametrize("rule", RULES)
def test_cuts_are_found_to_the_frame(rule):
    curves = curves_of(film(shot(1, 40), shot(2, 25), shot(1, 60)))
    shots = find_shots(curves, rule=rule)
    assert [(s.start, s.end) for s in shots] == [(0, 40), (40, 65), (65, 125)]
    assert shots[0].score == 0 and shots[1].score > 0.06 and shots[2].score > 0.06


def test_threshold_is_the_papers_sentence():
    curves = curves_of(film(shot(1, 40, speed=3), shot(2, 40, speed=3)))
    for limit in (0.0715, 0.05, 0.2):
        above = np.flatnonzero(curves.hog > limit).tolist()
        assert [s.start for s in find_shots(curves, rule="threshold", threshold=limit)][1:] == above
    assert find_shots(curves, rule="threshold") == find_shots(curves, rule="threshold", threshold=0.0715)


def test_untrimmednets_asks_that_a_difference_stands_out():
    steps = np.full(60, 0.08, np.float32)
    steps[0], steps[30], steps[45] = 0, 0.12, 0.0801
    curves = ShotCurves(hog=steps, luminance=steps, lags=np.tile(steps, (len(LAGS), 1)), window=steps)
    around = steps[25:36]
    assert steps[30] > around.mean() + 1.5 * around.std() > steps[31]
    starts = [s.start for s in find_shots(curves, rule="untrimmednets")]
    assert starts == [0, 30, 45]
    assert [s.start for s in find_shots(curves, rule="untrimmednets", threshold=0.1)] == [0, 30]
    assert len(find_shots(curves, rule="threshold")) == 60


def test_robust_sees_through_flashes():
    for length in range(1, 5):
        frames = film(shot(1, 80, speed=0.3)).astype(np.int32)
        frames[40 : 40 + length] = 250
        assert intervals(curves_of(frames.astype(np.uint8))) == [(0, 80)], length


def test_robust_sees_through_a_passing_object():
    """It covers nearly all of frames 42 and 43 and tumbles, so that neither looks like the other or any before."""
    frames, thing = film(shot(1, 80)), film(shot(2, 1))[0]
    for t, left, right in ((41, 0, 40), (42, 0, 115), (43, 13, 128), (44, 88, 128)):
        frames[t, :, left:right] = thing[:: 1 if t < 43 else -1, : right - left]
    curves = curves_of(frames)
    assert (curves.hog > 0.0715).any()
    assert intervals(curves) == [(0, 80)]


def test_robust_finds_no_cut_where_every_frame_is_unlike_the_last():
    curves = curves_of(film(*(shot(seed, 1) for seed in range(40))))
    assert curves.lags[0][1:].min() > 0.06
    assert intervals(curves) == [(0, 40)]


def test_robust_finds_no_cut_in_a_pan_or_in_grain():
    assert intervals(curves_of(film(shot(1, 60, speed=1.8), grain=0))) == [(0, 60)]
    assert intervals(curves_of(film(np.full((60, 96, 128, 3), 80.0), grain=3))) == [(0, 60)]


@pytest.mark.parametrize("length", [10, 20, 30])
def test_a_dissolve_is_an_interval_of_its_own(length):
    a, b = shot(1, 60 + length), shot(2, 60 + length)
    frames = film(a[:60], dissolve(a[60:], b[:length], length), b[length:])
    first, second = find_shots(curves_of(frames))
    assert abs(first.end - 60) <= 4 and abs(second.start - (60 + length)) <= 4
    assert first.end < second.start and second.score > 0


@pytest.mark.parametrize("hold", [0, 1, 6])
def test_a_fade_through_black_is_an_interval_from_end_to_end(hold):
    a, b = shot(1, 75), shot(2, 80)
    black = np.zeros_like(a[:1])
    frames = film(a[:60], dissolve(a[60:], black, 15), np.repeat(black, hold, 0), dissolve(black, b[:20], 20), b[20:])
    first, second = find_shots(curves_of(frames))
    assert abs(first.end - 60) <= 2 and -3 <= second.start - (95 + hold) <= 2
    assert (second.transition, second.transition_start) == ("gradual", first.end)


def test_a_cut_beside_a_change_of_light_stays_a_cut():
    a, b = shot(1, 60), shot(2, 60)
    dimmed = b * np.concatenate([np.full(5, 0.3), np.linspace(0.3, 1, 20), np.ones(35)])[:, None, None, None]
    shots = find_shots(curves_of(film(a, dimmed)))
    assert [(s.start, s.end, s.transition) for s in shots] == [(0, 60, ""), (60, 120, "cut")]


def test_minimum_shot_length_is_kept_and_the_strongest_stand():
    curves = flat_curves(200, f40=0.1, f50=0.3, f61=0.2, f120=0.2)
    assert intervals(curves, min_shot=10) == [(0, 40), (40, 50), (50, 61), (61, 120), (120, 200)]
    assert intervals(curves, min_shot=11) == [(0, 50), (50, 61), (61, 120), (120, 200)]
    assert intervals(curves, min_shot=12) == [(0, 50), (50, 120), (120, 200)]
    assert intervals(curves, rule="threshold", min_shot=12) == [(0, 50), (50, 120), (120, 200)]


def test_a_short_piece_at_either_end_belongs_to_no_shot():
    curves = flat_curves(100, f5=0.2, f50=0.2, f97=0.2)
    assert intervals(curves, min_shot=8) == [(5, 50), (50, 97)]
    assert intervals(flat_curves(30, f15=0.2), min_shot=20) == [(0, 30)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("min_shot", [1, 5, 12, 48])
def test_shots_of_any_curves_are_in_order_and_long_enough(rule, min_shot):
    rng = np.random.default_rng(3)
    lags = rng.exponential(0.05, (len(LAGS), 500)).astype(np.float32)
    curves = ShotCurves(hog=lags[0], luminance=lags[0], lags=lags, window=lags[1])
    shots = find_shots(curves, rule=rule, min_shot=min_shot)
    assert all(s.end - s.start >= min_shot for s in shots)
    assert all(a.end <= b.start for a, b in zip(shots, shots[1:], strict=False)) and shots[-1].end <= 500


@pytest.mark.parametrize(
    ("options", "names"),
    [({"rule": "best"}, "'best'"), ({"threshold": 0}, "threshold 0"), ({"min_shot": 0}, "min_shot 0")],
)
def test_bad_options_are_named(options, names):
    with pytest.raises(EruvError, match=names):
        find_shots(flat_curves(10), **options)


@pytest.mark.gpu
def test_gpu_statistics_equal_the_hosts():
    import cupy

    if not hog_host.available():
        pytest.skip("no compiler: the host library cannot be built")
    frames = film(shot(1, 140, speed=0.3), shot(2, 150))
    statistics = ShotStatistics(device="gpu")
    statistics.add(frames[:100])
    statistics.add(cupy.asarray(frames[100:]))
    found, expected = statistics.finish(), curves_of(frames)
    for name in ("hog", "luminance", "lags", "window"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-5)
    assert intervals(found) == intervals(expected) == [(0, 140), (140, 290)]


def test_other_constants_hold_only_for_a_while():
    shots, curves = benchmark("shots"), flat_curves(100, f50=0.2)
    with shots.constants(CUT_THRESHOLD=0.3, GRADUAL_THRESHOLD=9.0):
        assert len(find_shots(curves)) == 1
    assert len(find_shots(curves)) == 2


@pytest.mark.parametrize(
    ("name", "rule", "threshold", "least"),
    [
        ("dev_same", "robust", None, 0.96),
        ("dev_same", "untrimmednets", None, 0.93),
        ("dev_same", "threshold", 0.09, 0.90),
    ],
)
def test_known_cuts_of_a_made_film(real_videos, name, rule, threshold, least):
    path = real_videos / "shots_synthetic" / f"{name}.mp4"
    shots = benchmark("shots")
    events = json.loads(path.with_suffix(".json").read_text())["events"]
    found = [s.start for s in find_shots(decoded(shots, path), rule=rule, threshold=threshold)][1:]
    hits, false = shots.score(events, found)
    assert shots.f1(hits, false, len(events)) >= least


@pytest.mark.parametrize("name", ["weizmann", "ut_interaction"])
def test_no_false_cut_in_single_takes(real_videos, name):
    every = sorted((real_videos / name).rglob("*.avi"))
    hard = {"24_5_0.avi", "4_1_0.avi", "8_2_0.avi"}  # people walk in on a pavement whose grain codes badly
    paths = every[::12] + [path for path in every if path.name in hard]
    assert paths
    shots = benchmark("shots")
    for path in paths:
        curves = decoded(shots, path)
        assert intervals(curves) == [(0, len(curves))], path.name


_curves: dict[Path, ShotCurves] = {}


def decoded(benchmark, path: Path) -> ShotCurves:
    if path not in _curves:
        _curves[path] = benchmark.read_curves(path, device="cpu")
    return _curves[path]
