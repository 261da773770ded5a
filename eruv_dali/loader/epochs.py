"""What both loaders have in common: epochs, passes over them, shards, resuming, replacing undecodable clips."""

import logging
import os
import sys
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import torch

from eruv_dali.checks import switch, whole_number
from eruv_dali.dataset.video_set import VideoSet
from eruv_dali.device import cores
from eruv_dali.errors import EruvError
from eruv_dali.loader.bad_clips import Quarantine, UnreadableClips
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.loader.prefetch import ClipEngine
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.loader.shards import check_shard, numbers_of, rounds, running_shard

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 100  # at replacing one item, before giving up on the videos
DRAWN_AHEAD = 2  # batches whose items are drawn: that which is submitted next, and one more
MOST_THREADS = 1024  # a machine refuses to start some ten thousands, and what it did start is in the way


class ClipInfo(NamedTuple):
    """Where a clip came from.

    Attributes:
        video: name in the dataset, or path of the file.
        shot: number within the video; `segment`: number in segments.csv; -1 if there is none.
        frames: T source frames in the order shown.
        rotation: degrees counter-clockwise, applied to the crop.
        crop: (top, left) in the resized frame, pixels.
        speed: source frames from one frame to the next, in temporal order.
        flip, tiles, color: see ClipRequest.
    """

    video: str
    shot: int
    segment: int
    frames: tuple[int, ...]
    rotation: int
    crop: tuple[int, int]
    speed: int
    flip: bool = False
    tiles: tuple[int, int, int, int] | None = None
    color: tuple[float, ...] | None = None


Loader = TypeVar("Loader", bound="EpochLoader")


def thread_count(threads: int | None) -> int:
    """How many threads decode: as many as asked for, or one per core.

    Raises:
        EruvError: no whole number, or one out of range.
    """
    return cores() if threads is None else whole_number("threads", threads, least=1, most=MOST_THREADS)


