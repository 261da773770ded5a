"""Attention: where in the frames the last convolution responds strongly (the paper's Fig. 6).

The map of a clip is the mean over channels of |A|^p, A the last feature maps, upsampled to the clip's frames.
"""

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional as F

from eruv_dali.dataset.indexed import IndexedVideos
from eruv_dali.device import resolve_device, torch_device
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.pretrained import Pretrained
from eruv_dali.files import write_aside
from eruv_dali.loader import ClipLoader
from eruv_dali.models.backbone import Backbone, channels_last
from eruv_dali.video.find import Video
from eruv_dali.video.index import index_video
from eruv_dali.video.open import UnusableVideo
from eruv_dali.video.reader import FrameNotFound, FrameReader

KINDS = (".png", ".mp4", ".gif")
SHOWN = 336  # side of a picture in pixels, rounded to a multiple of the crop
STRIP = 8  # frames in a strip
STRIP_SIDE = 168
BATCH = 4  # clips
CHUNK = 64  # frames in memory at a time
LABEL = 26  # height of a line of text
PAPER, INK = (255, 255, 255), (32, 36, 44)


def attention_maps(backbone: Backbone, x_BCTHW: torch.Tensor, *, p: float = 2) -> torch.Tensor:
    """Clips (B, 3, T, H, W) float → attention (B, T, H, W) ≥ 0: the mean over channels of |A|^p, p = 2 in the paper.

    A are the backbone's last feature maps; between their few positions the map is interpolated linearly, also in time.
    """
    maps_BTHW = backbone.feature_maps(x_BCTHW).float().abs().pow(p).mean(1, keepdim=True)
    return F.interpolate(maps_BTHW, x_BCTHW.shape[2:], mode="trilinear", align_corners=False).squeeze(1)


def video_attention(
    net: Pretrained, video: IndexedVideos, start: int, frames: int, *, p: float = 2, device: str = "auto"
) -> tuple[np.ndarray, tuple[int, int]]:
    """Attention (frames, crop, crop) float32 for the frames from `start` on, clip after clip, on a scale of 0 to 1 for
    all of them together; and (top, left) of the crop.

    `video` holds one video. If too few frames are left, the last clip repeats the last frame.

    Raises:
        EruvError: a clip that cannot be decoded.
    """
    device = resolve_device(device)
    on = torch_device(device)
    name = video.videos[0].name
    clips = [(name, first, 0) for first in range(start, start + frames, net.clip_length)]
    backbone = channels_last(net.backbone, on).eval()
    maps: list[torch.Tensor] = []
    crop = (0, 0)
    with (ClipLoader(clips, batch_size=BATCH, hold_last=True, dataset=video, device=device, num_shards=1,
                     **net.look) as loader,
          torch.inference_mode()):
        for batch in loader:
            for (_, first, _), info in zip(clips[len(maps) * BATCH :], batch.info, strict=False):
                last = min(first + net.clip_length, start + frames) - 1
                if info.frames[0] != first:  # another clip of the video, in the place of one that cannot be decoded
                    raise EruvError(f"{video.videos[0].path}: frames {first} to {last} cannot be decoded; choose "
                                    "other frames, or another video")
            maps.append(attention_maps(backbone, batch.clips, p=p).flatten(0, 1).cpu())
            crop = batch.info[0].crop
    maps_THW = torch.cat(maps)[:frames].numpy()
    low, high = maps_THW.min(), maps_THW.max()
    return (maps_THW - low) / max(high - low, 1e-12), crop


def overlay(pictures_THWC: np.ndarray, maps_THW: np.ndarray) -> np.ndarray:
    """Pictures (T, H, W, 3) uint8 overlaid with the maps (T, h, w), 0 to 1: dimmed where weak, glowing where strong.
    """
    height, width = pictures_THWC.shape[1:3]
    maps = F.interpolate(torch.from_numpy(np.ascontiguousarray(maps_THW))[:, None], (height, width), mode="bilinear",
                         align_corners=False)[:, 0].numpy()
    glow = matplotlib.colormaps["inferno"](maps)[..., :3] * 255
    share = (0.35 + 0.4 * maps)[..., None]
    return ((1 - share) * pictures_THWC + share * glow).round().astype(np.uint8)


