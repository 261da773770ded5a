"""Attention maps (the paper's Fig. 6): where in a video the last convolution is strongly excited."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image
from torch.nn import functional as F

from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside
from eruv_dali.loader import ClipLoader
from eruv_dali.pretrained import Pretrained
from eruv_dali.visualize.curves import write_figure

POWER = 2  # p of the mean of |A|^p over the channels
COLUMNS = 8  # frames in a strip
SHOWN_RATE = 12  # frames a second of a GIF or MP4
MOST_CLIPS = 20  # of a video that are shown moving

KINDS = (".png", ".gif", ".mp4")


def attention(backbone: torch.nn.Module, x_BCTHW: torch.Tensor) -> torch.Tensor:
    """Clips (B, 3, T, H, W) float → maps (B, T, H, W) float, 0 to 1 within each clip.

    The mean over channels of |A|^2 of the last convolution's output A, brought to the clip's size by trilinear
    interpolation (ERUV, section on attention maps).
    """
    with torch.no_grad():
        maps = backbone.feature_maps(x_BCTHW).float().abs().pow(POWER).mean(1, keepdim=True)
    maps = F.interpolate(maps, size=x_BCTHW.shape[-3:], mode="trilinear", align_corners=False)[:, 0]
    low, high = (getattr(maps.flatten(1), edge)(1).values[:, None, None, None] for edge in ("min", "max"))
    return (maps - low) / (high - low).clamp_min(1e-12)


def draw_attention(video: Path, networks: Sequence[Pretrained], out: Path, *, start: int | None = None) -> None:
    """Draw a video's frames and, below or beside them, each network's attention.

    Args:
        video: the file.
        networks: of one crop and frame size.
        out: .png, a strip of frames of one clip; .gif or .mp4, the video in motion (its first 20 clips).
        start: first frame of the strip's clip; by default the clip in the middle.

    Raises:
        EruvError: another kind of file, a video too short or unreadable, networks whose clips differ.
    """
    if out.suffix not in KINDS:
        raise EruvError(f"{out}: name a file that ends in {', '.join(KINDS)}")
    first = networks[0]
    if other := [net for net in networks if (net.crop, net.frame_size) != (first.crop, first.frame_size)]:
        raise EruvError(f"{other[0].init}: sees {other[0].crop} pixels of {other[0].frame_size}, {first.init} "
                        f"{first.crop} of {first.frame_size}; draw them into files of their own")
    if out.suffix == ".png":
        clips = list(_clips(video, first, start))
        pixels, maps = _looked_at(clips[len(clips) // 2] if start is None else clips[0], networks)
        _strip(pixels, maps, [_name(net) for net in networks], video, out)
        return
    shown = []
    for number, x_CTHW in enumerate(_clips(video, first, start)):
        if number == MOST_CLIPS:
            break
        pixels, maps = _looked_at(x_CTHW, networks)
        shown += [np.concatenate([frame, *(overlay(frame, each[t]) for each in maps)], axis=1)
                  for t, frame in enumerate(pixels)]
    (_gif if out.suffix == ".gif" else _mp4)(shown, out)


def overlay(frame_HWC: np.ndarray, map_HW: np.ndarray) -> np.ndarray:
    """A frame, (H, W, 3) uint8, greyed and tinted by a map from 0 to 1: the brighter, the more."""
    grey = frame_HWC.mean(-1, keepdims=True) / 255
    tint = colormaps["inferno"](map_HW)[..., :3]
    strength = 0.25 + 0.55 * map_HW[..., None]
    return ((grey * (1 - strength) + tint * strength) * 255).round().astype(np.uint8)


def _clips(video: Path, net: Pretrained, start: int | None) -> Iterator[torch.Tensor]:
    """(3, T, H, W) in the values of training: the video end to end, or the clip from `start`."""
    source = video if start is None else [(video, start, 0)]
    with ClipLoader(source, batch_size=1, clip_length=net.clip_length, crop=net.crop, frame_size=net.frame_size,
                    mean=net.mean, std=net.std, device="cpu") as loader:
        for batch in loader:
            yield batch.clips[0].clone()


def _looked_at(x_CTHW: torch.Tensor, networks: Sequence[Pretrained]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The clip's frames (T, H, W, 3) uint8, and each network's map (T, H, W)."""
    mean, std = (torch.tensor(values)[:, None, None, None] for values in (networks[0].mean, networks[0].std))
    pixels = ((x_CTHW * std + mean) * 255).round().clamp(0, 255).byte().permute(1, 2, 3, 0).numpy()
    return pixels, [attention(net.backbone.eval(), x_CTHW[None])[0].numpy() for net in networks]


def _name(net: Pretrained) -> str:
    return f"{net.backbone.name}\n{'random' if net.init == 'none' else Path(net.init).parent.name}"


def _strip(pixels: np.ndarray, maps: list[np.ndarray], names: list[str], video: Path, out: Path) -> None:
    places = np.linspace(0, len(pixels) - 1, min(COLUMNS, len(pixels))).round().astype(int)
    rows = [("frames", [pixels[t] for t in places])]
    rows += [(name, [overlay(pixels[t], each[t]) for t in places]) for name, each in zip(names, maps, strict=True)]
    figure = Figure(figsize=(1.5 * len(places) + 1, 1.6 * len(rows) + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), len(places), squeeze=False)
    for axes_row, (name, pictures) in zip(grid, rows, strict=True):
        for axes, picture, t in zip(axes_row, pictures, places, strict=True):
            axes.imshow(picture)
            axes.set_xticks([])
            axes.set_yticks([])
            if name == "frames":
                axes.set_title(f"frame {t}", fontsize=8)
        axes_row[0].set_ylabel(name, fontsize=8)
    figure.suptitle(f"{video.name}: attention of the last convolution", fontsize=10)
    write_figure(figure, out)


def _gif(frames: list[np.ndarray], out: Path) -> None:
    pictures = [Image.fromarray(frame).quantize(128) for frame in frames]
    write_aside(out, lambda file: pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:],
                                                   duration=1000 // SHOWN_RATE, loop=0))


def _mp4(frames: list[np.ndarray], out: Path) -> None:
    height, width = (side - side % 2 for side in frames[0].shape[:2])  # H.264 with halved chroma wants even sides

    def encode(file) -> None:
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=Fraction(SHOWN_RATE), options={"crf": "18"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode())

    write_aside(out, encode)
