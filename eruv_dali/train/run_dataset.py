"""Where the DATASET of a pre-training run lies: where its configuration says, or next to the RUN folder, in which case
the run prepared it from videos, and the next one of the same videos finds it."""

import hashlib
from pathlib import Path

from eruv_dali.train.config import Config
from eruv_dali.video.place import Location, locate


def run_dataset(config: Config, out: Path) -> Location:
    """Where the DATASET of a run in the folder `out` lies, in a folder or a store; it need not exist."""
    return locate(config.data.dataset) if config.data.dataset else own_dataset(config, out)


def own_dataset(config: Config, out: Path) -> Path:
    """The folder of the DATASET that a run in the folder `out` prepares for itself."""
    data = config.data
    if not data.videos:  # the demonstration, on videos that it draws
        height, width = data.frame_size
        return out.parent / f"demo_dataset_{height}x{width}_{data.pack}"
    paths = sorted(str(locate(path).resolve()) for path in data.videos)
    key = hashlib.sha256(repr((paths, data.frame_size, data.pack)).encode()).hexdigest()[:8]
    return out.parent / f"dataset_{Path(paths[0]).name}_{key}"
