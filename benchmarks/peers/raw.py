"""One clip from a file of raw frames, mapped by numpy.memmap."""

from functools import lru_cache

import numpy as np
from race.clips import FRAME_SIZE

from peers.video import OPEN_FILES, Decode


def memmap_reader() -> Decode:
    """A function from a PeerClip to its frames, (16, 128, 171, 3) uint8, a view of the mapped file."""
    @lru_cache(OPEN_FILES)
    def opened(path: str) -> np.ndarray:
        return np.memmap(path, np.uint8, "r").reshape(-1, *FRAME_SIZE, 3)

    return lambda clip: opened(clip.path)[int(clip.frames[0]) : int(clip.frames[-1]) + 1]
