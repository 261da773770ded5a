"""The DALI pipelines: encoded bytes in, clips out.

    packed   data (JPEG or RGB bytes, one sample a frame) ──decode──► frame ──clip_transform──► one frame of a clip
    direct   data (a slice of the video file)  ──decode, resize──► frames ─┐
             data (frames that PyAV decoded)   ───────────────────────────┴─clip_transform──► clip

Both end in one dense tensor: what DALI hands over is the batch, without a copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import nvidia.dali as dali
from nvidia.dali import fn, types

from eruv_dali.loader.clip_transform import clip_transform


@dataclass(frozen=True)
class ClipFormat:
    """What a delivered clip looks like."""

    clip_length: int
    crop: int
    frame_size: tuple[int, int]
    dtype: str
    mean: Sequence[float]
    std: Sequence[float]
    layout: str  # axes of one clip in memory: THWC (channels last), TCHW or CTHW
    device: str


def packed_pipeline(kind: str, clip: ClipFormat, **settings) -> dali.Pipeline:
    """Pipeline over a pack ("jpeg" or "raw"). One sample is one frame, so order and speed are free.

    Inputs: `data` uint8, JPEG bytes or (H, W, 3); `crop_pos` int32 (2,); `rotation` int32 scalar.
    """

    @dali.pipeline_def(**settings)
    def pipeline():
        data = fn.external_source(name="data", no_copy=True, ndim=1 if kind == "jpeg" else 3, dtype=types.UINT8)
        if kind == "jpeg":
            # The default "upsampling" and DCT of the decoder are exact enough: the pack's own loss is far larger.
            data = fn.decoders.image(data, device="mixed" if clip.device == "gpu" else "cpu", output_type=types.RGB)
        return clip_transform(data, layout=clip.layout.replace("T", ""), sequence=False, **_placing(), **_look(clip))

    return _built(pipeline)


def direct_pipeline(slices: bool, clip: ClipFormat, **settings) -> dali.Pipeline:
    """Pipeline over original files; without `slices`, every sample comes decoded.

    Inputs: `data` uint8, a flat run of bytes: a video slice where `is_slice`, otherwise frames; `shape` int32 (4,) of
    those frames; `positions` int32 (F,) of the wanted frames in the slice; `index` int32 (T,), the order in which the
    F frames are shown; `crop_pos` and `rotation` as above.
    """
    height, width = clip.frame_size

    @dali.pipeline_def(enable_conditionals=True, **settings)
    def pipeline():
        data = fn.external_source(name="data", no_copy=True, ndim=1, dtype=types.UINT8)
        shape = fn.external_source(name="shape", ndim=1, dtype=types.INT32)
        index = fn.external_source(name="index", ndim=1, dtype=types.INT32)
        if slices:
            is_slice = fn.external_source(name="is_slice", ndim=0, dtype=types.BOOL)
            positions = fn.external_source(name="positions", ndim=1, dtype=types.INT32)
            if is_slice:
                decoder = "mixed" if clip.device == "gpu" else "cpu"
                # pad_mode="none": a frame that is not there is an error, never a silent filling.
                decoded = fn.decoders.video(data, device=decoder, frames=positions, pad_mode="none")
                frames = fn.resize(decoded, size=(height, width), interp_type=types.INTERP_LINEAR, antialias=True)
            else:
                pictures = fn.reshape(data, shape=shape, layout="FHWC")
                frames = pictures.gpu() if clip.device == "gpu" else pictures
        else:
            frames = fn.reshape(data, shape=shape, layout="FHWC")
        return clip_transform(frames, index=index, layout=clip.layout, sequence=True, **_placing(), **_look(clip))

    return _built(pipeline)


def _placing() -> dict:
    return dict(
        crop_pos=fn.external_source(name="crop_pos", ndim=1, dtype=types.INT32),
        rotation=fn.external_source(name="rotation", ndim=0, dtype=types.INT32),
    )


def _look(clip: ClipFormat) -> dict:
    return dict(crop=clip.crop, dtype=clip.dtype, mean=clip.mean, std=clip.std, device=clip.device)


def _built(pipeline) -> dali.Pipeline:
    built = pipeline()
    built.build()
    return built
