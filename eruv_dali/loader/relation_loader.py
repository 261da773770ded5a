"""RelationLoader: batches of clip pairs and their relations, for pre-training."""

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from eruv_dali.dataset import Dataset
from eruv_dali.device import resolve_device
from eruv_dali.errors import EruvError
from eruv_dali.loader.engine import ClipEngine, default_threads, dtype_name
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.relations import RELATIONS, PairRequest, RelationSampler, trimmed_segments

SPLITS = ("all", "train", "val")


@dataclass(frozen=True)
class ClipInfo:
    """Where a clip came from.

    Attributes:
        video: name in the dataset; `shot`: number within the video; `segment`: number in segments.csv.
        frames: T source frames in the order shown.
        rotation: degrees counter-clockwise, applied to the crop.
        crop: (top, left) in the resized frame, pixels.
        speed: 1, 2 or 4.
    """

    video: str
    shot: int
    segment: int
    frames: tuple[int, ...]
    rotation: int
    crop: tuple[int, int]
    speed: int


@dataclass(frozen=True)
class PairInfo:
    """Where a pair came from, and the name of its relation."""

    relation: str
    clips: tuple[ClipInfo, ClipInfo]


@dataclass(frozen=True)
class RelationBatch:
    """A batch of B pairs.

    Attributes:
        clips: (B, 2, 3, T, H, W), values (x / 255 - mean) / std; clips[:, k] is channels_last_3d.
        relation: (B,) int64, position in the loader's `relations`, on the CPU.
        info: list of B PairInfo.
    """

    clips: torch.Tensor
    relation: torch.Tensor
    info: list[PairInfo]


