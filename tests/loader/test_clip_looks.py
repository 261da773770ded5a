"""Mirrored clips, permuted quarters and changed colours: clip_transform against NumPy, alone and all together."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from nvidia.dali import fn, pipeline_def

from eruv_dali.errors import EruvError
from eruv_dali.loader import clip_transform as module
from eruv_dali.loader.clip_transform import clip_transform

MEAN, STD = (0.43, 0.394, 0.376), (0.228, 0.221, 0.217)
TORCH = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
ALL = ("flip", "tiles", "color")


@pytest.fixture(params=["eruv", "builtin"])
def builtin(request):
    if request.param == "eruv" and not module.load_operator("cpu"):
        pytest.skip("no compiler or no CUDA headers: only DALI's own operators")
    return request.param == "builtin"


def random_clips(rng, count, crop, length=None):
    """Clips of all that can be asked for, each thing left out of some of them: dicts of numbers and arrays."""
    clips = []
    for number in range(count):
        height, width = crop + rng.integers(0, 20, 2)
        frames = rng.integers(0, 256, (*(() if length is None else (length + 3,)), height, width, 3), dtype=np.uint8)
        color = rng.normal(0, 0.6, (3, 4)) if number % 3 else np.eye(3, 4)
        clips.append({
            "frames": frames, "index": np.array(rng.integers(0, (length or 0) + 3, length or 1), np.int32),
            "crop_pos": np.array([rng.integers(height - crop + 1), rng.integers(width - crop + 1)], np.int32),
            "rotation": np.int32(90 * rng.integers(4)), "flip": np.int32(number % 2),
            "tiles": (rng.permutation(4) if number % 4 else np.arange(4)).astype(np.int32),
            "color": color.astype(np.float32).reshape(12)})
    return clips


def oracle(clip, crop, asked):
    """The same clip on the scale of 0 to 1, plainly, in float64: (T, crop, crop, 3)."""
    frames = clip["frames"]
    (top, left), half = clip["crop_pos"], crop // 2
    shown = frames[clip["index"]] if frames.ndim == 4 else frames[None]
    x = shown[:, top : top + crop, left : left + crop]
    if "flip" in asked and clip["flip"]:
        x = np.flip(x, 2)
    if "tiles" in asked:
        quarters = [x[:, :half, :half], x[:, :half, half:], x[:, half:, :half], x[:, half:, half:]]
        a, b, c, d = (quarters[tile] for tile in clip["tiles"])
        x = np.concatenate([np.concatenate([a, b], 2), np.concatenate([c, d], 2)], 1)
    x = np.rot90(x, clip["rotation"] // 90, axes=(1, 2)) / 255
    if "color" in asked:
        matrix = clip["color"].astype(np.float64).reshape(3, 4)
        x = np.clip(x @ matrix[:, :3].T + matrix[:, 3], 0, 1)
    return x


def run(clips, crop, asked, *, layout="THWC", device="cpu", **settings):
    """The clips in one batch through a pipeline: (B, T, …), on the CPU."""
    sequence = clips[0]["frames"].ndim == 4
    names = ["frames", *(["index"] if sequence else []), "crop_pos", "rotation", *asked]

    @pipeline_def(batch_size=len(clips), num_threads=2, device_id=0 if device == "gpu" else None, exec_dynamic=True,
                  prefetch_queue_depth=1)
    def pipeline():
        nodes = fn.external_source(lambda: tuple([clip[name] for clip in clips] for name in names),
                                   num_outputs=len(names))
        named = dict(zip(names, nodes, strict=True))
        return clip_transform(named.pop("frames"), **named, crop=crop, device=device, sequence=sequence, mean=MEAN,
                              std=STD, layout=layout if sequence else layout.replace("T", ""), **settings)

    built = pipeline()
    built.build()
    tensor = torch.from_dlpack(built.run()[0].as_tensor())
    tensor = tensor.view(torch.bfloat16) if settings.get("dtype") == "bfloat16" else tensor
    return tensor.cpu() if sequence else tensor.cpu()[:, None]


def assert_pixels(got, clips, crop, asked, layout="THWC", dtype="float32"):
    """What NumPy computes in float64, within float32's rounding, then rounded to nearest in `dtype`."""
    wanted = np.stack([(oracle(clip, crop, asked) - MEAN) / STD for clip in clips])
    wanted = torch.from_numpy(wanted if layout == "THWC" else wanted.transpose(0, 1, 4, 2, 3))
    assert got.dtype == TORCH[dtype] and got.shape == wanted.shape
    rounding = {"float32": 0.0, "float16": 2**-11, "bfloat16": 2**-8}[dtype]
    assert ((got.double() - wanted).abs() <= 4e-6 + rounding * wanted.abs()).all()


@pytest.mark.parametrize("asked", [("flip",), ("tiles",), ("color",), ALL], ids="-".join)
def test_each_alone_and_all_together_match_numpy(builtin, asked):
    rng = np.random.default_rng(len(asked))
    for count, crop, length in [(9, 34, 3), (4, 112, 2), (2, 2, 1)]:
        clips = random_clips(rng, count, crop, length)
        assert_pixels(run(clips, crop, asked, builtin=builtin), clips, crop, asked)


