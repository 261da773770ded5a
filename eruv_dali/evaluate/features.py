"""Features of videos: a pre-trained network's features of clips spread evenly over each."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.evaluate.even_clips import EvenClips
from eruv_dali.models.backbone import Backbone, channels_last
from eruv_dali.video.frames import FRAME_SIZE


def pool5(backbone: Backbone, x_BCTHW: torch.Tensor) -> torch.Tensor:
    """Clips (B, 3, T, H, W) float → retrieval features (B, D): conv5, max-pooled (1, 2, 2), flattened.

    D is 9,216 at full size: 512 channels x 2 x 3 x 3 for clips of 16x112x112 (ERUV, section on retrieval). Of a 2D
    network the frames are averaged: 256 x 3 x 3.

    Raises:
        EruvError: clips so small that conv5's output is smaller than 2x2.
    """
    maps_BCTHW = backbone.feature_maps(x_BCTHW)
    if min(maps_BCTHW.shape[-2:]) < 2:
        raise EruvError(f"a crop of {x_BCTHW.shape[-2]}x{x_BCTHW.shape[-1]} leaves {maps_BCTHW.shape[-2]}x"
                        f"{maps_BCTHW.shape[-1]} after conv5, too small to pool; crop at least 32")
    pooled_BCTHW = F.max_pool3d(maps_BCTHW, (1, 2, 2))
    return (pooled_BCTHW.mean(2) if backbone.averages_frames else pooled_BCTHW).flatten(1)


def average(backbone: Backbone, x_BCTHW: torch.Tensor) -> torch.Tensor:
    """Clips (B, 3, T, H, W) float → (B, feature_dim), the input of the heads; of a 3D network, conv5 averaged over time
    and space."""
    return backbone(x_BCTHW)


LAYERS: dict[str, Callable] = {"pool5": pool5, "average": average}


def video_features(
    backbone: Backbone, videos: Sequence[str | Path], *, clips: int = 10, clip_length: int = 16, crop: int = 112,
    frame_size: tuple[int, int] = FRAME_SIZE, batch_size: int = 16, device: str = "auto", layer: str = "pool5",
    mean: Sequence[float] = (0.0, 0.0, 0.0), std: Sequence[float] = (1.0, 1.0, 1.0),
    dataset: Dataset | None = None, average_clips: bool = False, title: str = "features",
) -> np.ndarray:
    """Features of `clips` clips of each video, as `EvenClips` takes them (its arguments mean the same here).

    Args:
        backbone: from `build_backbone`; its mode and device are restored afterwards.
        videos: paths.
        layer: "pool5" (retrieval) or "average" (the input of classifiers).
        average_clips: return the mean over each video's clips instead of all of them.
        title: of the progress bar.

    Returns:
        (V, clips, D) float32; (V, D) with `average_clips`.

    Raises:
        EruvError: no videos, a file that is missing or cannot be decoded, an unknown layer.
    """
    if layer not in LAYERS:
        raise EruvError(f"layer {layer!r} is not one of {', '.join(LAYERS)}")
    was_on, was_training = next(backbone.parameters()).device, backbone.training
    with EvenClips(videos, clips=clips, clip_length=clip_length, crop=crop, frame_size=frame_size, device=device,
                   batch_size=batch_size, mean=mean, std=std, dataset=dataset) as even:
        channels_last(backbone, even.device).eval()
        try:
            return even.answers(lambda x_BCTHW: LAYERS[layer](backbone, x_BCTHW), average_clips=average_clips,
                                title=title)
        finally:
            backbone.to(was_on).train(was_training)
