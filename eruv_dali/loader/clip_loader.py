"""ClipLoader: batches of labelled clips from any list of clips, for any training or evaluation code."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from eruv_dali.dataset import Dataset
from eruv_dali.device import resolve_device
from eruv_dali.errors import EruvError
from eruv_dali.indexing import IndexedVideos
from eruv_dali.loader.engine import default_threads, dtype_name
from eruv_dali.loader.epochs import MOST_ATTEMPTS, ClipInfo, EpochLoader
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.relations import ClipRequest
from eruv_dali.videos import Video, find_videos

# Of a batch's clips: (B, 3, T, H, W) with channels last in memory, or (B, T, 3, H, W), dense.
LAYOUTS = {"CTHW": "THWC", "TCHW": "TCHW"}

ANYWHERE = -1  # start of a clip that lies at another place in every epoch

CLIP = np.dtype([("video", "<i4"), ("shot", "<i4"), ("segment", "<i4"), ("start", "<i8"), ("label", "<i8")])


class ClipBatch(NamedTuple):
    """A batch of B clips.

    Attributes:
        clips: (B, 3, T, H, W), channels_last_3d, or (B, T, 3, H, W); values (x / 255 - mean) / std.
        label: (B,) int64, on the CPU.
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
    """Loads batches of labelled clips from video files or a prepared DATASET, decoding ahead on other threads.

        with ClipLoader("my_videos/", batch_size=8, shuffle=True) as loader:
            for batch in loader:
                loss = F.cross_entropy(net(batch.clips), batch.label)

    One pass is one epoch. The same arguments give the same batches, whatever the number of threads. A clip that cannot
    be decoded is replaced by another of its label; `info` says which clip it is that was delivered.

    Args:
        source: what to load.
            A folder of videos, a video file, or a list of such: each video is cut into clips, end to end.
            A prepared DATASET: its segments are, so that no clip reaches over a cut; from its pack if it has one.
            A list of (path, start_frame, label): those clips. With `dataset`, path is the name of a video in there.
            Where start_frame is None, the clip lies at another place of its video in every epoch.
            From a folder or DATASET the label is the place of the video's topmost folder in `loader.classes`.
            Files that nobody prepared are indexed here, in some milliseconds each; for thousands, prepare them once.
        batch_size: clips in a batch; the last batch of an epoch may be smaller.
        clip_length: frames in a clip.
        stride: source frames from one frame to the next.
        crop: side of the square crop, pixels.
        random_crop: draw its place for each clip anew in every epoch, instead of the centre.
        hold_last: a clip of a list that runs past the end of its video shows the last frame again, instead of being
            refused.
        shuffle: another order in every epoch, instead of the order given.
        layout: "CTHW" gives clips (B, 3, T, H, W), channels_last_3d; "TCHW" gives (B, T, 3, H, W).
        dtype: float32, float16 or bfloat16, as a name or a torch.dtype.
        mean, std: per channel, on the scale of 0 to 1. By default values stay between 0 and 1.
        device: "auto", "gpu" or "cpu": where clips are decoded and delivered.
        dataset: a DATASET that holds the videos of a list, or files already indexed.
        frame_size: height and width to which frames are scaled before the crop; a DATASET has its own.
        seed: other seeds give other orders and crops.
        shard_id, num_shards: this process's part of every epoch, for several processes.
        threads: for decoding; by default one a core.

    Raises:
        EruvError: a bad argument, a missing or unusable file, a clip that runs past the end of its video, a DATASET
            whose videos or pack are not what prepare left.
    """

    def __init__(
        self, source: str | Path | Dataset | Sequence[str | Path | tuple[str | Path, int | None, int]], *,
        batch_size: int = 8, clip_length: int = 16, stride: int = 1, crop: int = 112, random_crop: bool = False,
        hold_last: bool = False, shuffle: bool = False, layout: str = "CTHW", dtype: str | torch.dtype = "float32",
        mean: Sequence[float] = (0.0, 0.0, 0.0), std: Sequence[float] = (1.0, 1.0, 1.0), device: str = "auto",
        dataset: str | Path | Dataset | IndexedVideos | None = None, frame_size: tuple[int, int] = (128, 171),
        seed: int = 0, shard_id: int = 0, num_shards: int = 1, threads: int | None = None,
    ) -> None:
        for name, value in (("clip_length", clip_length), ("stride", stride), ("crop", crop)):
            if value < 1:
                raise EruvError(f"{name} {value} must be at least 1")
        if layout not in LAYOUTS:
            raise EruvError(f"layout {layout!r} is not one of {', '.join(LAYOUTS)}")
        span = (clip_length - 1) * stride + 1
        one = isinstance(source, (str, Path, Dataset))
        listed = not one and not (len(source) and all(isinstance(item, (str, Path)) for item in source))
        if dataset is not None and not listed:
            raise EruvError("dataset is for a list of clips; a DATASET to load whole is given as the source")
        if hold_last and not listed:
            raise EruvError("hold_last is for a list of clips; whole videos are cut into clips that fit")
        if listed:
            must_hold = 1 if hold_last else span
            videos, self._clips = _listed(source, dataset, must_hold, frame_size, threads or default_threads())
            self.classes = ()
        else:
            videos, self._clips, self.classes = _whole(source, span, frame_size, threads or default_threads())
        frame_size = (videos.frame_height, videos.frame_width)
        if crop > min(frame_size):
            raise EruvError(f"crop {crop} does not fit into frames of {frame_size[0]}x{frame_size[1]}")
        if isinstance(videos, Dataset):
            videos.check()
        self.stride, self.crop, self.random_crop, self.shuffle, self.seed = stride, crop, random_crop, shuffle, seed
        self._span = span
        self._room = (frame_size[0] - crop + 1, frame_size[1] - crop + 1)
        self._order: tuple[int, np.ndarray] | None = None
        clip = ClipFormat(clip_length, crop, frame_size, dtype_name(dtype), tuple(mean), tuple(std), LAYOUTS[layout],
                          resolve_device(device))
        super().__init__(videos, clip, items=len(self._clips), clips_per_item=1, batch_size=batch_size,
                         shard_id=shard_id, num_shards=num_shards, threads=threads,
                         owned=videos is not source and videos is not dataset)

    def _item(self, epoch: int, number: int, attempt: int) -> LabelledClip:
        random = np.random.Generator(np.random.Philox(key=[self.seed, epoch], counter=[0, number, attempt, 0]))
        clip = self._clips[self._place(epoch, number)]
        if attempt:
            same = np.flatnonzero(self._clips["label"] == clip["label"])
            # Where a label has too few sound clips, any will do: an epoch is not given up for one clip.
            clip = self._clips[random.choice(same if attempt < MOST_ATTEMPTS // 2 else len(self._clips))]
        last, start = self.videos.videos[clip["video"]].frames - 1, clip["start"]
        if start == ANYWHERE:
            start = random.integers(max(1, last - self._span + 2))
        frames = np.minimum(start + self.stride * np.arange(self.clip_length), last)
        crop = tuple(int(random.integers(room)) if self.random_crop else (room - 1) // 2 for room in self._room)
        request = ClipRequest(int(clip["video"]), int(clip["shot"]), int(clip["segment"]), frames, 0, crop, self.stride)
        return LabelledClip((request,), int(clip["label"]))

    def _place(self, epoch: int, number: int) -> int:
        """Which clip comes at this number."""
        if not self.shuffle:
            return number
        if self._order is None or self._order[0] != epoch:
            random = np.random.Generator(np.random.Philox(key=[self.seed, epoch], counter=[0, 0, 0, 1]))
            self._order = (epoch, random.permutation(len(self._clips)))
        return int(self._order[1][number])

    def _batch(self, items: list[LabelledClip], clips: torch.Tensor) -> ClipBatch:
        if clips.shape[-1] == 3:
            clips = clips.permute(0, 4, 1, 2, 3)
        return ClipBatch(clips, torch.tensor([item.label for item in items]),
                         [self._info(item.clips[0]) for item in items])


def _listed(
    clips: Sequence[tuple], dataset: str | Path | Dataset | IndexedVideos | None, must_hold: int,
    frame_size: tuple[int, int], threads: int,
) -> tuple[Dataset | IndexedVideos, np.ndarray]:
    """Videos and (N,) CLIP of a list of (path, start_frame, label), each with `must_hold` frames from there on."""
    if len(clips) == 0:
        raise EruvError("the list of clips is empty")
    for number, clip in enumerate(clips):
        if len(clip) != 3:
            raise EruvError(f"clip {number} of the list is {clip!r}; each must be (path, start_frame, label)")
    names = list(dict.fromkeys(str(path) for path, _, _ in clips))
    if dataset is not None:
        videos = dataset if isinstance(dataset, (Dataset, IndexedVideos)) else Dataset(dataset)
        place = {video.video: number for number, video in enumerate(videos.videos)}
        if missing := [name for name in names if name not in place]:
            where = getattr(videos, "folder", "the indexed videos")
            raise EruvError(f"{where}: no video {missing[0]!r} in this DATASET ({len(missing)} of {len(names)} "
                            "are missing; names are those of videos.csv)")
    else:
        if missing := [name for name in names if not Path(name).is_file()]:
            raise EruvError(f"{missing[0]}: no such file ({len(missing)} of {len(names)} videos are missing)")
        videos = IndexedVideos([Video(name, Path(name)) for name in names], frame_size, threads)
        place = {name: number for number, name in enumerate(names)}
    table = np.zeros(len(clips), CLIP)
    table["shot"] = table["segment"] = -1
    for number, (path, start, label) in enumerate(clips):
        video = place[str(path)]
        frames = videos.videos[video].frames
        if not 0 <= (start or 0) <= frames - must_hold:
            raise EruvError(f"clip {number} of the list, {path} from frame {start or 0}: its {must_hold} frames run "
                            f"past the video, which has frames 0 to {frames - 1}")
        table[number] = (video, -1, -1, ANYWHERE if start is None else start, label)
    return videos, table


def _whole(
    source: str | Path | Dataset | Sequence[str | Path], span: int, frame_size: tuple[int, int], threads: int
) -> tuple[Dataset | IndexedVideos, np.ndarray, tuple[str, ...]]:
    """Videos, (N,) CLIP, end to end, and the classes, of videos or a DATASET."""
    paths = [source] if isinstance(source, (str, Path)) else source
    if isinstance(source, Dataset) or (Path(paths[0]) / "dataset.json").exists():
        videos = source if isinstance(source, Dataset) else Dataset(paths[0])
        pieces = videos.segments
    else:
        videos = IndexedVideos(find_videos(paths), frame_size, threads)
        pieces = np.zeros(len(videos.videos), [*CLIP.descr[:3], ("start", "<i8"), ("end", "<i8")])
        pieces["video"] = np.arange(len(pieces))
        pieces["shot"] = pieces["segment"] = -1
        pieces["end"] = [video.frames for video in videos.videos]
    folders = [video.video.partition("/")[0] if "/" in video.video else "" for video in videos.videos]
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
