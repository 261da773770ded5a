"""Labelled videos prepared once: every later run takes its clips from the pack, and decodes no video."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eruv_dali.actions.split import NAMED, ActionSplit, check_sides
from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.prepare import prepare
from eruv_dali.prepare.plan import VideosNotNamed, removing_command
from eruv_dali.video.find import find_videos

log = logging.getLogger(__name__)


def prepare_labelled(root: Path, out: Path, *, frame_size: tuple[int, int], device: str = "auto") -> Dataset:
    """Prepare all videos under `root`, whole and however short, as a DATASET with a JPEG pack beside the run `out`.

    The next run beside it that uses the same videos and frame size finds it again, and does only what is new; where
    nothing is, several runs may begin at once.

    Raises:
        EruvError: videos that were prepared are not there any more; or see `prepare`.
    """
    root = root.resolve()
    key = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    folder = out.resolve().parent / f"dataset_{root.name}_{frame_size[0]}x{frame_size[1]}_{key}"
    look: dict[str, Any] = dict(pack="jpeg", min_length=1, frame_size=frame_size)
    try:
        return _as_it_is(folder, root) or prepare([root], folder, device=device, **look)
    except VideosNotNamed as error:
        raise EruvError(f"{error.said}; bring them back, or let them go first: "
                        f"{removing_command([root], folder, **look)}") from None


def _as_it_is(folder: Path, root: Path) -> Dataset | None:
    """The DATASET, if it holds every video under `root` and none has changed; all else is for `prepare` to see to."""
    if not (folder / "dataset.json").exists():
        return None
    try:
        dataset = Dataset(folder)
        dataset.check()
    except EruvError as error:
        log.warning("%s", error)
        return None
    if {video.video for video in dataset.videos} == {video.name for video in find_videos([root])}:
        return dataset
    dataset.close()
    return None


def keep_usable(
    splits: Sequence[tuple[str, ActionSplit]], dataset: Dataset, *, skip_missing: bool
) -> list[tuple[str, ActionSplit]]:
    """The splits without the videos that could not be decoded; these are refused unless `skip_missing`.

    Raises:
        EruvError: videos that could not be decoded, or without them a class is empty.
    """
    usable = {video.path.resolve() for video in dataset.videos}
    named = {path for _, split in splits for side in (split.train, split.test) for path, _ in side}
    lost = sorted(path for path in named if path.resolve() not in usable)
    if not lost:
        return list(splits)
    said = (f"{len(lost)} of {len(named)} videos cannot be decoded (reasons in {dataset.folder / 'rejected.csv'}): "
            f"{', '.join(map(str, lost[:NAMED]))}{', …' if len(lost) > NAMED else ''}")
    if not skip_missing:
        raise EruvError(f"{said}; repair them, or leave them out with skip_missing=True (--skip-missing)")
    log.warning("%s; they are left out", said)
    kept = []
    for name, split in splits:
        train, test = ([(path, label) for path, label in side if path.resolve() in usable]
                       for side in (split.train, split.test))
        kept.append((name, ActionSplit(split.classes, train, test, split.root, split.missing)))
        check_sides(kept[-1][1], f"split {name}")
    return kept
