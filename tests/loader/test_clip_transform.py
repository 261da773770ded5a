"""clip_transform against NumPy, on DALI's own operators and on ours, on the CPU and on the GPU."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
import torch
from nvidia.dali import fn, pipeline_def
from nvidia.dali.ops import _registry as ops_registry
from nvrtc import compile_for

from eruv_dali import native
from eruv_dali.errors import EruvError
from eruv_dali.loader import clip_transform as module
from eruv_dali.loader.clip_transform import clip_transform

pytestmark = pytest.mark.filterwarnings("ignore:The external source node")  # single frames leave the index unused

MEAN, STD = (0.43, 0.394, 0.376), (0.228, 0.221, 0.217)
AXES = {"THWC": (0, 1, 2, 3), "TCHW": (0, 3, 1, 2), "HWC": (0, 1, 2), "CHW": (2, 0, 1)}
TORCH = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@pytest.fixture(params=["eruv", "builtin"])
def builtin(request):
    if request.param == "eruv" and not module.load_operator("cpu"):
        pytest.skip("no compiler or no CUDA headers: only DALI's own operators")
    return request.param == "builtin"


@pytest.fixture
def needs_gpu():
    if not torch.cuda.is_available() and shutil.which("nvidia-smi") is None:
        pytest.skip("no GPU: neither PyTorch nor nvidia-smi finds one")


def random_batch(rng, batch, crop, length=None):
    """Samples (frames, index, crop_pos, rotation): spans of many sizes, indices in any order with repeats."""
    samples = []
    for _ in range(batch):
        height, width = crop + rng.integers(0, 20, 2)
        span = () if length is None else (int(rng.integers(1, 30)),)
        frames = rng.integers(0, 256, (*span, height, width, 3), dtype=np.uint8)
        index = rng.integers(0, span[0], length).astype(np.int32) if span else np.zeros(1, np.int32)
        place = np.array([rng.integers(0, height - crop + 1), rng.integers(0, width - crop + 1)], np.int32)
        samples.append((frames, index, place, np.int32(90 * rng.integers(0, 4))))
    return samples


def oracle(samples, crop, layout, mean=MEAN, std=STD):
    """The same clips, plainly, in float64."""
    clips = []
    for frames, index, (top, left), rotation in samples:
        shown = frames[index] if frames.ndim == 4 else frames[None]
        squares = shown[:, top : top + crop, left : left + crop].astype(np.float64)
        clip = (np.rot90(squares, rotation // 90, axes=(1, 2)) / 255 - mean) / std
        clips.append((clip if frames.ndim == 4 else clip[0]).transpose(AXES[layout]))
    return torch.from_numpy(np.stack(clips))


def build(source, *, crop, sequence=True, device="cpu", dynamic=True, max_batch=16, **kwargs):
    """A pipeline of clip_transform alone, fed the batches that `source()` returns."""

    @pipeline_def(batch_size=max_batch, num_threads=2, device_id=0 if device == "gpu" else None, exec_dynamic=dynamic,
                  prefetch_queue_depth=1 if dynamic else 2)
    def pipeline():
        frames, order, crop_pos, rotation = fn.external_source(source, num_outputs=4)
        order = order if sequence else None
        return clip_transform(frames, index=order, crop_pos=crop_pos, rotation=rotation, crop=crop, device=device,
                              sequence=sequence, **kwargs)

    built = pipeline()
    built.build()
    return built


def run(samples, **kwargs):
    """One batch through a pipeline: a tensor (B, ...) of its dtype, on the CPU."""
    (out,) = build(lambda: tuple(map(list, zip(*samples, strict=True))), **kwargs).run()
    tensor = torch.from_dlpack(out.as_tensor())
    return (tensor.view(torch.bfloat16) if kwargs.get("dtype") == "bfloat16" else tensor).cpu().clone()


def assert_pixels(got, wanted, dtype):
    """`wanted` (float64) computed in float32, within 1e-6, then rounded to nearest in `dtype`."""
    assert got.dtype == TORCH[dtype] and got.shape == wanted.shape
    rounding = {"float32": 0.0, "float16": 2**-11, "bfloat16": 2**-8}[dtype]
    assert ((got.double() - wanted).abs() <= 1e-6 + rounding * wanted.abs()).all()


@pytest.mark.parametrize("layout", ["THWC", "TCHW"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_clips_match_numpy(builtin, dtype, layout):
    rng = np.random.default_rng([len(dtype), *layout.encode()])
    for batch, crop, length in [(1, 112, 16), (5, 31, 3), (3, 1, 1), (2, 64, 7)]:
        samples = random_batch(rng, batch, crop, length)
        got = run(samples, crop=crop, dtype=dtype, layout=layout, mean=MEAN, std=STD, builtin=builtin)
        assert_pixels(got, oracle(samples, crop, layout), dtype)


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_single_frames_match_numpy(builtin, layout):
    samples = random_batch(np.random.default_rng(1), 13, 33)
    got = run(samples, crop=33, sequence=False, layout=layout, mean=MEAN, std=STD, builtin=builtin)
    assert_pixels(got, oracle(samples, 33, layout), "float32")


@pytest.mark.parametrize("turns", range(4))
def test_rotation_is_rot90_counter_clockwise(builtin, turns):
    frame = np.zeros((4, 4, 3), np.uint8)
    frame[0, 3] = 255  # top right; one counter-clockwise turn takes it to the top left
    samples = [(frame, None, (0, 0), np.int32(rotation)) for rotation in (90 * turns, 90 * turns - 360)]
    samples = [(f, np.zeros(1, np.int32), np.zeros(2, np.int32), r) for f, _, _, r in samples]
    got = run(samples, crop=4, sequence=False, layout="HWC", builtin=builtin)
    row, column = [(0, 3), (0, 0), (3, 0), (3, 3)][turns]
    assert (got[:, row, column] == 1).all() and got.sum() == 6


@pytest.mark.parametrize("dynamic", [True, False])
def test_batch_sizes_may_vary(builtin, dynamic):
    rng = np.random.default_rng(2)
    batches = [random_batch(rng, batch, 20, 4) for batch in (3, 7, 1, 5, 2, 2, 2)]
    feed = iter(batches)
    pipeline = build(lambda: tuple(map(list, zip(*next(feed), strict=True))), crop=20, dynamic=dynamic, mean=MEAN,
                     std=STD, builtin=builtin)
    for samples in batches[:4]:
        (out,) = pipeline.run()
        assert_pixels(torch.from_dlpack(out.as_tensor()), oracle(samples, 20, "THWC"), "float32")


@pytest.mark.parametrize("rotation", [0, 270])
def test_all_frames_and_constants(builtin, rotation):
    """No index: all frames. Crop position and rotation may be plain numbers. Batch sizes vary."""
    clips = np.random.default_rng(3).integers(0, 256, (4, 5, 24, 31, 3), dtype=np.uint8)
    batches = iter([list(clips[:1]), list(clips), list(clips[1:3])] * 3)

    @pipeline_def(batch_size=4, num_threads=2, device_id=None)
    def pipeline():
        source = fn.external_source(lambda: next(batches))
        return clip_transform(source, crop_pos=(2, 7), rotation=rotation, crop=20, device="cpu", sequence=True,
                              builtin=builtin)

    built = pipeline()
    built.build()
    for chosen in (clips[:1], clips, clips[1:3]):
        got = torch.from_dlpack(built.run()[0].as_tensor())
        samples = [(frames, np.arange(5), (2, 7), rotation) for frames in chosen]
        assert_pixels(got, oracle(samples, 20, "THWC", (0, 0, 0), (1, 1, 1)), "float32")


def test_channels_last_3d_without_a_copy(builtin):
    samples = random_batch(np.random.default_rng(4), 4, 16, 8)
    (out,) = build(lambda: tuple(map(list, zip(*samples, strict=True))), crop=16, builtin=builtin).run()
    batch = out.as_tensor()
    clips = torch.from_dlpack(batch).permute(0, 4, 1, 2, 3)
    assert clips.shape == (4, 3, 8, 16, 16)
    assert clips.is_contiguous(memory_format=torch.channels_last_3d)
    assert clips.data_ptr() == batch.data_ptr() == out[0].data_ptr()


def test_a_held_batch_stays_as_it_is(builtin):
    rng = np.random.default_rng(5)
    batches = [random_batch(rng, 3, 24, 6) for _ in range(9)]
    feed = iter(batches)
    pipeline = build(lambda: tuple(map(list, zip(*next(feed), strict=True))), crop=24, mean=MEAN, std=STD,
                     builtin=builtin)
    held = [torch.from_dlpack(pipeline.run()[0].as_tensor()) for _ in batches[:7]]
    for clips, samples in zip(held, batches, strict=False):
        assert_pixels(clips, oracle(samples, 24, "THWC"), "float32")


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"index": [0, 5, 1]}, "5"),
        ({"index": [0, -1, 1]}, "-1"),
        ({"crop_pos": [5, 0]}, "5"),
        ({"crop_pos": [0, 31]}, "31"),
        ({"crop_pos": [-2, 0]}, "-2"),
        ({"rotation": 45}, "45"),
        ({"rotation": -91}, "-91"),
    ],
)
def test_what_is_out_of_range_is_named(builtin, fault, named):
    """Spans of 5 frames of 24x50, crop 20."""
    good = {"index": [0, 1, 2], "crop_pos": [4, 30], "rotation": 90}
    samples = []
    for values in (good, good | fault):
        order, place, rotation = (np.array(values[name], np.int32) for name in ("index", "crop_pos", "rotation"))
        samples.append((np.zeros((5, 24, 50, 3), np.uint8), order, place, rotation))
    run(samples[:1] * 2, crop=20, builtin=builtin)
    with pytest.raises(Exception, match=rf"(?<![\d-]){named}\b"):
        run(samples, crop=20, builtin=builtin)


@pytest.mark.parametrize("place", [[5, 0], [0, 31], [-2, 0], [0, -3]])
def test_crops_without_rotation(builtin, place):
    """Rotation fixed at 0 has a graph of its own among DALI's operators: all positions exact, wrong ones named."""
    frames = np.random.default_rng(12).integers(0, 256, (24, 50, 3), dtype=np.uint8)
    places = [(top, left) for top in range(5) for left in (0, 1, 13, 29, 30)] + [place]
    feed = iter([places[:-1], [place]])

    @pipeline_def(batch_size=len(places), num_threads=2, device_id=None, exec_dynamic=True, prefetch_queue_depth=1)
    def pipeline():
        crops = next(feed)
        images, crop_pos = fn.external_source(
            lambda: ([frames] * len(crops), [np.array(crop, np.int32) for crop in crops]), num_outputs=2)
        return clip_transform(images, crop_pos=crop_pos, crop=20, layout="HWC", device="cpu", sequence=False,
                              builtin=builtin)

    good, bad = pipeline(), pipeline()
    got = torch.from_dlpack(good.run()[0].as_tensor())
    samples = [(frames, None, crop, 0) for crop in places[:-1]]
    assert_pixels(got, oracle(samples, 20, "HWC", (0, 0, 0), (1, 1, 1)), "float32")
    with pytest.raises(Exception, match=rf"(?<![\d-]){sum(place)}\b"):
        bad.run()


