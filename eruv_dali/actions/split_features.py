"""Features of all videos of some splits, computed once: splits of one dataset share their videos."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from eruv_dali.actions.split import ActionSplit
from eruv_dali.dataset import Dataset
from eruv_dali.evaluate.features import video_features
from eruv_dali.evaluate.pretrained import Pretrained


class SplitFeatures:
    """Features by video.

    Args:
        start: the network, and the format of its clips.
        splits: whose videos they are.
        dataset: contains them.
        layer, clips, average_clips, batch_size, device: see `video_features`.

    Raises:
        EruvError: see `video_features`.
    """

    def __init__(
        self, start: Pretrained, splits: Iterable[ActionSplit], dataset: Dataset, *, layer: str, clips: int = 10,
        average_clips: bool = False, batch_size: int = 16, device: str = "auto",
    ) -> None:
        videos = list(dict.fromkeys(path for split in splits for side in (split.train, split.test) for path, _ in side))
        self._row = {path: row for row, path in enumerate(videos)}
        self._features = video_features(start.backbone, videos, layer=layer, clips=clips, average_clips=average_clips,
                                        batch_size=batch_size, device=device, dataset=dataset, **start.look)

    def of(self, side: Sequence[tuple[Path, int]]) -> np.ndarray:
        """(V, clips, D) float32, or (V, D) averages, of the videos of one side of a split, in its order."""
        return self._features[[self._row[path] for path, _ in side]]