def draw_attention(
    networks: Sequence[tuple[str, Pretrained]], path: Path, out: Path, *, start: int = 0, frames: int = 64,
    p: float = 2, device: str = "auto",
) -> None:
    """Draw a video's attention in `frames` frames from `start` on (fewer if the video ends before).

    In a .png: a strip of frames as the networks see them, and below, for each network, the same overlaid with its
    map. In an .mp4 or .gif: all of the frames and overlays, side by side, animated.

    Raises:
        EruvError: an unsupported file type, an unusable video, a start after its end, networks that take clips of
            different crops or frame sizes.
    """
    if out.suffix not in KINDS:
        raise EruvError(f"{out}: choose a file name that ends in {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    first = networks[0][1]
    for name, net in networks[1:]:
        if (net.crop, net.frame_size) != (first.crop, first.frame_size):
            raise EruvError(f"{name} sees crops of {net.crop} in frames of {net.frame_size}, {networks[0][0]} of "
                            f"{first.crop} in {first.frame_size}; give crop and frame_size for all")
    if not 0 < p < math.inf:
        raise EruvError(f"power {p} must be greater than 0, and finite")
    if not path.is_file():
        raise EruvError(f"{path}: no such video")
    try:
        index, facts = index_video(path)
    except UnusableVideo as error:
        raise EruvError(f"{path}: {error}; choose another video") from None
    if not 0 <= start < len(index.pts) or frames < 1:
        raise EruvError(f"start {start}, frames {frames}: the video has frames 0 to {len(index.pts) - 1}")
    frames = min(frames, len(index.pts) - start)
    video = IndexedVideos([Video(path.name, path)], first.frame_size, 1)
    found = [video_attention(net, video, start, frames, p=p, device=device) for _, net in networks]

    # The crop that the networks see, cut from frames enlarged by an integer factor.
    scale = max(1, round(SHOWN / first.crop))
    scale += scale * first.crop % 2  # MP4 needs even sides
    side, (top, left) = scale * first.crop, (scale * offset for offset in found[0][1])
    reader = FrameReader()

    def rows(shown: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """Captions and pictures (T, side, side, 3) uint8: frames `shown`, then the same under each network's map."""
        pictures = reader.read(path, index, shown, *(scale * size for size in first.frame_size))
        pictures = pictures[:, top : top + side, left : left + side]
        return [(f"{path.name}, frames {start} to {start + frames - 1}", pictures),
                *((f"{name} ({net.backbone.name})", overlay(pictures, maps_THW[shown - start]))
                  for (name, net), (maps_THW, _) in zip(networks, found, strict=True))]

    def moving() -> Iterator[np.ndarray]:
        for shown in np.array_split(np.arange(start, start + frames), -(-frames // CHUNK)):
            each = rows(shown)
            yield from (_side_by_side(each, number) for number in range(len(shown)))

    fps = facts.rate
    try:
        if out.suffix == ".png":
            shown = np.unique(np.linspace(start, start + frames - 1, STRIP).round().astype(int))
            (_, seen), *overlaid = rows(shown)
            named = f"{path.name}, frames {', '.join(map(str, shown))}; below, bright where a network responds strongly"
            write_aside(out, lambda file: _strip([(named, seen), *overlaid]).save(file, "PNG", optimize=True))
        elif out.suffix == ".gif":
            _write_gif(moving(), fps, out)
        else:
            _write_mp4(moving(), fps, out)
    except FrameNotFound as error:
        raise EruvError(str(error)) from None
    finally:
        reader.close()


def _strip(rows: Sequence[tuple[str, np.ndarray]]) -> Image.Image:
    """A row of small pictures for each of `rows`, its caption above it."""
    sheet = Image.new("RGB", (8 + len(rows[0][1]) * (STRIP_SIDE + 4), 4 + len(rows) * (STRIP_SIDE + LABEL)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (words, pictures) in enumerate(rows):
        y = number * (STRIP_SIDE + LABEL)
        draw.text((6, y + 5), words, INK, ImageFont.load_default(14))
        for place, picture in enumerate(pictures):
            small = Image.fromarray(picture).resize((STRIP_SIDE, STRIP_SIDE), Image.Resampling.LANCZOS)
            sheet.paste(small, (6 + place * (STRIP_SIDE + 4), y + LABEL))
    return sheet


def _side_by_side(rows: Sequence[tuple[str, np.ndarray]], number: int) -> np.ndarray:
    """Picture `number` of each of `rows`, (LABEL + side, sum of sides, 3) uint8, its caption above it."""
    side = rows[0][1].shape[1]
    sheet = Image.new("RGB", (side * len(rows), side + LABEL), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for place, (words, pictures) in enumerate(rows):
        while words and draw.textlength(words, font) > side - 10:
            words = words[:-1]
        draw.text((place * side + 5, 5), words, INK, font)
        sheet.paste(Image.fromarray(pictures[number]), (place * side, LABEL))
    return np.asarray(sheet)


def _write_gif(moving: Iterator[np.ndarray], fps: float, out: Path) -> None:
    pictures = (Image.fromarray(each).quantize(256) for each in moving)
    buffer = io.BytesIO()
    # GIF counts in hundredths of a second, and players slow down frames shorter than two of them.
    next(pictures).save(buffer, "GIF", save_all=True, append_images=pictures, loop=0,
                        duration=max(20, 10 * round(100 / fps)))
    write_aside(out, lambda file: file.write(buffer.getbuffer()))


def _write_mp4(moving: Iterator[np.ndarray], fps: float, out: Path) -> None:
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        assert isinstance(stream, av.VideoStream)
        first = next(moving)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": "18"}
        else:
            stream.bit_rate = 6_000_000
        for picture in itertools.chain([first], moving):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    write_aside(out, lambda file: file.write(buffer.getbuffer()))
