"""PretextLoader: batches of samples of any pretext, for pre-training."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from eruv_dali.checks import shown, three_numbers, whole_number
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.split import split_segments
from eruv_dali.dataset.video_table import frames_and_first
from eruv_dali.device import gpu_number, resolve_device
from eruv_dali.errors import EruvError
from eruv_dali.loader.epochs import ClipInfo, EpochLoader
from eruv_dali.loader.pipelines import ClipFormat
from eruv_dali.loader.prefetch import dtype_name
from eruv_dali.pretext import find_pretext
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting, trimmed_segments


class SampleInfo(NamedTuple):
    """Where a sample's clips came from, and the name of its kind."""

    kind: str
    clips: tuple[ClipInfo, ...]


class PretextBatch(NamedTuple):
    """A batch of B samples of K clips.

    Attributes:
        clips: (B, K, 3, T, H, W), values (x / 255 - mean) / std; clips[:, k] is channels_last_3d.
        label: (B,) int64, position in the pretext's `kinds`, on the CPU unless `labels_on_device`.
        info: list of B SampleInfo.
    """

    clips: torch.Tensor
    label: torch.Tensor
    info: list[SampleInfo]


class PretextLoader(EpochLoader):
    """Loads batches of a pretext's samples from a prepared DATASET, decoding ahead in other threads.

        with PretextLoader("my_dataset", "vcop", batch_size=8) as loader:
            for batch in loader:
                loss = F.cross_entropy(net(batch.clips), batch.label)

    Each `iter()` is one epoch; the next `iter()` is the next epoch, with other samples, even if the previous one was
    not finished, unless `set_epoch` or `load_state_dict` chooses another. The same arguments give the same batches,
    whatever the number of threads. A sample that cannot be decoded is replaced by another of the same kind.

    Args:
        dataset: a DATASET folder, or an opened Dataset.
        pretext: name of the pretext; `options`: its options, as its `Options` or a dict; by default those of its paper.
        batch_size: samples in a batch; the last batch of an epoch may be smaller.
        drop_last: leave out the samples that do not fill a batch of every shard.
        clip_length: frames in a clip.
        crop: side of the square crop, pixels; its position is drawn for each clip.
        device: where clips are decoded and delivered: "auto", "gpu", "cpu", "cuda:1" or a torch.device.
        dtype: float32, float16 or bfloat16, as a name or a torch.dtype.
        mean, std: per channel, on the scale of 0 to 1. By default values stay between 0 and 1.
        trimmed: each video is one action (UCF101): whole videos are used instead of segments.
        split: "all" videos, or the "train" or "val" part: videos are held out by a hash of their name, so the
            split stays the same when videos are added.
        val_fraction: share of the videos held out; at least two, and those that the pretext needs.
        samples_per_epoch: by default one for each segment.
        labels_on_device: deliver labels on the device of the clips, instead of on the CPU.
        seed: different seeds give different samples.
        shard_id, num_shards: this process's part of every epoch; by default its rank among the processes of
            torch.distributed or torchrun. All have the same number of batches; to fill them, an epoch may have a few
            more samples.
        threads: for decoding; by default one per core.

    Attributes:
        pretext: the Pretext that draws the samples; labels are positions in its `kinds`.

    Raises:
        EruvError: a bad argument, no such DATASET, a kind that these videos cannot show, or videos or a pack that have
            changed since prepare.
    """

    def __init__(
        self, dataset: str | Path | Dataset, pretext: str = "eruv", *,
        options: PretextOptions | dict[str, Any] | None = None, batch_size: int = 8, clip_length: int = 16,
        crop: int = 112, device: str | torch.device = "auto", dtype: str | torch.dtype = "float32",
        mean: Sequence[float] = (0.0, 0.0, 0.0), std: Sequence[float] = (1.0, 1.0, 1.0), trimmed: bool = False,
        split: str = "all", val_fraction: float = 0.1, samples_per_epoch: int | None = None, drop_last: bool = False,
        labels_on_device: bool = False, seed: int = 0, shard_id: int | None = None, num_shards: int | None = None,
        threads: int | None = None,
    ) -> None:
        kind = find_pretext(pretext)
        options = _options(kind.Options, options)
        place = resolve_device(device)
        videos = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
        videos.check()
        frame_size = (videos.frame_height, videos.frame_width)
        self.mean, self.std = three_numbers("mean", mean), three_numbers("std", std)
        clip = ClipFormat(clip_length, crop, frame_size, dtype_name(dtype), self.mean, self.std, "THWC", place,
                          gpu_number(device) if place == "gpu" else None)
        setting = Setting(clip_length, crop, frame_size, whole_number("seed", seed, least=0, most=2**64 - 1), trimmed,
                          self.mean, self.std)
        kind.check(setting, options)
        self.pretext = pretext_of_part(videos, split, val_fraction, kind, setting, options)
        clip = replace(clip, transforms=self.pretext.transforms)
        if samples_per_epoch is None:
            samples_per_epoch = len(self.pretext)
        super().__init__(
            videos, clip, items=whole_number("samples_per_epoch", samples_per_epoch, least=1),
            clips_per_item=self.pretext.clips_per_sample, batch_size=batch_size, drop_last=drop_last,
            labels_on_device=labels_on_device, seed=seed, shard_id=shard_id, num_shards=num_shards, threads=threads,
            owned=videos is not dataset)

    def _item(self, epoch: int, number: int, attempt: int) -> Sample:
        return self.pretext.sample(epoch, number, attempt)

    def _batch(self, items: list[Sample], clips: torch.Tensor) -> Any:
        clips = clips.unflatten(0, (self.pretext.clips_per_sample, len(items))).permute(1, 0, 5, 2, 3, 4)
        label = self._labels([sample.label for sample in items], clips)
        return PretextBatch(clips, label, [SampleInfo(sample.kind, tuple(map(self._info, sample.clips)))
                                           for sample in items])


