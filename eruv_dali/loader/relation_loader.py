"""RelationLoader: batches of clip pairs and their relations, for pre-training."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from eruv_dali.checks import three_numbers, whole_number
from eruv_dali.dataset import Dataset
from eruv_dali.device import gpu_number, resolve_device
from eruv_dali.errors import EruvError
from eruv_dali.loader.engine import dtype_name
from eruv_dali.loader.epochs import ClipInfo, EpochLoader
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.relations import RELATIONS, PairRequest, RelationSampler, trimmed_segments

SPLITS = ("all", "train", "val")


class PairInfo(NamedTuple):
    """Where a pair came from, and the name of its relation."""

    relation: str
    clips: tuple[ClipInfo, ClipInfo]


class RelationBatch(NamedTuple):
    """A batch of B pairs.

    Attributes:
        clips: (B, 2, 3, T, H, W), values (x / 255 - mean) / std; clips[:, k] is channels_last_3d.
        relation: (B,) int64, position in the loader's `relations`, on the CPU unless `labels_on_device`.
        info: list of B PairInfo.
    """

    clips: torch.Tensor
    relation: torch.Tensor
    info: list[PairInfo]


class RelationLoader(EpochLoader):
    """Loads batches of clip pairs in random relations from a prepared DATASET, decoding ahead on DALI's threads.

        with RelationLoader("my_dataset", batch_size=8) as loader:
            for batch in loader:
                loss = F.cross_entropy(net(batch.clips), batch.relation)

    Each `iter()` is one epoch; the next is the next epoch, with other pairs, even when the one before was broken off;
    `set_epoch` and `load_state_dict` choose. The same arguments give the same batches, whatever the number of threads.
    A pair that cannot be decoded is replaced by another of the same relation.

    Args:
        dataset: a DATASET folder, or one opened.
        batch_size: pairs in a batch; the last batch of an epoch may be smaller.
        drop_last: leave out what does not fill a batch of every shard.
        clip_length: frames in a clip.
        crop: side of the square crop, pixels; its place is drawn for each clip.
        device: where clips are decoded and delivered: "auto", "gpu", "cpu", "cuda:1" or a torch.device.
        dtype: float32, float16 or bfloat16, as a name or a torch.dtype.
        mean, std: per channel, on the scale of 0 to 1. By default values stay between 0 and 1.
        relations: any of RELATIONS; a label is a position in this list.
        trimmed: each video is one action (UCF101): whole videos in place of segments, CV and CD drop out.
        split: "all" videos, or the "train" or "val" part: videos are held out by a hash of their name, so the
            division stays when videos are added.
        val_fraction: share of the videos held out; at least two, and one of two shots where CV is asked.
        pairs_per_epoch: by default one for each segment.
        labels_on_device: deliver `relation` where the clips are, instead of on the CPU.
        seed: other seeds give other pairs.
        shard_id, num_shards: this process's part of every epoch; by default its rank among the processes of
            torch.distributed or torchrun. All have the same number of batches; to fill them, an epoch may have a few
            pairs more.
        threads: for decoding; by default one a core.

    Raises:
        EruvError: a bad argument, no such DATASET, a relation that these videos cannot show, or videos or a pack that
            are not what prepare left.
    """

    def __init__(
        self, dataset: str | Path | Dataset, *, batch_size: int = 8, clip_length: int = 16, crop: int = 112,
        device: str | torch.device = "auto", dtype: str | torch.dtype = "float32",
        mean: Sequence[float] = (0.0, 0.0, 0.0), std: Sequence[float] = (1.0, 1.0, 1.0),
        relations: Sequence[str] = RELATIONS, trimmed: bool = False,
        split: str = "all", val_fraction: float = 0.1, pairs_per_epoch: int | None = None, drop_last: bool = False,
        labels_on_device: bool = False, seed: int = 0, shard_id: int | None = None, num_shards: int | None = None,
        threads: int | None = None,
    ) -> None:
        if pairs_per_epoch is not None:
            whole_number("pairs_per_epoch", pairs_per_epoch, least=1)
        if isinstance(relations, str):
            raise EruvError(f"relations {relations!r} must be a list of names, such as {[*RELATIONS[:2]]}")
        place = resolve_device(device)
        videos = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
        videos.check()
        frame_size = (videos.frame_height, videos.frame_width)
        self.mean, self.std = three_numbers("mean", mean), three_numbers("std", std)
        clip = ClipFormat(clip_length, crop, frame_size, dtype_name(dtype), self.mean, self.std, "THWC", place,
                          gpu_number(device) if place == "gpu" else None)
        segments = trimmed_segments([video.frames for video in videos.videos]) if trimmed else videos.segments
        segments = _split_segments(videos, segments, split, val_fraction, () if trimmed else relations)
        self.pairs = RelationSampler(
            segments, relations=relations, clip_length=clip_length, crop=crop, frame_size=frame_size, seed=seed,
            trimmed=trimmed,
        )
        self.relations = self.pairs.relations
        super().__init__(videos, clip, items=pairs_per_epoch or len(self.pairs), clips_per_item=2,
                         batch_size=batch_size, drop_last=drop_last, labels_on_device=labels_on_device, seed=seed,
                         shard_id=shard_id, num_shards=num_shards, threads=threads, owned=videos is not dataset)

    def _item(self, epoch: int, number: int, attempt: int) -> PairRequest:
        return self.pairs.pair(epoch, number, attempt)

    def _batch(self, items: list[PairRequest], clips: torch.Tensor) -> RelationBatch:
        clips = clips.unflatten(0, (2, len(items))).permute(1, 0, 5, 2, 3, 4)
        relation = self._labels([self.relations.index(pair.relation) for pair in items], clips)
        info = [PairInfo(pair.relation, tuple(map(self._info, pair.clips))) for pair in items]
        return RelationBatch(clips, relation, info)


def _split_segments(
    dataset: Dataset, segments: np.ndarray, split: str, val_fraction: float, relations: Sequence[str]
) -> np.ndarray:
    """The segments of the videos in this part.

    Held out are the first videos in the order of their names' hashes: as many as `val_fraction` asks, at least two
    (CD), and on until one of them has two shots (CV), so that a small data set too can be asked every relation.
    """
    if split not in SPLITS:
        raise EruvError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    if split == "all":
        return segments
    if not 0 < val_fraction < 1:
        raise EruvError(f"val_fraction {val_fraction} must lie between 0 and 1")
    videos = np.unique(segments["video"])
    if len(videos) < 4:
        raise EruvError(f"{dataset.folder}: {len(videos)} videos with segments are too few to hold two out for "
                        "validation; prepare at least 4")
    hashes = [hashlib.sha256(dataset.videos[video].video.encode()).digest() for video in videos]
    share = np.array([int.from_bytes(digest[:8], "big") / 2**64 for digest in hashes])
    ranked = videos[np.argsort(share)]
    count = max(2, int(np.sum(share < val_fraction)))
    if "CV" in relations:
        shots = np.unique(segments["video"].astype(np.int64) << 32 | segments["shot"]) >> 32  # one a shot: its video
        several = np.isin(ranked, shots[1:][shots[1:] == shots[:-1]])
        if several.any():
            count = max(count, int(np.argmax(several)) + 1)
    is_val = np.isin(segments["video"], ranked[:count])
    return segments[is_val if split == "val" else ~is_val]
