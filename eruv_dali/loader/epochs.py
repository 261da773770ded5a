"""What both loaders have in common: epochs, shards, resuming, replacing what cannot be decoded, and figures."""

import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.indexing import IndexedVideos
from eruv_dali.loader.engine import ClipEngine, default_threads
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.loader.unreadable import Quarantine, UnreadableClips
from eruv_dali.relations import ClipRequest

log = logging.getLogger("eruv_dali")

MOST_ATTEMPTS = 100  # at replacing one item, before the videos are called unusable


class ClipInfo(NamedTuple):
    """Where a clip came from.

    Attributes:
        video: name in the dataset, or path of the file.
        shot: number within the video; `segment`: number in segments.csv; -1 where there is none.
        frames: T source frames in the order shown.
        rotation: degrees counter-clockwise, applied to the crop.
        crop: (top, left) in the resized frame, pixels.
        speed: source frames from one frame to the next, in the order of time.
    """

    video: str
    shot: int
    segment: int
    frames: tuple[int, ...]
    rotation: int
    crop: tuple[int, int]
    speed: int


class EpochLoader(ABC):
    """Iterating is one epoch; the next iteration is the next epoch. A kind of loader says what an item is: `_item`
    draws one, with its clips, as a pure function of epoch and number, and `_batch` makes a batch of some.

    Args:
        videos: where clips come from.
        clip: what they look like.
        items: in an epoch, over all shards; `clips_per_item` each.
        batch_size: items in a batch; the last batch of an epoch may be smaller.
        shard_id, num_shards: this process's part of every epoch.
        threads: for decoding; by default one a core.
        owned: the loader opened `videos` itself, and closes them.
    """

    def __init__(
        self, videos: Dataset | IndexedVideos, clip: ClipFormat, *, items: int, clips_per_item: int, batch_size: int,
        shard_id: int, num_shards: int, threads: int | None, owned: bool,
    ) -> None:
        if batch_size < 1:
            raise EruvError(f"batch_size {batch_size} must be at least 1")
        if not 0 <= shard_id < num_shards:
            raise EruvError(f"shard_id {shard_id} must lie between 0 and num_shards - 1 ({num_shards - 1})")
        if threads is not None and threads < 1:
            raise EruvError(f"threads {threads} must be at least 1")
        self.videos, self.items, self.batch_size = videos, items, batch_size
        self.shard_id, self.num_shards, self.device = shard_id, num_shards, clip.device
        self.clip_length = clip.clip_length
        self._clips_per_item, self._owned = clips_per_item, owned
        self.threads = threads or default_threads()
        self._engine = ClipEngine(videos, clip, max_clips=clips_per_item * batch_size, threads=self.threads)
        self._quarantine = Quarantine()
        self._replaced = 0
        self.epoch = 0
        self._position = 0  # items of this epoch that all shards together have delivered
        self._resume_at = 0
        self._started, self._delivered, self._waited_before = time.perf_counter(), 0, 0.0

    def __len__(self) -> int:
        """Batches in an epoch, for this shard."""
        mine = len(range(self.shard_id, self.items, self.num_shards))
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

    def stats(self) -> dict[str, float]:
        """Figures of the current or last pass, and of the loader's life.

        `clips_per_second` and `wait_seconds` (spent waiting for clips) are of the pass; `queued` batches are under way;
        `bytes_read` from pack or files; `quarantined` frames that cannot be decoded, `replaced` clips or pairs;
        `read_seconds`, `demux_seconds`, `decode_seconds` of the threads that read original files.
        """
        seconds = time.perf_counter() - self._started
        return {
            "clips": self._delivered,
            "clips_per_second": self._delivered / seconds,
            "wait_seconds": self._engine.waited - self._waited_before,
            "queued": self._engine.queued,
            "bytes_read": self._engine.source.bytes,
            "quarantined": len(self._quarantine),
            "replaced": self._replaced,
            **{f"{stage}_seconds": spent for stage, spent in self._engine.source.seconds.items()},
        }

    def __iter__(self) -> Iterator[Any]:
        self._engine.drop()
        start, self._resume_at = self._resume_at, 0
        self._position = start
        self._started, self._delivered, self._waited_before = time.perf_counter(), 0, self._engine.waited
        numbers = range(start + self.shard_id, self.items, self.num_shards)
        ahead: deque[tuple[range, list]] = deque()
        for first in range(0, len(numbers), self.batch_size):
            some = numbers[first : first + self.batch_size]
            items = [self._draw(number) for number in some]
            ahead.append((some, items))
            # All first clips lie before all second ones, so that each half is one dense tensor.
            self._engine.submit([item.clips[k] for k in range(self._clips_per_item) for item in items])
            if len(ahead) > self._engine.ahead:
                yield self._deliver(*ahead.popleft())
        while len(ahead) > 1:
            yield self._deliver(*ahead.popleft())
        last = [self._deliver(*ahead.popleft())] if ahead else []
        # The epoch is over when its last batch is handed out: who knows its length never asks for one more.
        self.epoch, self._position = self.epoch + 1, 0
        yield from last

    @abstractmethod
    def _item(self, epoch: int, number: int, attempt: int) -> Any:
        """Item `number` of an epoch; `attempt` 1, 2, … are others to put in its place. It has `clips`."""

    @abstractmethod
    def _batch(self, items: list, clips: torch.Tensor) -> Any:
        """A batch from its items and their clips, (clips_per_item * B, …) in memory order."""

    def _draw(self, number: int, first: int = 0) -> Any:
        """The item of this number, from attempt `first` on, that has no frame in quarantine."""
        for attempt in range(first, MOST_ATTEMPTS):
            item = self._item(self.epoch, number, attempt)
            if not (len(self._quarantine) and any(map(self._quarantine.holds, item.clips))):
                self._replaced += attempt > 0
                return item
        raise EruvError(f"{MOST_ATTEMPTS} clips in a row cannot be decoded; run prepare again to find damaged videos")

    def _deliver(self, numbers: range, items: list) -> Any:
        while True:
            try:
                clips = self._engine.collect()
                break
            except UnreadableClips as error:
                self._replace(error, numbers, items)
        self._delivered += len(clips)
        self._position = min(self._position + self.batch_size * self.num_shards, self.items)
        return self._batch(items, clips)

    def _replace(self, error: UnreadableClips, numbers: range, items: list) -> None:
        """Quarantine the frames that cannot be had, and put other items in the place of those that show them."""
        count, places = len(items), set()
        for position, unreadable in error.clips.items():
            place = position % count
            places.add(place)
            self._quarantine.add(items[place].clips[position // count].video, unreadable.frames)
            log.warning("%s; another clip takes its place", unreadable.reason)
        for place in places:
            items[place] = self._draw(numbers[place], first=1)
            for k in range(self._clips_per_item):
                self._engine.replace(place + k * count, items[place].clips[k])

    def _info(self, clip: ClipRequest) -> ClipInfo:
        return ClipInfo(self.videos.videos[clip.video].video, clip.shot, clip.segment, tuple(clip.frames.tolist()),
                        clip.rotation, clip.crop, clip.speed)

    def close(self) -> None:
        """Stop the threads, let go of memory and files."""
        self._engine.close()
        if self._owned:
            self.videos.close()

    def __enter__(self) -> "EpochLoader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