@pytest.mark.parametrize("layout", ["THWC", "TCHW"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_dtype_and_layout(builtin, dtype, layout):
    clips = random_clips(np.random.default_rng(5), 7, 30, 4)
    got = run(clips, 30, ALL, layout=layout, dtype=dtype, builtin=builtin)
    assert_pixels(got, clips, 30, ALL, layout, dtype)


@pytest.mark.parametrize("layout", ["THWC", "TCHW"])
def test_single_frames(builtin, layout):
    clips = random_clips(np.random.default_rng(6), 13, 34)
    assert_pixels(run(clips, 34, ALL, layout=layout, builtin=builtin), clips, 34, ALL, layout)


def test_what_changes_nothing_leaves_every_bit_as_it_is(builtin):
    """A clip that asks for nothing, beside one that has its quarters permuted and its colours changed."""
    clips = random_clips(np.random.default_rng(7), 4, 36, 3)
    for clip in clips[:2]:
        clip.update(flip=np.int32(0), tiles=np.arange(4, dtype=np.int32), color=np.eye(3, 4, dtype=np.float32).ravel())
    clips[3].update(tiles=np.array([3, 1, 2, 0], np.int32))
    for dtype in TORCH:
        settings = dict(dtype=dtype, builtin=builtin)
        assert torch.equal(run(clips, 36, ALL, **settings)[:2], run(clips, 36, (), **settings)[:2])


def test_plain_values_in_place_of_inputs(builtin):
    frames = np.random.default_rng(8).integers(0, 256, (3, 20, 26, 3), dtype=np.uint8)
    clip = {"frames": frames, "index": np.arange(3), "crop_pos": (2, 5), "rotation": 90, "flip": True,
            "tiles": (2, 0, 3, 1), "color": np.array([0, 0, 1, 0.1, 1, 0, 0, 0, 0, 0.5, 0, 0], np.float32)}

    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def pipeline():
        return clip_transform(
            fn.external_source(lambda: [frames]), crop_pos=(2, 5), rotation=90, flip=True, tiles=[2, 0, 3, 1],
            color=clip["color"].tolist(), crop=14, mean=MEAN, std=STD, device="cpu", sequence=True, builtin=builtin)

    built = pipeline()
    built.build()
    assert_pixels(torch.from_dlpack(built.run()[0].as_tensor()), [clip], 14, ALL)


@pytest.mark.parametrize(("name", "value", "named"), [
    ("tiles", np.array([0, 1, 2, 4], np.int32), "4"), ("tiles", np.array([-3, 1, 2, 0], np.int32), "-3"),
])
def test_a_tile_that_is_out_of_range_is_named(builtin, name, value, named):
    clips = random_clips(np.random.default_rng(9), 2, 12, 2)
    clips[1][name] = value
    with pytest.raises(Exception, match=rf"(?<![\d-]){named}\b"):
        run(clips, 12, (name,), builtin=builtin)


def test_a_color_that_is_no_number_is_refused():
    if not module.load_operator("cpu"):
        pytest.skip("no compiler or no CUDA headers")
    clips = random_clips(np.random.default_rng(10), 2, 12, 2)
    clips[1]["color"][5] = np.inf
    with pytest.raises(Exception, match="color .inf. of sample 1"):
        run(clips, 12, ("color",))


@pytest.mark.parametrize(("wrong", "message"), [
    ({"tiles": (0, 1, 2)}, "tiles"), ({"tiles": (0, 1, 2, 5)}, "tiles"), ({"color": (1.0,) * 9}, "12"),
    ({"color": (float("nan"),) * 12}, "finite"), ({"tiles": (3, 2, 1, 0), "crop": 9}, "crop .9. must be even"),
])
def test_wrong_settings_are_refused_when_the_pipeline_is_defined(wrong, message):
    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def pipeline():
        frames = fn.external_source(lambda: [np.zeros((1, 12, 12, 3), np.uint8)])
        return clip_transform(frames, crop_pos=(0, 0), device="cpu", sequence=True, **{"crop": 8, **wrong})

    with pytest.raises(EruvError, match=message):
        pipeline()


AT_THE_END_OF_MEMORY = """
import ctypes, mmap
import numpy as np
from nvidia.dali import fn, pipeline_def
from eruv_dali.loader.clip_transform import clip_transform, load_operator
assert load_operator("cpu")
size = 2 * 16 * 16 * 3
memory = mmap.mmap(-1, 2 * mmap.PAGESIZE)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
frames = np.frombuffer(memory, np.uint8, size, mmap.PAGESIZE - size).reshape(2, 16, 16, 3)
for rotation in (0, 90, 180, 270):
    for flip in (0, 1):
        @pipeline_def(batch_size=1, num_threads=1, device_id=None)
        def pipeline():
            source = fn.external_source(lambda: [frames], no_copy=True)
            return clip_transform(source, crop_pos=(4, 4), crop=12, rotation=rotation, flip=bool(flip), sequence=True,
                                  color=[0.5, 0, 0, 0, 0, 0.5, 0, 0, 0, 0, 0.5, 0], device="cpu")
        built = pipeline()
        built.build()
        built.run()
"""


@pytest.mark.slow
def test_nothing_is_read_beyond_the_last_pixel():
    """Of frames that end where a page ends, before one that must not be read."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", AT_THE_END_OF_MEMORY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:] or f"killed by signal {-done.returncode}"


@pytest.mark.gpu
@pytest.mark.parametrize("layout", ["THWC", "TCHW"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_gpu_gives_the_cpus_bits(dtype, layout):
    assert module.load_operator("gpu")
    for asked in (("flip",), ("tiles",), ("color",), ALL):
        clips = random_clips(np.random.default_rng(11), 7, 66, 4)
        got = run(clips, 66, asked, layout=layout, dtype=dtype, device="gpu")
        assert torch.equal(got, run(clips, 66, asked, layout=layout, dtype=dtype))
        assert_pixels(run(clips, 66, asked, layout=layout, dtype=dtype, device="gpu", builtin=True), clips, 66, asked,
                      layout, dtype)
