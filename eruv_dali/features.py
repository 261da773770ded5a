"""Features of videos: what a pre-trained network makes of clips spread evenly over each."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.nn import functional as F

from eruv_dali.dataset import Dataset
from eruv_dali.device import resolve_device
from eruv_dali.errors import EruvError
from eruv_dali.indexing import IndexedVideos
from eruv_dali.loader import ClipLoader
from eruv_dali.loader.engine import default_threads
from eruv_dali.pretrain.step import choose_precision
from eruv_dali.videos import Video

console = Console(stderr=True)


def pool5(backbone: nn.Module, x_BCTHW: torch.Tensor) -> torch.Tensor:
    """Clips (B, 3, T, H, W) float → retrieval features (B, D): conv5, max-pooled (1, 2, 2), flat.

    D is 9,216 at full size: 512 channels x 2 x 3 x 3 for clips of 16x112x112 (ERUV, section on retrieval).

    Raises:
        EruvError: clips so small that conv5 leaves less than 2x2.
    """
    maps_BCTHW = backbone.feature_maps(x_BCTHW)
    if min(maps_BCTHW.shape[-2:]) < 2:
        raise EruvError(f"a crop of {x_BCTHW.shape[-2]}x{x_BCTHW.shape[-1]} leaves {maps_BCTHW.shape[-2]}x"
                        f"{maps_BCTHW.shape[-1]} after conv5, too small to pool; crop at least 32")
    return F.max_pool3d(maps_BCTHW, (1, 2, 2)).flatten(1)


def average(backbone: nn.Module, x_BCTHW: torch.Tensor) -> torch.Tensor:
    """Clips (B, 3, T, H, W) float → (B, 8·width): conv5 averaged over time and space, what the heads are given."""
    return backbone(x_BCTHW)


LAYERS: dict[str, Callable] = {"pool5": pool5, "average": average}


def video_features(
    backbone: nn.Module, videos: Sequence[str | Path], *, clips: int = 10, clip_length: int = 16, crop: int = 112,
    frame_size: tuple[int, int] = (128, 171), batch_size: int = 16, device: str = "auto", layer: str = "pool5",
    mean: Sequence[float] = (0.0, 0.0, 0.0), std: Sequence[float] = (1.0, 1.0, 1.0),
    dataset: Dataset | None = None, average_clips: bool = False, title: str = "features",
) -> np.ndarray:
    """Features of `clips` clips of each video: centre crops, starts spread evenly from its first frame to its last.

    A video shorter than a clip shows its last frame again until the clip is full. No video is left out: one that
    cannot be decoded is an error.

    Args:
        backbone: of `build_backbone`; it is left in the mode and on the device that it was in.
        videos: paths.
        clips, clip_length, crop: clips a video, frames a clip, pixels.
        frame_size: height and width to which frames are scaled first; a `dataset` has its own.
        batch_size: clips at once.
        layer: "pool5" (retrieval) or "average" (what classifiers are given).
        mean, std: those of the pre-training.
        dataset: a prepared DATASET that holds the videos, much faster than the files.
        average_clips: the mean over each video's clips instead of all of them.
        title: of the progress bar.

    Returns:
        (V, clips, D) float32; (V, D) with `average_clips`.

    Raises:
        EruvError: no videos, a file that is missing or cannot be decoded, an unknown layer.
    """
    if layer not in LAYERS:
        raise EruvError(f"layer {layer!r} is not one of {', '.join(LAYERS)}")
    if not len(videos):
        raise EruvError("no videos to compute features of")
    extract = LAYERS[layer]

    def answer(x_BCTHW: torch.Tensor) -> torch.Tensor:
        return extract(backbone, x_BCTHW)

    return over_clips(answer, backbone, videos, clips=clips, clip_length=clip_length, crop=crop, frame_size=frame_size,
                      batch_size=batch_size, device=device, mean=mean, std=std, dataset=dataset,
                      average_clips=average_clips, title=title)


def over_clips(
    answer: Callable[[torch.Tensor], torch.Tensor], net: nn.Module, videos: Sequence[str | Path], *, clips: int,
    clip_length: int, crop: int, frame_size: tuple[int, int], batch_size: int, device: str, mean: Sequence[float],
    std: Sequence[float], dataset: Dataset | None, average_clips: bool, title: str,
) -> np.ndarray:
    """What `answer`, (B, 3, T, H, W) → (B, D), makes of evenly spread clips; `net` holds its weights.

    The arguments are those of `video_features`.

    Raises:
        EruvError: see `video_features`.
    """
    if clips < 1:
        raise EruvError(f"clips {clips} must be at least 1")
    device = resolve_device(device)
    place = torch.device("cuda" if device == "gpu" else "cpu")
    precision = choose_precision("auto", place)
    names, source, owned = _source(videos, dataset, frame_size)
    try:
        frames = {video.video: video.frames for video in source.videos}
        # The label is the video: a clip that cannot be decoded is then replaced by another of the same video.
        wanted = [(name, start, number) for number, name in enumerate(names)
                  for start in clip_starts(frames[name], clips, clip_length)]
        was_on, was_training = next(net.parameters()).device, net.training
        net.to(place, memory_format=torch.channels_last_3d).eval()
        result = None
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("clips"),
                   TimeRemainingColumn()]
        try:
            with (
                ClipLoader(wanted, batch_size=batch_size, clip_length=clip_length, crop=crop, hold_last=True,
                           device=device, dataset=source, dtype=precision, mean=mean, std=std) as loader,
                Progress(*columns, console=console, transient=True) as bar, torch.inference_mode(),
            ):
                task, done, late = bar.add_task(title, total=len(wanted)), 0, None
                for batch in loader:
                    for (name, _, number), info in zip(wanted[done : done + len(batch.info)], batch.info, strict=True):
                        if info.video != name:
                            raise EruvError(f"{videos[number]}: cannot be decoded; leave it out, or repair it")
                    with torch.autocast(place.type, precision, enabled=precision is not torch.float32):
                        out_BD = answer(batch.clips).float()
                    if result is None:
                        shape = (len(names), out_BD.shape[1]) if average_clips else (len(wanted), out_BD.shape[1])
                        result = np.zeros(shape, np.float32)
                    if late is not None:  # a batch behind, so that the copy waits for no work in progress
                        _keep(result, late, clips if average_clips else 0)
                    late = (done, out_BD)
                    done += len(out_BD)
                    bar.update(task, completed=done)
                _keep(result, late, clips if average_clips else 0)
        finally:
            net.to(was_on).train(was_training)
    finally:
        if owned:
            source.close()
    if average_clips:
        return result
    return result.reshape(len(names), clips, -1)


def clip_starts(frames: int, clips: int, clip_length: int) -> list[int]:
    """First frames of `clips` clips spread evenly over a video, from 0 to the last that fits."""
    return np.linspace(0, max(0, frames - clip_length), clips).round().astype(int).tolist()


def _keep(result: np.ndarray, late: tuple[int, torch.Tensor], clips: int) -> None:
    """Put a batch's rows, of clips from number `late[0]` on, in their place, or add them to their videos'."""
    first, rows_BD = late[0], late[1].cpu().numpy()
    if clips:
        np.add.at(result, np.arange(first, first + len(rows_BD)) // clips, rows_BD / clips)
    else:
        result[first : first + len(rows_BD)] = rows_BD


def _source(
    videos: Sequence[str | Path], dataset: Dataset | None, frame_size: tuple[int, int]
) -> tuple[list[str], Dataset | IndexedVideos, bool]:
    """Names of the videos in the source of clips, the source, and whether it is to be closed."""
    if dataset is not None:
        return names_in(dataset, videos), dataset, False
    names = [str(video) for video in videos]
    unique = list(dict.fromkeys(names))
    if missing := [name for name in unique if not Path(name).is_file()]:
        raise EruvError(f"{missing[0]}: no such file ({len(missing)} of {len(unique)} videos are missing)")
    return names, IndexedVideos([Video(name, Path(name)) for name in unique], frame_size, default_threads()), True


def names_in(dataset: Dataset, videos: Sequence[str | Path]) -> list[str]:
    """The names that these files bear in a DATASET.

    Raises:
        EruvError: one of them is not in it.
    """
    known = {video.path.resolve(): video.video for video in dataset.videos}
    names = [known.get(Path(video).resolve()) for video in videos]
    if None in names:
        raise EruvError(f"{videos[names.index(None)]}: not in {dataset.folder} ({names.count(None)} of {len(names)} "
                        "videos are not); see its rejected.csv, or prepare it again")
    return names
