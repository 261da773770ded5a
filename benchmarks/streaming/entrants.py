"""One epoch after another of the same clips, from a store: by the loader here, by litdata, by MosaicML streaming.

    python -m benchmarks.streaming.entrants ours|litdata|mosaicml DATASET LOCAL

DATASET is the local one, of which only the list of clips is taken; the store's is s3://bucket/NAME. Prints a line of
JSON: seconds to the first batch and for each epoch, cores' seconds, and a checksum of each clip.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import torch

from benchmarks.streaming.data import clips, decoded, frame_size

BATCH, WORKERS, EPOCHS = 8, 2, 2


def ours(dataset: Path, local: Path) -> Iterator[Iterator[tuple[list[int], torch.Tensor]]]:
    from eruv_dali.loader import ClipLoader

    os.environ["ERUV_REMOTE_CACHE"] = str(local)
    listed = [(name, first, segment) for name, first, segment in clips(dataset)]
    yield iter(())  # what went before is not the loader's work
    loader = ClipLoader(listed, dataset="s3://bucket/ours", batch_size=BATCH, shuffle=True, device="cpu",
                        threads=WORKERS)
    for _ in range(EPOCHS):
        yield ((batch.label.tolist(), batch.clips) for batch in loader)


class Clip:
    """A sample's segment number, and its clip (3, T, H, W), as the loader here delivers it."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, sample: dict) -> tuple[int, torch.Tensor]:
        clip = torch.from_numpy(decoded(sample, self.size))
        return int(sample["segment"]), clip.permute(3, 0, 1, 2).float().div_(255)


def litdata(dataset: Path, local: Path) -> Iterator[Iterator[tuple[list[int], torch.Tensor]]]:
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming import downloader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # the server here has no certificate
    clip = Clip(frame_size(dataset))

    class Clips(StreamingDataset):
        def __getitem__(self, index):
            return clip(super().__getitem__(index))

    yield iter(())
    data = Clips("s3://bucket/litdata", cache_dir=str(local), shuffle=True,
                 storage_options={"endpoint_url": os.environ["AWS_ENDPOINT_URL"]})
    loader = StreamingDataLoader(data, batch_size=BATCH, num_workers=WORKERS)
    for _ in range(EPOCHS):
        yield ((segment.tolist(), batch) for segment, batch in loader)


def mosaicml(dataset: Path, local: Path) -> Iterator[Iterator[tuple[list[int], torch.Tensor]]]:
    from torch.utils.data import DataLoader

    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clip = Clip(frame_size(dataset))

    class Clips(StreamingDataset):
        def __getitem__(self, index):
            return clip(super().__getitem__(index))

    clean_stale_shared_memory()
    os.environ["S3_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL"]
    yield iter(())
    data = Clips(remote="s3://bucket/mosaicml", local=str(local), shuffle=True, batch_size=BATCH)
    loader = DataLoader(data, batch_size=BATCH, num_workers=WORKERS)
    for _ in range(EPOCHS):
        yield ((segment.tolist(), batch) for segment, batch in loader)


def counted() -> dict:
    """Requests and bytes since this was last asked."""
    with urlopen(f"{os.environ['AWS_ENDPOINT_URL']}/-/counts") as answer:
        return json.load(answer)


def worked() -> float:
    """Seconds of cores, of this process and of those that it has waited for."""
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, (
        resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def main() -> None:
    name, dataset, local = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    runs = {"ours": ours, "litdata": litdata, "mosaicml": mosaicml}[name](dataset, local)
    next(runs)
    counted()
    started, cores, result, sums = time.perf_counter(), worked(), {"epochs": []}, {}
    for epoch in range(EPOCHS):
        began, seen = time.perf_counter(), 0
        for segments, batch in next(runs):
            if "first_batch" not in result:
                result["first_batch"] = time.perf_counter() - started
            seen += len(segments)
            for segment, clip in zip(segments, batch, strict=True):
                total = int(torch.round(clip * 255).to(torch.int64).sum())
                assert sums.setdefault(segment, total) == total
        now = time.perf_counter()
        result["epochs"].append({"clips": seen, "seconds": now - (began if epoch else started),
                                 "core_seconds": worked() - cores, **counted()})
        cores = worked()
    result["local_bytes"] = sum(path.stat().st_size for path in local.rglob("*") if path.is_file())
    result["sums"] = int(np.bitwise_xor.reduce([hash((segment, sums[segment])) for segment in sorted(sums)]))
    result["segments"] = len(sums)
    print("RESULT " + json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