def test_clips_of_unlike_length_are_refused():
    if not module.load_operator("cpu"):
        pytest.skip("no compiler or no CUDA headers")
    rng = np.random.default_rng(6)
    with pytest.raises(Exception, match="equally long: sample 1 has 4 frames, sample 0 has 3"):
        run(random_batch(rng, 1, 20, 3) + random_batch(rng, 1, 20, 4), crop=20)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"layout": "HWC"}, "layout .HWC."),
        ({"layout": "THWC", "sequence": False}, "layout .THWC."),
        ({"dtype": "int8"}, "dtype .int8."),
        ({"crop": 0}, "crop .0."),
        ({"std": (1, 0, 1)}, "std"),
        ({"rotation": 30}, "rotation .30."),
        ({"index": [0], "sequence": False, "layout": "HWC"}, "index"),
    ],
)
def test_wrong_settings_are_refused_when_the_pipeline_is_defined(wrong, named):
    settings = {"crop_pos": (0, 0), "crop": 8, "device": "cpu", "sequence": True} | wrong

    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def pipeline():
        return clip_transform(fn.external_source(lambda: [np.zeros((1, 8, 8, 3), np.uint8)]), **settings)

    with pytest.raises(EruvError, match=named):
        pipeline()


def test_without_a_compiler_it_says_so_and_runs(monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler")
    module.load_operator.cache_clear()
    native.say_once.cache_clear()
    try:
        samples = random_batch(np.random.default_rng(7), 2, 16, 4)
        for _ in range(2):
            assert_pixels(run(samples, crop=16, mean=MEAN, std=STD), oracle(samples, 16, "THWC"), "float32")
        said = [record.message for record in caplog.records if "no-such-compiler not found" in record.message]
        assert len(said) == 1
    finally:
        module.load_operator.cache_clear()


# ---- The arithmetic and the CUDA kernel's tile functions, from the header alone, thread by thread on the host.

HOST_HARNESS = r"""
#include "clip_transform.h"
using namespace eruv;

template <typename Out>
void square(const Task &task, const Format &format, int threads) {
  uint8_t tile[kTile * kTilePitch];
  for (int top = 0; top < format.side; top += kTile)
    for (int left = 0; left < format.side; left += kTile) {
      memset(tile, 0xA5, sizeof tile);
      for (int thread = 0; thread < threads; thread++) load_tile(task, format.side, top, left, thread, threads, tile);
      for (int thread = 0; thread < threads; thread++) store_tile<Out>(task, format, top, left, thread, threads, tile);
    }
}
extern "C" void transform(const uint8_t *pixels, int width, int top, int left, int crop, int flip, int turns,
                          const float *color, int channels_last, int threads, float *out) {
  Task task = turned_square(pixels, width * 3, top, left, crop, flip, turns);
  task.color = color;
  task.output = out;
  Format format = {crop, crop, 1, crop * crop, {1, 1, 1}, {0, 0, 0}};
  if (channels_last) format = {crop, crop * 3, 3, 1, {1, 1, 1}, {0, 0, 0}};
  square<float>(task, format, threads);
}
extern "C" int where(int quarter, int turns) { return turned_quarter(quarter, turns); }
extern "C" void round_to(int kind, const float *x, int64_t n, uint16_t *out) {
  for (int64_t k = 0; k < n; k++) {
    Float16 half;
    BFloat16 brain;
    encode(x[k], half);
    encode(x[k], brain);
    out[k] = kind ? brain.bits : half.bits;
  }
}
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    try:
        gxx = native.find_compiler("g++")
    except native.NoCompiler as reason:
        pytest.skip(str(reason))
    folder = tmp_path_factory.mktemp("host")
    (folder / "harness.cc").write_text(HOST_HARNESS)
    command = [gxx, "-std=c++20", "-O1", "-fPIC", "-shared", "-Wall", "-Werror", f"-I{native.kernels_dir()}"]
    subprocess.run([*command, folder / "harness.cc", "-o", folder / "harness.so"], check=True)
    return ctypes.CDLL(str(folder / "harness.so"))


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("turns", range(4))
def test_the_kernels_tiles_cover_the_square(host, turns, channels_last):
    rng = np.random.default_rng(8)
    for crop in (1, 31, 32, 33, 112):
        frame = rng.integers(0, 256, (crop + 5, crop + 9, 3), dtype=np.uint8)
        out = np.full((crop, crop, 3) if channels_last else (3, crop, crop), -1, np.float32)
        host.transform(frame.ctypes, crop + 9, 3, 8, crop, False, turns, None, channels_last, 256, out.ctypes)
        wanted = np.rot90(frame[3 : 3 + crop, 8 : 8 + crop], turns)
        np.testing.assert_array_equal(out, wanted if channels_last else wanted.transpose(2, 0, 1))


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("turns", range(4))
def test_the_kernels_tiles_mirror_and_color(host, turns, channels_last):
    rng = np.random.default_rng(13)
    for crop in (1, 33, 64):
        frame = rng.integers(0, 256, (crop + 5, crop + 9, 3), dtype=np.uint8)
        matrix = np.hstack([rng.normal(0, 0.6, (3, 3)), rng.normal(0, 100, (3, 1))]).astype(np.float32)
        out = np.full((crop, crop, 3) if channels_last else (3, crop, crop), -1, np.float32)
        host.transform(frame.ctypes, crop + 9, 3, 8, crop, True, turns, matrix.ctypes, channels_last, 256, out.ctypes)
        wanted = np.rot90(np.flip(frame[3 : 3 + crop, 8 : 8 + crop], 1), turns).astype(np.float64)
        wanted = np.clip(wanted @ matrix[:, :3].T.astype(np.float64) + matrix[:, 3], 0, 255)
        np.testing.assert_allclose(out, wanted if channels_last else wanted.transpose(2, 0, 1), rtol=0, atol=1e-3)


@pytest.mark.parametrize("turns", range(4))
def test_quarters_turn_with_their_square(host, turns):
    turned = np.rot90(np.arange(4).reshape(2, 2), turns).ravel()  # which quarter is where
    assert [turned[host.where(quarter, turns)] for quarter in range(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize(("kind", "dtype"), [(0, torch.float16), (1, torch.bfloat16)])
def test_sixteen_bit_rounding_is_torchs(host, kind, dtype):
    """Ties, subnormals, overflow to infinity, both zeros: every 16-bit number, its midpoints and their neighbours."""
    every = np.arange(0x10000, dtype=np.uint32).astype(np.uint16).view(np.int16)
    exact = torch.from_numpy(every).view(dtype).float()
    exact = exact[exact.isfinite()].sort().values
    middle = (exact[1:].double() + exact[:-1].double()).div(2).float()
    near = torch.cat([exact, middle])
    inf = torch.tensor(torch.inf)
    edges = torch.tensor([65504.0, 65520.0, 1e6, -1e38, 0.0, -0.0])
    x = torch.cat([near, near.nextafter(inf), near.nextafter(-inf), edges])
    x = x[x.isfinite()].contiguous()
    out = torch.empty(len(x), dtype=torch.int16)
    host.round_to(kind, ctypes.c_void_p(x.data_ptr()), ctypes.c_int64(len(x)), ctypes.c_void_p(out.data_ptr()))
    wrong = out != x.to(dtype).view(torch.int16)
    assert not wrong.any(), x[wrong][:5]


# ---- CUDA


@pytest.mark.parametrize("architecture", [70, 80, 90])
def test_the_kernel_compiles_for_the_gpu(architecture):
    """Without nvcc, and for an architecture that nvcc 13 has dropped."""
    headers = {file.name: file.read_text() for file in native.kernels_dir().glob("clip_transform*.h")}
    # NVRTC has the functions of the standard library built in, and none of its headers.
    headers["cstdint"] = ("typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned uint32_t;"
                          "typedef int int32_t; typedef long long int64_t; typedef unsigned long long uint64_t;")
    headers["cmath"] = headers["cstring"] = ""
    types = ("float", "eruv::Float16", "eruv::BFloat16")
    source = '#include "clip_transform_kernel.h"\n' + "".join(
        f"template __global__ void eruv::clip_transform_kernel<{name}>"
        "(const Task *, const __grid_constant__ Format);\n"
        for name in types)
    binary = compile_for(architecture, source, ["-std=c++17"], headers)
    assert binary.count(b".text._ZN4eruv21clip_transform_kernel") >= len(types)


@pytest.mark.slow
def test_the_cuda_half_builds_and_loads(monkeypatch):
    """With nvcc but no GPU too: the library links, loads beside the CPU half, and the CPU half goes on working."""
    try:
        native.find_compiler("nvcc")
    except native.NoCompiler as reason:
        pytest.skip(str(reason))
    monkeypatch.setattr(module, "CUDA_ARCHITECTURES", module.CUDA_ARCHITECTURES[-1:])  # each takes 10 s more
    assert module.load_operator("gpu")
    assert "eruv__ClipTransform" in ops_registry.gpu_ops()
    samples = random_batch(np.random.default_rng(9), 2, 16, 4)
    assert_pixels(run(samples, crop=16, mean=MEAN, std=STD), oracle(samples, 16, "THWC"), "float32")


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["THWC", "TCHW"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_gpu_gives_the_cpus_bits(needs_gpu, dtype, layout):
    assert module.load_operator("gpu")
    rng = np.random.default_rng([len(dtype), *layout.encode()])
    for batch, crop, length in [(1, 112, 16), (5, 31, 3), (3, 1, 1), (2, 64, 7)]:
        samples = random_batch(rng, batch, crop, length)
        settings = {"crop": crop, "dtype": dtype, "layout": layout, "mean": MEAN, "std": STD}
        assert torch.equal(run(samples, device="gpu", **settings), run(samples, **settings))


@pytest.mark.gpu
def test_gpu_single_frames_and_builtin(needs_gpu):
    samples = random_batch(np.random.default_rng(10), 13, 33)
    for builtin in (False, True):
        got = run(samples, crop=33, sequence=False, layout="HWC", mean=MEAN, std=STD, device="gpu", builtin=builtin)
        assert_pixels(got, oracle(samples, 33, "HWC"), "float32")
    samples = random_batch(np.random.default_rng(11), 4, 33, 5)
    for dtype in TORCH:
        got = run(samples, crop=33, dtype=dtype, mean=MEAN, std=STD, device="gpu", builtin=True)
        assert_pixels(got, oracle(samples, 33, "THWC"), dtype)
