"""Our contender: the engine under our loaders, given the same requests as the peers."""

from collections.abc import Iterator

import torch

from eruv_dali.dataset import Dataset
from eruv_dali.device import cores
from eruv_dali.loader.prefetch import ClipEngine
from eruv_dali.loader.requests import ClipRequest
from race.clips import BATCH, clip_format


class Ours:
    """Reads a DATASET; `batches` gives (16, 16, 112, 112, 3) float32."""

    def __init__(self, dataset: Dataset, device: str) -> None:
        self.engine = ClipEngine(dataset, clip_format(device), max_clips=BATCH, threads=cores())

    def batches(self, requests: list[ClipRequest]) -> Iterator[torch.Tensor]:
        for first in range(0, len(requests), BATCH):
            self.engine.submit(requests[first : first + BATCH])
            if self.engine.queued > self.engine.ahead:
                yield self.engine.collect()
        while self.engine.queued:
            yield self.engine.collect()

    def close(self) -> None:
        self.engine.close()
