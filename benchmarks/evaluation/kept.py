"""Figures that are kept: what was computed from the same features before is read again."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np

from eruv_dali.files import write_aside
from evaluation.frozen import MEASURES, K
from evaluation.ridge import PENALTIES
from evaluation.sets import LabelledVideos


def kept_hits(
    folder: Path, videos: LabelledVideos, features: dict[str, np.ndarray], words: tuple,
    compute: Callable[[], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """What `compute` returns, measure → (N,) bool; read from `folder` where it was computed from the same before."""
    digest = sha256(repr((words, MEASURES, K, PENALTIES, videos.groups.tolist(), videos.labels.tolist())).encode())
    for name in sorted(features):
        digest.update(np.ascontiguousarray(features[name]).tobytes())
    file = folder / f"{videos.name}_{digest.hexdigest()[:20]}.npz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        hits = compute()
        write_aside(file, lambda opened: np.savez(opened, **hits))
    with np.load(file) as found:
        return {name: found[name] for name in found.files}
