"""The split of a DATASET's videos into a training and a held-out part."""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from eruv_dali.dataset.mapped import distinct, kept
from eruv_dali.dataset.opened import Dataset
from eruv_dali.dataset.video_table import names_of
from eruv_dali.errors import EruvError

SPLITS = ("all", "train", "val")


class SomeOf(NamedTuple):
    """A set of videos, and how many of them must be held out."""

    videos: np.ndarray
    least: int


def split_segments(
    dataset: Dataset, segments: np.ndarray, split: str, val_fraction: float,
    needs: Callable[[], Sequence[np.ndarray | SomeOf]] = tuple,
) -> np.ndarray:
    """The segments of the videos in this part, (≤ S,) array of `dataset.SEGMENT`.

    The held-out videos are the first ones in the order of their names' hashes: the share `val_fraction`, at least two,
    and more until they include one of each non-empty set that `needs` gives (of a `SomeOf`, as many as it says, where
    there are so many), so that even a small dataset can be validated.

    Raises:
        EruvError: an unknown part, a fraction out of range, too few videos, or none left for training.
    """
    if split not in SPLITS:
        raise EruvError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    if split == "all":
        return segments
    if not 0 < val_fraction < 1:
        raise EruvError(f"val_fraction {val_fraction} must lie between 0 and 1")
    videos = distinct(segments, "video")
    if len(videos) < 4:
        raise EruvError(f"{dataset.folder}: {len(videos)} videos with segments are too few to hold two out for "
                        "validation; prepare at least 4")
    hashes = [hashlib.sha256(name.encode()).digest() for name in names_of(dataset.videos, videos.tolist())]
    share = np.array([int.from_bytes(digest[:8], "big") / 2**64 for digest in hashes])
    ranked = videos[np.argsort(share)]
    count = by_share = max(2, int(np.sum(share < val_fraction)))
    for needed in needs():
        some, least = needed if isinstance(needed, SomeOf) else (needed, 1)
        among = np.flatnonzero(np.isin(ranked, some))
        if len(among) >= least:
            count = max(count, int(among[least - 1]) + 1)
    if split == "train" and count == len(videos):
        what, cure = (("holds out", "choose a smaller one, or prepare more videos") if by_share == count else
                      ("and the kinds of sample to hold out take", "prepare more videos"))
        raise EruvError(f"val_fraction {val_fraction} {what} all {count} videos with segments of {dataset.folder}; "
                        f"{cure}, so that some are left for training")
    chosen = np.zeros(len(dataset.videos), bool)
    chosen[ranked[:count] if split == "val" else ranked[count:]] = True
    return kept(segments, lambda rows: chosen[rows["video"]])
