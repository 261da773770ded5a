"""The clips that all contenders deliver: 16 frames of 128x171, cropped to 112x112; and the order they are asked in.

    random   any video, any start: clips may lie close enough together for a loader that looks ahead to share a decode
    spread   the same, but no video twice within APART clips: nothing can be shared
"""

from collections import deque

import numpy as np

from eruv_dali.dataset import Dataset
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.loader.prefetch import CLIPS_AHEAD
from eruv_dali.loader.requests import ClipRequest

T, CROP, FRAME_SIZE, BATCH = 16, 112, (128, 171), 16

APART = CLIPS_AHEAD + BATCH  # clips that our loader has in hand at a time: those ahead, and the batch being collected
ORDERS = ("spread", "random")


def clip_format(device: str) -> ClipFormat:
    """What ours delivers: (16, 112, 112, 3) float32 from 0 to 1 in memory."""
    return ClipFormat(T, CROP, FRAME_SIZE, "float32", (0, 0, 0), (1, 1, 1), "THWC", device)


def clip_requests(dataset: Dataset, videos: list[int], count: int, seed: int, order: str) -> list[ClipRequest]:
    """Clips of 16 consecutive frames: every video equally often, every start and crop equally likely.

    For the order "spread" there must be more than APART videos.
    """
    random = np.random.default_rng(seed)
    recent: deque[int] = deque(maxlen=APART if order == "spread" else 0)
    requests = []
    while len(requests) < count:
        video = int(random.choice(videos))
        if video in recent:
            continue
        recent.append(video)
        start = random.integers(dataset.videos[video].frames - T + 1)
        crop = tuple(int(random.integers(size - CROP + 1)) for size in FRAME_SIZE)
        requests.append(ClipRequest(video, 0, 0, start + np.arange(T), 0, crop, 1))
    return requests
