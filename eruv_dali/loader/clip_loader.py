"""ClipLoader: batches of labelled clips from any list of clips, for any training or evaluation code."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from eruv_dali.checks import height_and_width, switch, three_numbers, whole_number
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.fetched import holds_dataset
from eruv_dali.dataset.indexed import IndexedVideos
from eruv_dali.dataset.video_set import VideoSet
from eruv_dali.device import gpu_number, resolve_device
from eruv_dali.errors import EruvError
from eruv_dali.loader.epochs import MOST_ATTEMPTS, ClipInfo, EpochLoader, thread_count
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.loader.prefetch import dtype_name
from eruv_dali.loader.requests import ClipRequest
from eruv_dali.streams import stream
from eruv_dali.video.find import Video, find_videos
from eruv_dali.video.frames import FRAME_SIZE
from eruv_dali.video.place import is_file, locate, look_again

log = logging.getLogger(__name__)

# Layout of a batch's clips: (B, 3, T, H, W) with channels last in memory, or (B, T, 3, H, W), dense.
LAYOUTS = {"CTHW": "THWC", "TCHW": "TCHW"}

ANYWHERE = -1  # start of a clip whose position is drawn again in every epoch

CLIP = np.dtype([("video", "<i4"), ("shot", "<i4"), ("segment", "<i4"), ("start", "<i8"), ("label", "<i8")])


class ClipBatch(NamedTuple):
    """A batch of B clips.

    Attributes:
        clips: (B, 3, T, H, W), channels_last_3d, or (B, T, 3, H, W); values (x / 255 - mean) / std.
        label: (B,) int64, on the CPU unless `labels_on_device`.
        info: list of B ClipInfo.
    """

    clips: torch.Tensor
    label: torch.Tensor
    info: list[ClipInfo]


@dataclass(frozen=True)
class LabelledClip:
    """An item of the epoch."""

    clips: tuple[ClipRequest]
    label: int


class ClipLoader(EpochLoader):
    """Loads batches of labelled clips from video files or a prepared DATASET, decoding ahead in other threads.

        with ClipLoader("my_videos/", batch_size=8, shuffle=True) as loader:
            for batch in loader:
                loss = F.cross_entropy(net(batch.clips), batch.label)

    Each `iter()` is one epoch; the next `iter()` is the next epoch, even if the previous one was not finished, unless
    `set_epoch` or `load_state_dict` chooses another. The same arguments give the same batches, whatever the number of
    threads. A clip that cannot be decoded is replaced by another with the same label; `info` describes the delivered
    clip.

    Args:
        source: what to load.
            A folder of videos, a video file, or a list of those: each video is cut into clips, end to end.
            A prepared DATASET: each segment is cut into clips, so that no clip crosses a shot boundary; they are read
            from its pack if it has one. It may lie in a store, by URL.
            A list of (path, start_frame, label): those clips. With `dataset`, path is the name of a video in it.
            Where start_frame is None, the clip's position in its video is drawn again in every epoch.
            From a folder or DATASET the label is the position of the video's topmost folder in `loader.classes`.
            Files that have not been prepared are indexed here, in a few milliseconds each; if there are thousands,
            prepare them once.
        batch_size: clips in a batch; the last batch of an epoch may be smaller.
        drop_last: leave out the samples that do not fill a batch of every shard.
        clip_length: frames in a clip.
        stride: source frames from one frame to the next.
        crop: side of the square crop, pixels.
        random_crop: draw the crop's position for each clip again in every epoch, instead of taking the centre.
        hold_last: a clip of a list that runs past the end of its video repeats the last frame, instead of raising an
            error.
        skip_unreadable: leave out files that cannot be read, and clips for which their file turns out too short, with a
            warning each, instead of raising an error; `stats()["skipped"]` counts the files.
        as_dict: deliver {"pixel_values": clips, "labels": label}, as Hugging Face models expect, without `info`.
        shuffle: a different order in every epoch, instead of the given order.
        layout: "CTHW" gives clips (B, 3, T, H, W), channels_last_3d; "TCHW" gives (B, T, 3, H, W).
        dtype: float32, float16 or bfloat16, as a name or a torch.dtype.
        mean, std: per channel, on the scale of 0 to 1. By default values stay between 0 and 1.
        device: where clips are decoded and delivered: "auto", "gpu", "cpu", "cuda:1" or a torch.device.
        labels_on_device: deliver `label` on the device of the clips, instead of on the CPU.
        dataset: a DATASET that holds the videos of a list, or files already indexed.
        frame_size: height and width to which frames are resized before the crop; a DATASET has its own.
        seed: different seeds give different orders and crops.
        shard_id, num_shards: this process's part of every epoch; by default its rank among the processes of
            torch.distributed or torchrun. All have the same number of batches; if there are too few clips for that,
            the first clips of the epoch are repeated. For an evaluation that each process runs in full, pass
            num_shards=1.
        threads: for decoding; by default one per core.

    Raises:
        EruvError: a bad argument, a missing or unusable file, a clip that runs past the end of its video, a DATASET
            whose videos or pack have changed since prepare.
    """

    def __init__(
        self, source: str | Path | Dataset | Iterable[str | Path | tuple[str | Path, int | None, int]], *,
        batch_size: int = 8, clip_length: int = 16, stride: int = 1, crop: int = 112, random_crop: bool = False,
        hold_last: bool = False, shuffle: bool = False, layout: str = "CTHW", dtype: str | torch.dtype = "float32",
        mean: Sequence[float] = (0.0, 0.0, 0.0), std: Sequence[float] = (1.0, 1.0, 1.0),
        device: str | torch.device = "auto", dataset: str | Path | VideoSet | None = None,
        frame_size: tuple[int, int] = FRAME_SIZE, skip_unreadable: bool = False, as_dict: bool = False,
        drop_last: bool = False, labels_on_device: bool = False, seed: int = 0, shard_id: int | None = None,
        num_shards: int | None = None, threads: int | None = None,
    ) -> None:
        clip_length = whole_number("clip_length", clip_length, least=1)
        stride = whole_number("stride", stride, least=1)
        for name, value in (("random_crop", random_crop), ("hold_last", hold_last), ("shuffle", shuffle),
                            ("skip_unreadable", skip_unreadable), ("as_dict", as_dict)):
            switch(name, value)
        if layout not in LAYOUTS:
            raise EruvError(f"layout {layout!r} is not one of {', '.join(LAYOUTS)}")
        place = resolve_device(device)
        span = (clip_length - 1) * stride + 1
        if not isinstance(source, (str, Path, Dataset)):
            if not isinstance(source, Iterable):
                raise EruvError(f"source {source!r} must be a folder, a video file, a DATASET, or a list of clips")
            source = list(source)
        clips: list[Any] | None = None  # of a list of clips
        if isinstance(source, list) and not (source and all(isinstance(item, (str, Path)) for item in source)):
            clips = source
        if dataset is not None and clips is None:
            raise EruvError("dataset is for a list of clips; to load a whole DATASET, pass it as the source")
        if hold_last and clips is None:
            raise EruvError("hold_last is for a list of clips; whole videos are cut into clips that fit")
        reading = Reading(height_and_width("frame_size", frame_size), skip_unreadable,
                          thread_count(threads))
        self.classes: tuple[str, ...] = ()
        if clips is not None:
            videos, self._clips = _listed(clips, dataset, 1 if hold_last else span, reading)
        else:
            videos, self._clips, self.classes = _whole(source, span, reading)
        frame_size = (videos.frame_height, videos.frame_width)
        clip = ClipFormat(clip_length, crop, frame_size, dtype_name(dtype), three_numbers("mean", mean),
                          three_numbers("std", std), LAYOUTS[layout], place,
                          gpu_number(device) if place == "gpu" else None)
        if isinstance(videos, Dataset):
            videos.check()
        self.stride, self.crop, self.random_crop, self.shuffle = stride, crop, random_crop, shuffle
        self._span = span
        self._room = (frame_size[0] - crop + 1, frame_size[1] - crop + 1)
        self._order: tuple[int, np.ndarray] | None = None
        self._as_dict = as_dict
        super().__init__(videos, clip, items=len(self._clips), clips_per_item=1, batch_size=batch_size,
                         drop_last=drop_last, labels_on_device=labels_on_device, seed=seed, shard_id=shard_id,
                         num_shards=num_shards, threads=threads, owned=videos is not source and videos is not dataset)

    def _item(self, epoch: int, number: int, attempt: int) -> LabelledClip:
        random = stream(self.seed, epoch, number, attempt)
        clip = self._clips[self._place(epoch, number)]
        if attempt:
            same = np.flatnonzero(self._clips["label"] == clip["label"])
            # Where a label has too few sound clips, take any clip: one clip must not end the epoch.
            clip = self._clips[random.choice(same if attempt < MOST_ATTEMPTS // 2 else len(self._clips))]
        last, start = self.videos.videos[clip["video"]].frames - 1, clip["start"]
        if start == ANYWHERE:
            start = random.integers(max(1, last - self._span + 2))
        frames = np.minimum(start + self.stride * np.arange(self.clip_length), last)
        top, left = (int(random.integers(room)) if self.random_crop else (room - 1) // 2 for room in self._room)
        request = ClipRequest(int(clip["video"]), int(clip["shot"]), int(clip["segment"]), frames, 0, (top, left),
                              self.stride)
        return LabelledClip((request,), int(clip["label"]))

    def _place(self, epoch: int, number: int) -> int:
        """Position of the clip with this number in the epoch; past the end of the epoch its first clips repeat."""
        number %= len(self._clips)
        if not self.shuffle:
            return number
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, stream(self.seed, epoch, purpose=1).permutation(len(self._clips)))
        return int(self._order[1][number])

    def _batch(self, items: list[LabelledClip], clips: torch.Tensor) -> ClipBatch | dict[str, torch.Tensor]:
        if clips.shape[-1] == 3:
            clips = clips.permute(0, 4, 1, 2, 3)
        label = self._labels([item.label for item in items], clips)
        if self._as_dict:
            return {"pixel_values": clips, "labels": label}
        return ClipBatch(clips, label, [self._info(item.clips[0]) for item in items])


@dataclass(frozen=True)
class Reading:
    """How files that have not been prepared are read."""

    frame_size: tuple[int, int]
    skip_unreadable: bool
    threads: int

    def index(self, videos: Sequence[Video]) -> IndexedVideos:
        return IndexedVideos(videos, self.frame_size, self.threads, skip_unreadable=self.skip_unreadable)


def _listed(
    clips: list, dataset: str | Path | VideoSet | None, must_hold: int, reading: Reading
) -> tuple[VideoSet, np.ndarray]:
    """Videos and (N,) CLIP of a list of (path, start_frame, label), each with `must_hold` frames from its start on."""
    clips = [_checked(number, clip) for number, clip in enumerate(clips)]
    if not clips:
        raise EruvError("the list of clips is empty")
    names = list(dict.fromkeys(name for name, _, _ in clips))
    if dataset is not None:
        videos: VideoSet = Dataset(dataset) if isinstance(dataset, str | Path) else dataset
        place = {video.name: number for number, video in enumerate(videos.videos)}
        if missing := [name for name in names if name not in place]:
            where = getattr(videos, "folder", "the indexed videos")
            raise EruvError(f"{where}: no video {missing[0]!r} in this DATASET ({len(missing)} of {len(names)} "
                            "are missing; names are those of videos.csv)")
    else:
        look_again(map(locate, names))
        missing = [name for name in names if not is_file(locate(name))]
        if missing and not reading.skip_unreadable:
            raise EruvError(f"{missing[0]}: no such file ({len(missing)} of {len(names)} videos are missing)")
        videos = reading.index([Video(name, locate(name)) for name in names])
        place = {video.name: number for number, video in enumerate(videos.videos)}
    rows = []
    for number, (name, start, label) in enumerate(clips):
        if reading.skip_unreadable and dataset is None and name not in place:
            continue
        video = place[name]
        frames = videos.videos[video].frames
        if start is not None and start < 0:
            raise EruvError(f"clip {number} of the list, {name} from frame {start}: frames are counted from 0")
        if (start or 0) > frames - must_hold:
            trouble = (f"clip {number} of the list, {name} from frame {start or 0}: its {must_hold} frames run past "
                       f"the video, which has frames 0 to {frames - 1}")
            if not reading.skip_unreadable:
                raise EruvError(trouble)
            log.warning("%s; it is left out", trouble)
            continue
        rows.append((video, -1, -1, ANYWHERE if start is None else start, label))
    if not rows:
        raise EruvError(f"none of the {len(clips)} clips of the list can be read")
    return videos, np.array(rows, CLIP)


def _checked(number: int, clip: Any) -> tuple[str, int | None, int]:
    """One entry of a list of clips: name, start (None: anywhere) and label."""
    if not isinstance(clip, Sequence) or isinstance(clip, str) or len(clip) != 3:
        raise EruvError(f"clip {number} of the list is {clip!r}; each must be (path, start_frame, label)")
    path, start, label = clip
    if not isinstance(path, (str, Path)):
        raise EruvError(f"clip {number} of the list: path {path!r} must be a path")
    what = f"clip {number} of the list, {path}"
    if start is not None:
        start = whole_number(f"{what}: start_frame", start, least=-(2**63), most=2**63 - 1)
    return str(path), start, whole_number(f"{what}: label", label, least=-(2**63), most=2**63 - 1)


def _whole(
    source: str | Path | Dataset | list[Any], span: int, reading: Reading
) -> tuple[VideoSet, np.ndarray, tuple[str, ...]]:
    """Videos, (N,) CLIP, end to end, and the classes, from videos or a DATASET."""
    paths = [] if isinstance(source, Dataset) else [source] if isinstance(source, (str, Path)) else source
    videos: VideoSet
    prepared = [path for path in paths if holds_dataset(locate(path))]
    if prepared and len(paths) > 1:
        raise EruvError(f"{prepared[0]}: is a DATASET, and one of {len(paths)} sources; give it alone, or prepare all "
                        "the videos into one")
    if isinstance(source, Dataset) or prepared:
        videos = source if isinstance(source, Dataset) else Dataset(paths[0])
        pieces = videos.segments
    else:
        videos = reading.index(find_videos(paths))
        pieces = np.zeros(len(videos.videos), [*CLIP.descr[:3], ("start", "<i8"), ("end", "<i8")])
        pieces["video"] = np.arange(len(pieces))
        pieces["shot"] = pieces["segment"] = -1
        pieces["end"] = [video.frames for video in videos.videos]
    folders = [video.name.partition("/")[0] if "/" in video.name else "" for video in videos.videos]
    classes = tuple(sorted(set(folders)))
    label_of = np.array([classes.index(folder) for folder in folders])
    count = np.maximum(pieces["end"] - pieces["start"], 0) // span
    table = np.repeat(pieces, count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    clips = np.zeros(len(table), CLIP)
    for name in ("video", "shot", "segment"):
        clips[name] = table[name]
    clips["start"], clips["label"] = table["start"] + span * within, label_of[table["video"]]
    if len(clips) == 0:
        raise EruvError(f"{source}: no video here has the {span} frames of a clip")
    return videos, clips, classes
