"""Features of all videos, computed once a network: of clips spread evenly over each, and of what moves in them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from motion import change, place_of_motion

from eruv_dali.device import cores
from eruv_dali.evaluate.even_clips import clip_starts
from eruv_dali.evaluate.features import average, pool5
from eruv_dali.evaluate.pretrained import Pretrained
from eruv_dali.files import write_aside
from eruv_dali.models.backbone import channels_last
from eruv_dali.pretext.flow import flow_histograms
from evaluation.sets import Frames, LabelledVideos
from evaluation.starts import fingerprint

CLIPS = 5  # of a video
BATCH = 40
MOTION = {"amount of motion": change, "place of motion": place_of_motion, "flow histograms": flow_histograms}


def even_clips(
    videos: LabelledVideos, frames: Frames, start: Pretrained, clips: int, *, crop: int | None
) -> np.ndarray:
    """(N, clips, 3, T, H, W) uint8: clips of each video, central crops, or whole frames where `crop` is None."""
    return np.stack([np.stack([
        cut(frames.clip(path, first, start.clip_length), crop)
        for first in clip_starts(frames.place[str(path)][1], clips, start.clip_length)]) for path in videos.paths])


def cut(clip_THWC: np.ndarray, crop: int | None, top: int | None = None, left: int | None = None) -> np.ndarray:
    """(3, T, H, W): a crop of a clip, by default the central one; the whole frames where `crop` is None."""
    if crop is not None:
        height, width = clip_THWC.shape[1:3]
        top = (height - crop) // 2 if top is None else top
        left = (width - crop) // 2 if left is None else left
        clip_THWC = clip_THWC[:, top : top + crop, left : left + crop]
    return clip_THWC.transpose(3, 0, 1, 2)


def normalised(clips_BCTHW: np.ndarray, start: Pretrained, device: torch.device) -> torch.Tensor:
    """uint8 clips (B, 3, T, H, W) as the network saw them, channels last: convolutions take half the time."""
    mean, std = (torch.tensor(values, device=device).reshape(3, 1, 1, 1) for values in (start.mean, start.std))
    x_BCTHW = torch.from_numpy(np.ascontiguousarray(clips_BCTHW)).to(device).float()
    return ((x_BCTHW / 255 - mean) / std).contiguous(memory_format=torch.channels_last_3d)


def network_features(
    start: Pretrained, sets: Sequence[LabelledVideos], frames: Frames, out: Path, *, view: str, device: torch.device
) -> dict[str, dict[str, np.ndarray]]:
    """set → {"pool5": (N, D) mean over a video's clips, "average": (N, CLIPS, D)}, kept in `out`.

    view: "crop", the central crop of the size that the network was trained on, or "frame", whole frames.
    """
    crop = start.crop if view == "crop" else None
    backbone = channels_last(start.backbone, device).eval()

    def both(x_BCTHW: torch.Tensor) -> torch.Tensor:
        return torch.cat([average(backbone, x_BCTHW), pool5(backbone, x_BCTHW)], 1)

    found = {}
    for videos in sets:
        file = out / f"{videos.name}_{fingerprint(start, CLIPS, view, [str(path) for path in videos.paths])}.npy"
        if not file.exists():
            rows = _apply(both, even_clips(videos, frames, start, CLIPS, crop=crop), start, device)
            write_aside(file, lambda opened, rows=rows: np.save(opened, rows))
        rows = np.load(file)
        dim = backbone.feature_dim
        found[videos.name] = {"average": rows[..., :dim], "pool5": rows[..., dim:].mean(1)}
    return found


def _apply(
    answer: Callable[[torch.Tensor], torch.Tensor], clips: np.ndarray, start: Pretrained, device: torch.device
) -> np.ndarray:
    """(N, clips, D) float32."""
    flat = clips.reshape(-1, *clips.shape[2:])

    def rows(first: int) -> np.ndarray:
        with torch.inference_mode():  # of this thread
            return answer(normalised(flat[first : first + BATCH], start, device)).cpu().numpy()

    with ThreadPoolExecutor(cores() if device.type == "cpu" else 1) as pool:
        return np.concatenate(list(pool.map(rows, range(0, len(flat), BATCH)))).reshape(*clips.shape[:2], -1)


def motion_features(
    start: Pretrained, sets: Sequence[LabelledVideos], frames: Frames
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Each of MOTION → as `network_features`: numbers without a network, the first two of whole frames, the last of the
    crop that networks see."""
    found: dict = {name: {} for name in MOTION}
    plain = start._replace(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    for videos in sets:
        for name, count in MOTION.items():
            crop = start.crop if count is flow_histograms else None
            rows = _apply(count, even_clips(videos, frames, start, CLIPS, crop=crop), plain, torch.device("cpu"))
            found[name][videos.name] = {"average": rows, "pool5": rows.mean(1)}
    return found