class EpochLoader(ABC):
    """Base class of the loaders. Each `iter()` starts a new pass over one epoch; the next `iter()` goes to the next
    epoch, even if the previous pass was not finished, unless `set_epoch` or `load_state_dict` chooses another. One pass
    is live at a time: an older one raises an error. May be used from several threads. A subclass defines what an item
    is: `_item` draws one, with its clips, as a pure function of epoch and number, and `_batch` makes a batch of items.
    Items are drawn on a thread of their own, one after another, so that the thread that trains does not have to.

    Args:
        videos: where clips come from.
        clip: what they look like.
        items: in an epoch, over all shards; `clips_per_item` each.
        batch_size: items in a batch; the last batch of an epoch may be smaller.
        drop_last: leave out the items that do not fill a batch of every shard.
        labels_on_device: deliver labels on the device of the clips, instead of on the CPU.
        seed: of all random draws.
        shard_id, num_shards: this process's part of every epoch; by default its rank among those of torch.distributed
            or torchrun. Every shard has the same number of batches.
        threads: for decoding; by default one per core.
        owned: the loader opened `videos` itself, and closes them.
    """

    def __init__(
        self, videos: VideoSet, clip: ClipFormat, *, items: int, clips_per_item: int, batch_size: int,
        drop_last: bool, labels_on_device: bool, seed: int, shard_id: int | None, num_shards: int | None,
        threads: int | None, owned: bool,
    ) -> None:
        self.videos, self.items = videos, items
        self.batch_size = whole_number("batch_size", batch_size, least=1)
        self.drop_last = switch("drop_last", drop_last)
        self.seed = whole_number("seed", seed, least=0, most=2**64 - 1)
        self._shard = check_shard(shard_id, num_shards)
        self._shard_said = self._shard is not None
        self.threads = thread_count(threads)
        self.device, self.clip_length = clip.device, clip.clip_length
        self._clips_per_item = clips_per_item
        self._labels_on_device = switch("labels_on_device", labels_on_device)
        self._engine = ClipEngine(videos, clip, max_clips=clips_per_item * self.batch_size, threads=self.threads)
        self._drawer = ThreadPoolExecutor(1, "items")
        self._process = os.getpid()
        self._end = weakref.finalize(self, _close, self._drawer, self._engine, videos if owned else None,
                                     self._process)
        self._lock = threading.Lock()  # guards the engine and the number of the live pass
        self._passes = 0  # started so far; the last one is live
        self._quarantine = Quarantine()
        self._replaced, self._last_reason = 0, ""
        self._epoch, self._position = 0, 0  # where the last delivered batch ended, in items of all shards together
        self._asked: tuple[int, int] | None = (0, 0)  # epoch and position of the next pass, if one was chosen
        self._started = self._delivered_at = time.perf_counter()  # of the pass, of its last batch
        self._delivered, self._waited_before = 0, 0.0

    @property
    def shard_id(self) -> int:
        """This process's number among those that share the epoch."""
        return (self._shard or running_shard())[0]

    @property
    def num_shards(self) -> int:
        """Processes that share the epoch."""
        return (self._shard or running_shard())[1]

    @property
    def sampler(self) -> "EpochLoader":
        """The loader itself: PyTorch Lightning calls `set_epoch` on a loader's sampler at the start of each epoch."""
        return self

    batch_sampler = sampler  # if a loader has a sampler, Lightning reads its batch_sampler too

    @property
    def epoch(self) -> int:
        """The epoch that the live pass is in, or the next one will be."""
        return self.state_dict()["epoch"]

    def __len__(self) -> int:
        """Batches in an epoch, the same number for every shard."""
        return rounds(self.items, self.batch_size, self.num_shards, self.drop_last)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass, which starts at its beginning. If a state of that same epoch was just
        loaded, the position in it is kept."""
        epoch = whole_number("epoch", epoch, least=0)
        if self._asked is None or self._asked[0] != epoch:
            self._asked = (epoch, 0)

    def state_dict(self) -> dict[str, int]:
        """Where the epoch stands. Shards advance together, so the state of any serves any number of shards."""
        epoch, position = self._asked or (self._epoch, self._position)
        return {"epoch": epoch, "position": position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from `state`: the next pass delivers what was left of that epoch.

        Raises:
            EruvError: `state` is not a loader's, or its loader had longer epochs.
        """
        try:
            epoch, position = state["epoch"], state["position"]
        except (KeyError, TypeError):
            raise EruvError(f"state {state!r} is not a loader's state, {{'epoch': …, 'position': …}}") from None
        self._asked = (whole_number("epoch of the state", epoch, least=0),
                       whole_number("position of the state", position, least=0, most=self.items))

    def stats(self) -> dict[str, float]:
        """Figures of the current or last pass, and of the loader since it was created.

        Of the pass, up to the last batch that it delivered: `clips`, `clips_per_second`, and `wait_seconds` (spent
        waiting for clips). `queued`: batches in
        flight. Since creation: `bytes_read` from pack or files; `quarantined` frames that cannot be decoded; `replaced`
        clips or pairs; `skipped` files that could not be read; `read_seconds`, `demux_seconds`, `decode_seconds` of the
        threads that read original files.
        """
        return {
            "clips": self._delivered,
            "clips_per_second": self._delivered / max(self._delivered_at - self._started, 1e-9),
            "wait_seconds": self._engine.waited - self._waited_before,
            "queued": self._engine.queued,
            "bytes_read": self._engine.source.bytes,
            "quarantined": len(self._quarantine),
            "replaced": self._replaced,
            "skipped": len(getattr(self.videos, "skipped", ())),
            **{f"{stage}_seconds": spent for stage, spent in self._engine.source.seconds.items()},
        }

    def __iter__(self) -> "Pass":
        """A new pass; it ends the pass before it, and starts when its first batch is requested."""
        self._check_usable()
        with self._lock:
            self._engine.drop()
            self._passes += 1
            return Pass(self, self._passes)

    def close(self) -> None:
        """Stop the threads, release memory and files. A loader that is garbage-collected closes itself."""
        if os.getpid() != self._process:
            return  # threads, memory and files are the parent's
        with self._lock:
            self._passes += 1
            self._end()

    def __enter__(self: Loader) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        name = type(self).__name__
        raise EruvError(f"a {name} holds threads and open files and cannot be pickled or copied; make it in the "
                        "process that uses it (in a DataLoader's worker: in the __iter__ of your dataset)")

    def _check_usable(self) -> None:
        name = type(self).__name__
        if os.getpid() != self._process:
            raise EruvError(f"this {name} was made in process {self._process} and carried over a fork to process "
                            f"{os.getpid()}, where its threads do not exist; make a {name} in each process")
        if not self._end.alive:
            raise EruvError(f"this {name} is closed; make another")

    def _begin(self) -> tuple[int, int]:
        """Epoch and position at which a pass starts."""
        self._started = self._delivered_at = time.perf_counter()
        self._delivered, self._waited_before = 0, self._engine.waited
        if not self._shard_said and self.num_shards > 1:
            self._shard_said = True
            log.info("%s: process %d of %d takes its share of each epoch", type(self).__name__, self.shard_id,
                     self.num_shards)
        if not len(self):
            raise EruvError(f"with drop_last, batches of {self.batch_size} for each of {self.num_shards} processes can "
                            f"never be filled: an epoch has {self.items} items")
        return self._asked or (self._epoch + (self._position > 0), 0)

    def _delivered_up_to(self, epoch: int, position: int, asked: tuple[int, int] | None) -> None:
        """Record how far a pass has delivered; `asked` is the position chosen for it when it started."""
        if self._asked is asked:  # no other position has been chosen meanwhile
            self._asked = None
        self._epoch, self._position = epoch, position

    @abstractmethod
    def _item(self, epoch: int, number: int, attempt: int) -> Any:
        """Item `number` of an epoch; it has `clips`. `number` may run past the end of the epoch; `attempt` 1, 2, … are
        replacements for the item."""

    @abstractmethod
    def _batch(self, items: list, clips: torch.Tensor) -> Any:
        """A batch from its items and their clips, (clips_per_item * B, …) in memory order."""

    def _labels(self, labels: list[int], clips: torch.Tensor) -> torch.Tensor:
        """(B,) int64, on the CPU or on the device of the clips."""
        return torch.tensor(labels, device=clips.device if self._labels_on_device else None)

    def _draw(self, epoch: int, number: int, first: int = 0) -> Any:
        """The first item of this number, from attempt `first` on, that has no frame in quarantine."""
        for attempt in range(first, MOST_ATTEMPTS):
            item = self._item(epoch, number, attempt)
            if not any(map(self._quarantine.holds, item.clips)):
                self._replaced += attempt > 0
                return item
        raise EruvError(f"{MOST_ATTEMPTS} clips in a row cannot be decoded (the last one: {self._last_reason}); run "
                        "prepare again to find damaged videos")

    def _draw_all(self, epoch: int, numbers: range) -> list:
        return [self._draw(epoch, number) for number in numbers]

    def _submit(self, items: list) -> None:
        # All first clips come before all second ones, so that each half is one dense tensor.
        self._engine.submit([item.clips[k] for k in range(self._clips_per_item) for item in items])

    def _collect(self, epoch: int, numbers: range, items: list) -> Any:
        """The batch of the oldest items submitted; `items` is changed where one had to be replaced."""
        while True:
            try:
                clips = self._engine.collect()
                break
            except UnreadableClips as error:
                self._replace(error, epoch, numbers, items)
        self._delivered += len(clips)
        self._delivered_at = time.perf_counter()
        return self._batch(items, clips)

    def _replace(self, error: UnreadableClips, epoch: int, numbers: range, items: list) -> None:
        """Quarantine the frames that cannot be read, and replace the items that contain them."""
        count, places = len(items), set()
        for position, unreadable in error.clips.items():
            place = position % count
            places.add(place)
            self._quarantine.add(items[place].clips[position // count].video, unreadable.frames)
            log.warning("%s; another clip takes its place", unreadable.reason)
            self._last_reason = unreadable.reason
        for place in places:
            items[place] = self._drawer.submit(self._draw, epoch, numbers[place], first=1).result()
            for k in range(self._clips_per_item):
                self._engine.replace(place + k * count, items[place].clips[k])

    def _info(self, clip: ClipRequest) -> ClipInfo:
        return ClipInfo(self.videos.videos[clip.video].name, clip.shot, clip.segment, tuple(clip.frames.tolist()),
                        clip.rotation, clip.crop, clip.speed, clip.flip, clip.tiles, clip.color)


class Pass(Iterator):
    """One pass over a loader: an epoch, or what was left of it. Made by `iter(loader)`.

    Raises, from `next`:
        EruvError: another pass over the loader has started, the loader is closed or belongs to another process, an
            exception interrupted this pass, or too many clips in a row cannot be decoded.
    """

    def __init__(self, loader: EpochLoader, number: int) -> None:
        self._loader, self._number = loader, number
        self._todo: range | None = None  # numbers of the items not yet being drawn; None before the first batch
        self._drawn: deque[tuple[range, Future[list]]] = deque()  # drawn or being drawn, not yet submitted
        self._ahead: deque[tuple[range, list]] = deque()  # submitted, not yet delivered
        self._epoch = self._position = self._together = 0
        self._asked: tuple[int, int] | None = None
        self._over = False
        self._broken_by = ""

    def __iter__(self) -> "Pass":
        return self

    def __next__(self) -> Any:
        loader = self._loader
        if self._over:
            raise StopIteration
        loader._check_usable()
        with loader._lock:
            if self._number != loader._passes:
                raise EruvError(f"another pass over this {type(loader).__name__} has begun and ended this one; make a "
                                "second loader for a loop inside a loop, or for validation between training steps")
            if self._broken_by:
                raise EruvError(f"this pass was interrupted by {self._broken_by}; start another (after "
                                "load_state_dict(state_dict()) it continues where this one stopped)")
            try:
                return self._next()
            except StopIteration:
                raise
            except BaseException as error:
                self._broken_by = type(error).__name__
                loader._engine.drop()
                raise

    def _next(self) -> Any:
        loader = self._loader
        if self._todo is None:
            self._begin()
        while len(self._ahead) <= loader._engine.ahead:
            self._draw_ahead()
            if not self._drawn:
                break
            numbers, drawn = self._drawn.popleft()
            items = drawn.result()
            loader._submit(items)
            self._ahead.append((numbers, items))
        if not self._ahead:  # nothing was left of the epoch
            self._over = True
            loader._delivered_up_to(self._epoch + 1, 0, self._asked)
            raise StopIteration
        batch = loader._collect(self._epoch, *self._ahead[0])
        self._ahead.popleft()
        self._position = min(self._position + self._together, loader.items)
        if self._ahead or self._drawn:
            loader._delivered_up_to(self._epoch, self._position, self._asked)
        else:  # the epoch ends with its last batch: callers that know its length never request one more
            self._over = True
            loader._delivered_up_to(self._epoch + 1, 0, self._asked)
        return batch

    def _begin(self) -> None:
        loader = self._loader
        self._asked = loader._asked
        self._epoch, self._position = loader._begin()
        self._together = loader.batch_size * loader.num_shards
        self._todo = numbers_of(self._position, loader.items, loader.batch_size, loader.shard_id, loader.num_shards,
                                loader.drop_last)

    def _draw_ahead(self) -> None:
        """Have the items of the next batches drawn."""
        loader = self._loader
        while self._todo and len(self._drawn) < DRAWN_AHEAD:
            numbers, self._todo = self._todo[: loader.batch_size], self._todo[loader.batch_size :]
            self._drawn.append((numbers, loader._drawer.submit(loader._draw_all, self._epoch, numbers)))

    def close(self) -> None:
        """End the pass and drop its queued batches. Called automatically when the pass is garbage-collected."""
        loader, self._over = self._loader, True
        if os.getpid() != loader._process:
            return
        for _, drawn in self._drawn:
            drawn.cancel()
        # If the loader is at work (as when the garbage collector calls this), leave its queue to the next pass.
        if loader._lock.acquire(blocking=False):
            try:
                if self._number == loader._passes and loader._end.alive:
                    loader._engine.drop()
            finally:
                loader._lock.release()

    def __del__(self) -> None:
        if not self._over and not sys.is_finalizing():
            self.close()


def _close(drawer: ThreadPoolExecutor, engine: ClipEngine, videos: VideoSet | None, process: int) -> None:
    """Close what a loader held, in the process that made it."""
    if os.getpid() != process:
        return
    drawer.shutdown(wait=False, cancel_futures=True)  # this may be its own thread, if the last reference was there
    engine.close()
    if videos is not None:
        videos.close()