def pretext_of_part(
    dataset: Dataset, split: str, val_fraction: float, kind: type[Pretext], setting: Setting, options: PretextOptions
) -> Pretext:
    """A pretext of this kind for one part of a DATASET.

    Raises:
        EruvError: see `part_of` and the pretext; of the held-out part it says that it is this one.
    """
    segments = part_of(dataset, split, val_fraction, kind, setting, options)
    try:
        return kind(segments, setting, options)
    except EruvError as error:
        if split != "val":
            raise
        raise EruvError(f"in the videos held out for validation, {error}") from None


def part_of(
    dataset: Dataset, split: str, val_fraction: float, kind: type[Pretext], setting: Setting, options: PretextOptions
) -> np.ndarray:
    """The segments, (S,) of `dataset.SEGMENT`, that a pretext of this kind is given for one part of a DATASET.

    Raises:
        EruvError: see `split_segments`.
    """
    segments = dataset.segments
    if setting.trimmed:
        segments = trimmed_segments(frames_and_first(dataset.videos)[0])
    return split_segments(dataset, segments, split, val_fraction,
                          lambda: kind.held_out_needs(segments, setting, options))


def _options(kind: type[PretextOptions], given: PretextOptions | dict[str, Any] | None) -> PretextOptions:
    """The options of a pretext, built from the `given` ones."""
    if given is None:
        return kind()
    if isinstance(given, dict):
        own = [field.name for field in fields(kind)]
        if unknown := [key for key in given if key not in own]:
            others = ", ".join(name for name in own if name != "name")
            raise EruvError(f"options: this pretext has none called {shown(unknown[0])}, "
                            + (f"only {others}" if others else "and no others"))
        return kind(**given)
    if not isinstance(given, kind):
        raise EruvError(f"options {given!r} are not those of this pretext; give a {kind.__name__} or a dict")
    return given
