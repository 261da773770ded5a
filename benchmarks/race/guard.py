"""Whether a contender delivers the frames it was asked for: its pictures beside the reference and its neighbours.

The reference is the n-th frame shown, decoded one after the other by PyAV. A delivered frame is wrong if another frame
within REACH of the right one is clearly more like it, or if it is like none; a contender that scales or compresses
differently passes. Clips with motion are preferred, for where nothing moves no frame can be told from its neighbours.
"""

from dataclasses import dataclass

import numpy as np
import torch

from eruv_dali.dataset import Dataset
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.video.reader import FrameReader
from race.clips import CROP, FRAME_SIZE, T, clip_requests

REACH = 8  # frames
CANDIDATES, CHECKED = 48, 24  # clips decoded, and those of most motion that are used
# Mean absolute difference in grey levels. CLEARLY: by how much, and by what factor, another frame must be nearer.
CLEARLY, FACTOR, LIKE_NONE = 0.3, 1.1, 40.0


@dataclass(frozen=True)
class Reference:
    """The frames around a clip's: `pictures` (F, 112, 112, 3) uint8 of the clip's crop, its own from `first` on."""

    request: ClipRequest
    pictures: np.ndarray
    first: int


def references(dataset: Dataset, videos: list[int], seed: int = 1) -> list[Reference]:
    """Clips of different videos, the ones of most motion first, with the frames around them."""
    reader, found, motion = FrameReader(), [], []
    for request in clip_requests(dataset, videos, 4 * CANDIDATES, seed, "random"):
        if len(found) == CANDIDATES or any(request.video == other.request.video for other in found):
            continue
        first = max(0, int(request.frames[0]) - REACH)
        last = min(dataset.videos[request.video].frames, int(request.frames[-1]) + 1 + REACH)
        top, left = request.crop
        pictures = reader.read(dataset.videos[request.video].path, dataset.index(request.video),
                               np.arange(first, last), *FRAME_SIZE)[:, top : top + CROP, left : left + CROP]
        found.append(Reference(request, pictures, int(request.frames[0]) - first))
        motion.append(np.abs(np.diff(pictures.astype(np.int16), axis=0)).mean())
    reader.close()
    return [found[place] for place in np.argsort(motion)[::-1][:CHECKED]]


def wrong_clips(clips: torch.Tensor, expected: list[Reference]) -> list[int]:
    """By how many frames each of the clips that hold a wrong frame is off, at its first wrong one.

    Args:
        clips: (N, 16, 112, 112, 3) float32 from 0 to 1, one for each of `expected`.
    """
    found = []
    for clip, reference in zip(clips, expected, strict=True):
        pictures = 255 * clip.float().cpu().numpy()
        for t in range(T):
            right = reference.first + t
            near = np.arange(max(0, right - REACH), min(len(reference.pictures), right + REACH + 1))
            apart = np.abs(pictures[t] - reference.pictures[near].astype(np.float32)).mean((1, 2, 3))
            own, nearest = apart[near == right][0], apart.min()
            if own > LIKE_NONE or own > FACTOR * nearest + CLEARLY:
                found.append(int(near[apart.argmin()] - right))
                break
    return found
