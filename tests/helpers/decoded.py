"""A whole video by the CPU decoder: pictures of each size, the index and the stream's facts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.index import FrameIndex

SIZE = (128, 171)


def decode(
    path: Path, sizes: Sequence[tuple[int, int]] = (SIZE,)
) -> tuple[list[np.ndarray], FrameIndex, dict[str, Any]]:
    chunks = list(decode_pictures(path, sizes))
    pictures = [np.concatenate([chunk.pictures[k] for chunk in chunks]) for k in range(len(sizes))]
    index = FrameIndex(np.concatenate([c.pts for c in chunks]), np.concatenate([c.key for c in chunks]))
    return pictures, index, chunks[0].facts
