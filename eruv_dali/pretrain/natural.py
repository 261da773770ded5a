"""backbone.pt with BatchNorm's statistics of natural clips: as they were filmed, not transformed by a pretext."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eruv_dali.errors import EruvError
from eruv_dali.loader import ClipLoader
from eruv_dali.models import load_backbone, save_backbone
from eruv_dali.models.backbone import channels_last
from eruv_dali.models.recalibrate import recalibrate
from eruv_dali.pretext.loader import PretextLoader
from eruv_dali.train.config import LEAST_RECALIBRATE, Config

BATCH = LEAST_RECALIBRATE  # clips, at least: those beyond whole batches are spread over the batches


def recalibrate_file(file: Path, config: Config, loader: PretextLoader, device: torch.device) -> None:
    """Measure BatchNorm's statistics of the backbone in `file` again, on `checkpoint.recalibrate` clips of the segments
    that `loader` trains on, at random places and crops drawn by the seed, and write it again. In float32.

    Raises:
        EruvError: no segment has the frames of a clip.
    """
    backbone = channels_last(load_backbone(file), device)
    clips = _clips(loader, config.checkpoint.recalibrate, config.data.clip_length, config.seed)
    data = config.data
    with ClipLoader(clips, batch_size=BATCH, clip_length=data.clip_length, crop=data.crop,
                    random_crop=True, mean=data.mean, std=data.std, device=config.device, dataset=loader.videos,
                    seed=config.seed, num_shards=1, threads=loader.threads) as natural:
        count = len(clips) // BATCH
        sizes = [len(clips) // count + (number < len(clips) % count) for number in range(count)]
        recalibrate(backbone, _batches(natural, sizes, device))
    save_backbone(backbone, file)


def _clips(loader: PretextLoader, count: int, frames: int, seed: int) -> list[tuple[str, int, Any]]:
    """`count` clips (name of the video, first frame, 0), from all segments equally often."""
    segments = loader.pretext.segments
    segments = segments[segments["end"] - segments["start"] >= frames]
    if len(segments) == 0:
        raise EruvError(f"checkpoint.recalibrate: no segment has {frames} frames; leave it out, or prepare longer "
                        "videos")
    random = np.random.default_rng([seed, 0xBA7C])
    order = np.concatenate([random.permutation(len(segments)) for _ in range(-(-count // len(segments)))])[:count]
    return [(loader.videos.videos[segment["video"]].name,
             int(random.integers(segment["start"], segment["end"] - frames + 1)), 0) for segment in segments[order]]


def _batches(loader: ClipLoader, sizes: Iterable[int], device: torch.device) -> Iterator[torch.Tensor]:
    """The loader's clips, in its order, in batches of these sizes."""
    batches = iter(loader)
    waiting: list[torch.Tensor] = []
    for size in sizes:
        while sum(len(clips) for clips in waiting) < size:
            waiting.append(next(batches).clips.to(device))
        clips = waiting[0] if len(waiting) == 1 else torch.cat(waiting)
        yield clips[:size]
        waiting = [clips[size:]] if len(clips) > size else []
