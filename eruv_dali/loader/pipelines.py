"""The DALI pipelines: encoded bytes in, clips out.

    jpeg     data (JPEG bytes of one frame) ──decode──► frame ──clip_transform──► one frame of a clip
    frames   data (frames that a thread read or decoded)      ──clip_transform──► clip
    slices   data (a slice of a video) ──decode, original_pictures──► frames ─┬─clip_transform──► clip
             data (frames that a thread decoded) ─────────────────────────────┘

Each pipeline ends in one dense tensor: DALI's output is the batch, without a copy.
"""

from dataclasses import dataclass

import nvidia.dali as dali
from nvidia.dali import fn, types

from eruv_dali.checks import three_numbers, whole_number
from eruv_dali.errors import EruvError
from eruv_dali.loader.clip_transform import clip_transform
from eruv_dali.loader.transform_inputs import TRANSFORMS, transform_nodes
from eruv_dali.video.original_pictures import original_pictures

# Devices on which DALI decodes the codecs it supports. Its CPU decoder supports VP8, VP9 and MJPEG, but decodes each
# clip separately, whereas the reading threads decode the clips of one group of pictures once.
SLICES_ON = ("gpu",)


@dataclass(frozen=True)
class ClipFormat:
    """What a delivered clip looks like.

    Attributes:
        clip_length: frames; `crop`: side of the square, pixels; `frame_size`: (height, width) that it is cropped from.
        dtype: "float32", "float16" or "bfloat16".
        mean, std: per channel, on the scale of 0 to 1.
        layout: axes of one clip in memory: THWC (channels last) or TCHW.
        device: "cpu" or "gpu"; `device_id`: the number of the GPU, None on a CPU.
        transforms: which of "flip", "tiles" and "color" its requests may ask for.

    Raises:
        EruvError: a value that is not a number or is out of range; a crop that does not fit into the frame, or is odd
            and is to be cut into tiles.
    """

    clip_length: int
    crop: int
    frame_size: tuple[int, int]
    dtype: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layout: str
    device: str
    device_id: int | None = None
    transforms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        whole_number("clip_length", self.clip_length, least=1)
        height, width = self.frame_size
        if whole_number("crop", self.crop, least=1) > min(height, width):
            raise EruvError(f"crop {self.crop} does not fit into frames of {height}x{width}")
        if not set(self.transforms) <= set(TRANSFORMS):
            raise EruvError(f"transforms {self.transforms} must be among {', '.join(TRANSFORMS)}")
        if "tiles" in self.transforms and self.crop % 2:
            raise EruvError(f"crop {self.crop} must be even, because its quarters are to be permuted (tiles)")
        three_numbers("mean", self.mean)
        if min(three_numbers("std", self.std)) <= 0:
            raise EruvError(f"std {self.std} must be greater than 0")


def jpeg_pipeline(clip: ClipFormat, **settings) -> dali.Pipeline:
    """Pipeline over a JPEG pack. One sample is one frame.

    Inputs: `data` uint8, JPEG bytes; `crop_pos` int32 (2,); `rotation` int32 scalar; those of `clip.transforms`.
    """

    @dali.pipeline_def(**settings)
    def pipeline():
        data = fn.external_source(name="data", no_copy=True, ndim=1, dtype=types.UINT8)
        placing = _placing(clip)
        if clip.device == "gpu":
            frames = fn.decoders.image(data, device="mixed", output_type=types.RGB)
        else:  # libjpeg-turbo skips the inverse DCT and colour conversion of blocks outside the crop
            frames = fn.decoders.image_slice(data, start=placing["crop_pos"], shape=(clip.crop, clip.crop), axes=(0, 1),
                                             device="cpu", output_type=types.RGB)
            placing["crop_pos"] = (0, 0)
        return clip_transform(frames, layout=clip.layout.replace("T", ""), sequence=False, **placing, **_look(clip))

    return _built(pipeline)


def frames_pipeline(clip: ClipFormat, **settings) -> dali.Pipeline:
    """Pipeline over frames that were read or decoded before, in the order shown.

    Inputs: `data` uint8 (T, H, W, 3); the others as above.
    """

    @dali.pipeline_def(**settings)
    def pipeline():
        frames = fn.external_source(name="data", no_copy=True, ndim=4, dtype=types.UINT8)
        return clip_transform(frames, layout=clip.layout, sequence=True, **_placing(clip), **_look(clip))

    return _built(pipeline)


def slices_pipeline(clip: ClipFormat, place: tuple[int, ...], *, original: bool, **settings) -> dali.Pipeline:
    """Pipeline over slices of videos, for DALI to decode, and clips decoded before, in one batch.

    Inputs: `data` uint8, a flat run of bytes: a slice where `is_slice`, otherwise frames of shape `place`; `positions`
    int32 (F,) of the wanted frames in the slice; `index` int32 (T,), the order in which the F frames are shown;
    the others as above. With `original`, slices are of original files, and decoded frames are made into
    pictures of the clip's frame size, by `shown` int32 (4,) and `correction` float32 (3, 3): see original_pictures.
    """

    @dali.pipeline_def(enable_conditionals=True, **settings)
    def pipeline():
        data = fn.external_source(name="data", no_copy=True, ndim=1, dtype=types.UINT8)
        index = fn.external_source(name="index", ndim=1, dtype=types.INT32)
        is_slice = fn.external_source(name="is_slice", ndim=0, dtype=types.BOOL)
        positions = fn.external_source(name="positions", ndim=1, dtype=types.INT32)
        if original:
            shown = fn.external_source(name="shown", ndim=1, dtype=types.INT32)
            correction = fn.external_source(name="correction", ndim=2, dtype=types.FLOAT)
        if is_slice:
            decoder = "mixed" if clip.device == "gpu" else "cpu"
            # pad_mode="none": a missing frame is an error, never padded silently.
            frames = fn.decoders.video(data, device=decoder, frames=positions, pad_mode="none")
            if original:
                (frames,) = original_pictures(frames, shown, correction, clip.frame_size)
        else:
            read = fn.reshape(data, shape=list(place), layout="FHWC")
            frames = read.gpu() if clip.device == "gpu" else read
        return clip_transform(frames, index=index, layout=clip.layout, sequence=True, **_placing(clip), **_look(clip))

    return _built(pipeline)


def _placing(clip: ClipFormat) -> dict:
    return dict(
        crop_pos=fn.external_source(name="crop_pos", ndim=1, dtype=types.INT32),
        rotation=fn.external_source(name="rotation", ndim=0, dtype=types.INT32),
        **transform_nodes(clip.transforms),
    )


def _look(clip: ClipFormat) -> dict:
    return dict(crop=clip.crop, dtype=clip.dtype, mean=clip.mean, std=clip.std, device=clip.device)


def _built(pipeline) -> dali.Pipeline:
    built = pipeline()
    built.build()
    return built