class RelationLoader:
    """Loads batches of clip pairs in random relations from a prepared DATASET, decoding ahead on DALI's threads.

        with RelationLoader("my_dataset", batch_size=8) as loader:
            for batch in loader:
                loss = F.cross_entropy(net(batch.clips), batch.relation)

    One pass is one epoch; the next pass is the next epoch, in another order. The same arguments give the same batches,
    whatever the number of threads.

    Args:
        dataset: a DATASET folder, or one opened.
        batch_size: pairs in a batch; the last batch of an epoch may be smaller.
        clip_length: frames in a clip.
        crop: side of the square crop, pixels; its place is drawn for each clip.
        device: "auto", "gpu" or "cpu": where clips are decoded and delivered.
        dtype: float32, float16 or bfloat16, as a name or a torch.dtype.
        mean, std: per channel, on the scale of 0 to 1. By default values stay between 0 and 1.
        relations: any of RELATIONS; a label is a position in this list.
        trimmed: each video is one action (UCF101): whole videos in place of segments, CV and CD drop out.
        split: "all" videos, or the "train" or "val" part: videos are held out by a hash of their name, so the
            division stays when videos are added.
        val_fraction: share of the videos held out; at least two, and one of two shots where CV is asked.
        pairs_per_epoch: by default one for each segment.
        seed: other seeds give other pairs.
        shard_id, num_shards: this process's part of every epoch, for several processes.
        threads: for decoding; by default one a core.

    Raises:
        EruvError: a bad argument, no such DATASET, or a relation that these videos cannot show.
    """

    def __init__(
        self, dataset: str | Path | Dataset, *, batch_size: int = 8, clip_length: int = 16, crop: int = 112,
        device: str = "auto", dtype: str | torch.dtype = "float32", mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0), relations: Sequence[str] = RELATIONS, trimmed: bool = False,
        split: str = "all", val_fraction: float = 0.1, pairs_per_epoch: int | None = None, seed: int = 0,
        shard_id: int = 0, num_shards: int = 1, threads: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise EruvError(f"batch_size {batch_size} must be at least 1")
        if not 0 <= shard_id < num_shards:
            raise EruvError(f"shard_id {shard_id} must lie between 0 and num_shards - 1 ({num_shards - 1})")
        if pairs_per_epoch is not None and pairs_per_epoch < 1:
            raise EruvError(f"pairs_per_epoch {pairs_per_epoch} must be at least 1")
        self.dataset = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
        frame_size = (self.dataset.frame_height, self.dataset.frame_width)
        segments = self.dataset.segments
        if trimmed:
            segments = trimmed_segments([video.frames for video in self.dataset.videos])
        segments = _split_segments(self.dataset, segments, split, val_fraction, () if trimmed else relations)
        self.sampler = RelationSampler(
            segments, relations=relations, clip_length=clip_length, crop=crop, frame_size=frame_size, seed=seed,
            trimmed=trimmed,
        )
        self.relations = self.sampler.relations
        self.batch_size, self.shard_id, self.num_shards = batch_size, shard_id, num_shards
        self.pairs_per_epoch = pairs_per_epoch or len(self.sampler)
        self.mean, self.std = tuple(mean), tuple(std)
        clip = ClipFormat(clip_length, crop, frame_size, dtype_name(dtype), self.mean, self.std, "THWC",
                          resolve_device(device))
        self.device = clip.device
        self._engine = ClipEngine(self.dataset, clip, max_clips=2 * batch_size, threads=threads or default_threads())
        self.epoch = 0
        self._position = 0  # pairs of this epoch that all shards together have delivered
        self._resume_at = 0

    def __len__(self) -> int:
        """Batches in an epoch, for this shard."""
        mine = len(range(self.shard_id, self.pairs_per_epoch, self.num_shards))
        return -(-mine // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next pass will be. Naming the current one changes nothing."""
        if epoch != self.epoch:
            self.epoch, self._position, self._resume_at = epoch, 0, 0

    def state_dict(self) -> dict[str, int]:
        """Where the epoch stands. Shards advance together, so one state serves any number of shards."""
        return {"epoch": self.epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from `state`: the next pass delivers what was left of that epoch."""
        self.epoch = state["epoch"]
        self._position = self._resume_at = state["position"]

    def __iter__(self) -> Iterator[RelationBatch]:
        self._engine.drop()
        start, self._resume_at = self._resume_at, 0
        self._position = start
        numbers = range(start + self.shard_id, self.pairs_per_epoch, self.num_shards)
        ahead: deque[list[PairRequest]] = deque()
        for first in range(0, len(numbers), self.batch_size):
            pairs = [self.sampler.pair(self.epoch, n) for n in numbers[first : first + self.batch_size]]
            ahead.append(pairs)
            self._engine.submit([pair.clips[k] for k in (0, 1) for pair in pairs])
            if len(ahead) > 2 * self._engine.depth:
                yield self._deliver(ahead.popleft())
        while ahead:
            yield self._deliver(ahead.popleft())
        self.epoch, self._position = self.epoch + 1, 0

    def _deliver(self, pairs: list[PairRequest]) -> RelationBatch:
        clips_NTHWC = self._engine.collect()
        # All first clips lie before all second ones, so that clips[:, k] is one dense channels_last_3d tensor.
        clips = clips_NTHWC.unflatten(0, (2, len(pairs))).permute(1, 0, 5, 2, 3, 4)
        relation = torch.tensor([self.relations.index(pair.relation) for pair in pairs])
        self._position = min(self._position + self.batch_size * self.num_shards, self.pairs_per_epoch)
        return RelationBatch(clips, relation, [self._info(pair) for pair in pairs])

    def _info(self, pair: PairRequest) -> PairInfo:
        return PairInfo(pair.relation, tuple(
            ClipInfo(self.dataset.videos[clip.video].video, clip.shot, clip.segment, tuple(clip.frames.tolist()),
                     clip.rotation, clip.crop, clip.speed) for clip in pair.clips
        ))

    def close(self) -> None:
        """Stop the threads, let go of memory and files."""
        self._engine.close()

    def __enter__(self) -> "RelationLoader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
        shots = np.unique(segments[["video", "shot"]])["video"]
        several = np.isin(ranked, shots[1:][shots[1:] == shots[:-1]])
        if several.any():
            count = max(count, int(np.argmax(several)) + 1)
    is_val = np.isin(segments["video"], ranked[:count])
    return segments[is_val if split == "val" else ~is_val]
