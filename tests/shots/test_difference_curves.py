"""The statistics that shots are found by: streamed, the same in any chunks, and what they say they are."""

import numpy as np
import pytest
from drawn_shots import curves_of, film, intervals, shot

from eruv_dali.errors import EruvError
from eruv_dali.shots import ShotCurves, ShotStatistics, hog_host
from eruv_dali.shots.curves import LAGS, colour_shares, grey_parts

CURVES = ("hog", "luminance", "lags", "low", "window", "window_low", "colour", "grey")


def assert_curves_equal(a: ShotCurves, b: ShotCurves) -> None:
    for name in CURVES:
        assert np.array_equal(getattr(a, name), getattr(b, name)), name


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
    regions = features.reshape(60, 4, 3, 4, 4, 31)
    for span, edge, row in ((16, 12, curves.window_low[0]), (24, 16, curves.window_low[1])):
        after, before = (regions[25 + side - 4 : 25 + side + 5].mean(0) for side in (span // 2, -span // 2))
        assert row[25] == pytest.approx(np.sort(np.abs(after - before).mean((1, 3, 4)).ravel())[:10].mean(), rel=1e-5)
        assert (row[:edge] == 0).all() and (row[-edge:] == 0).all() and row[edge:-edge].all()
    for row, lag in zip(curves.low, LAGS, strict=True):
        change = np.abs(regions[33] - regions[33 - lag]).mean((1, 3, 4)).ravel()
        assert row[33] == pytest.approx(np.sort(change)[:6].mean(), rel=1e-5)
    shares = colour_shares(frames[:, ::4, ::4])
    assert shares.shape == (60, 64) and np.allclose(shares.sum(1), 1)
    apart = np.abs(shares[29:38].mean(0) - shares[13:22].mean(0)).sum() / 2
    assert curves.colour[0, 25] == pytest.approx(apart, rel=1e-4)
    assert curves.grey.shape == (32, 60) and curves.grey.dtype == np.uint8
    part = frames[33, 24:48:4, 112:128:4].astype(int) @ [77, 150, 29] / 256
    assert curves.grey[15, 33] == pytest.approx(part.mean(), abs=0.51)
    grey = frames[29:31].astype(int) @ [77, 150, 29] >> 8
    assert curves.luminance[30] == pytest.approx(np.abs(grey[1] - grey[0]).mean(), rel=1e-6)


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


def test_colours_do_not_depend_on_the_exposure():
    frames = film(np.clip(shot(1, 12), 0, 125))
    light = (frames[:, ::4, ::4] * np.linspace(1, 2, 12)[:, None, None, None]).astype(np.uint8)
    assert np.abs(colour_shares(light)[-1] - colour_shares(light)[0]).sum() / 2 < 0.2
    assert np.abs(colour_shares(light[..., ::-1] // [1, 2, 1])[-1] - colour_shares(light)[0]).sum() / 2 > 0.3


@pytest.mark.parametrize(("H", "W"), [(96, 128), (8, 8), (48, 200)])
def test_grey_parts_are_means_whatever_the_size(H, W):
    even = np.full((3, H, W, 3), (200, 100, 50), np.uint8)
    parts = grey_parts(even)
    assert parts.shape == (32, 3) and (parts == (77 * 200 + 150 * 100 + 29 * 50 + 128) // 256).all()
    even[1, :, : W // 2] = 0
    left, right = np.split(grey_parts(even)[:, 1].reshape(4, 8), 2, 1)
    assert (left == 0).all() and (right == parts[0, 0]).all()


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
    for name in CURVES:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-5)
    assert intervals(found) == intervals(expected) == [(0, 140), (140, 290)]
