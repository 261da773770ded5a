"""Clips spread evenly over each video, and a network's outputs for them: how evaluation samples a video."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from eruv_dali.console import progress
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.indexed import IndexedVideos
from eruv_dali.dataset.video_set import VideoSet
from eruv_dali.device import cores, resolve_device, torch_device
from eruv_dali.errors import EruvError
from eruv_dali.loader import ClipLoader
from eruv_dali.train.step import choose_precision
from eruv_dali.video.find import Video
from eruv_dali.video.frames import FRAME_SIZE


class EvenClips:
    """`clips` clips of each video: centre crops, starts spread evenly from its first frame to its last.

        with EvenClips(videos, device="cpu") as even:
            logits_VC = even.answers(net, average_clips=True)

    A video shorter than a clip repeats its last frame until the clip is full. No video is left out: one that cannot be
    decoded is an error. Can be used any number of times, with other networks or with the same one at a later epoch.

    Args:
        videos: paths.
        clips, clip_length, crop: clips per video, frames per clip, pixels.
        frame_size: height and width to which frames are resized first; a `dataset` has its own.
        batch_size: clips per batch; the last batch may be smaller.
        device: "auto", "gpu" or "cpu".
        mean, std: per channel, as in the network's training.
        dataset: a prepared DATASET that holds the videos: reading its pack is much faster than the files.
        threads: for decoding; by default one per core.

    Attributes:
        device: torch.device of the clips; `precision`: their dtype, that of `choose_precision("auto")`.

    Raises:
        EruvError: no videos, or a file that is missing or unusable.
    """

    def __init__(
        self, videos: Sequence[str | Path], *, clips: int = 10, clip_length: int = 16, crop: int = 112,
        frame_size: tuple[int, int] = FRAME_SIZE, batch_size: int = 16, device: str = "auto",
        mean: Sequence[float] = (0.0, 0.0, 0.0), std: Sequence[float] = (1.0, 1.0, 1.0),
        dataset: Dataset | None = None, threads: int | None = None,
    ) -> None:
        if not len(videos):
            raise EruvError("no videos given")
        if clips < 1:
            raise EruvError(f"clips {clips} must be at least 1")
        device = resolve_device(device)
        self.videos, self.clips = list(videos), clips
        self.device = torch_device(device)
        self.precision = choose_precision("auto", self.device)
        names, self._source = _source(videos, dataset, frame_size)
        self._owned = self._source is not dataset
        frames = {video.name: video.frames for video in self._source.videos}
        # The label is the video, so a clip that cannot be decoded is replaced by another of the same video.
        self._wanted = [(name, start, number) for number, name in enumerate(names)
                        for start in clip_starts(frames[name], clips, clip_length)]
        self._loader = ClipLoader(
            self._wanted, batch_size=batch_size, clip_length=clip_length, crop=crop, hold_last=True, device=device,
            dataset=self._source, dtype=self.precision, mean=mean, std=std, num_shards=1,
            threads=threads)

    def answers(
        self, answer: Callable[[torch.Tensor], torch.Tensor], *, average_clips: bool = False, title: str = "",
        pause: Callable[[], None] | None = None,
    ) -> np.ndarray:
        """Outputs of `answer`, (B, 3, T, H, W) → (B, D), for the clips: (V, clips, D) float32, or (V, D), their mean.

        `answer` runs without gradients, under autocast in `precision`. With a `title` there is a progress bar.
        `pause` is called between batches, and may raise.

        Raises:
            EruvError: a video that cannot be decoded.
        """
        result: np.ndarray | None = None
        late: tuple[int, torch.Tensor] | None = None
        done = 0
        self._loader.set_epoch(0)
        with progress("clips", transient=True, disable=not title) as bar, torch.inference_mode():
            task = bar.add_task(title, total=len(self._wanted))
            for batch in self._loader:
                wanted = self._wanted[done : done + len(batch.info)]
                for (name, _, number), info in zip(wanted, batch.info, strict=True):
                    if info.video != name:
                        raise EruvError(f"{self.videos[number]}: cannot be decoded; leave it out, or repair it")
                with torch.autocast(self.device.type, self.precision, enabled=self.precision is not torch.float32):
                    out_BD = answer(batch.clips).float()
                if result is None:
                    rows = len(self.videos) if average_clips else len(self._wanted)
                    result = np.zeros((rows, out_BD.shape[1]), np.float32)
                elif late is not None:
                    # One batch late, so that the copy from a GPU does not wait for the batch just queued.
                    self._keep(result, late, average_clips)
                late = (done, out_BD)
                done += len(out_BD)
                bar.update(task, completed=done)
                if pause:
                    pause()
        assert result is not None and late is not None  # there is a clip at least
        self._keep(result, late, average_clips)
        return result if average_clips else result.reshape(len(self.videos), self.clips, -1)

    def _keep(self, result: np.ndarray, late: tuple[int, torch.Tensor], average_clips: bool) -> None:
        """Store a batch's rows, of clips from number `late[0]` on, or add them to their videos' sums."""
        first, rows_BD = late[0], late[1].cpu().numpy()
        if average_clips:
            np.add.at(result, np.arange(first, first + len(rows_BD)) // self.clips, rows_BD / self.clips)
        else:
            result[first : first + len(rows_BD)] = rows_BD

    def close(self) -> None:
        """Stop the loader's threads, release files."""
        self._loader.close()
        if self._owned:
            self._source.close()

    def __enter__(self) -> "EvenClips":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def clip_starts(frames: int, clips: int, clip_length: int) -> list[int]:
    """First frames of `clips` clips spread evenly over a video, from 0 to the last position that fits."""
    return np.linspace(0, max(0, frames - clip_length), clips).round().astype(int).tolist()


def names_in(dataset: Dataset, videos: Sequence[str | Path]) -> list[str]:
    """The names of these files in a DATASET.

    Raises:
        EruvError: one of them is not in it.
    """
    known = {video.path.resolve(): video.name for video in dataset.videos}
    names = [known.get(Path(video).resolve()) for video in videos]
    if None in names:
        raise EruvError(f"{videos[names.index(None)]}: not in {dataset.folder} ({names.count(None)} of {len(names)} "
                        "videos are not); see its rejected.csv, or prepare it again")
    return [name for name in names if name is not None]


def _source(
    videos: Sequence[str | Path], dataset: Dataset | None, frame_size: tuple[int, int]
) -> tuple[list[str], VideoSet]:
    """The source of clips, and the names of the videos in it: (names, source)."""
    if dataset is not None:
        return names_in(dataset, videos), dataset
    names = [str(video) for video in videos]
    unique = list(dict.fromkeys(names))
    if missing := [name for name in unique if not Path(name).is_file()]:
        raise EruvError(f"{missing[0]}: no such file ({len(missing)} of {len(unique)} videos are missing)")
    return names, IndexedVideos([Video(name, Path(name)) for name in unique], frame_size, cores())
