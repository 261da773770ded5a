"""Labelled videos prepared once: every later run reads its clips from the pack, and decodes no video."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
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
    """Prepare all videos under `root`, uncut and however short, as a DATASET with a video pack next to the run `out`.

    Another run next to it with the same videos and frame size finds it again, and prepares only what is new; if nothing
    is new, several runs may start at once.

    Raises:
        EruvError: videos that were prepared no longer exist; or see `prepare`.
    """
    root = root.resolve()
    key = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    folder = out.resolve().parent / f"dataset_{root.name}_{frame_size[0]}x{frame_size[1]}_{key}"
    look: dict[str, Any] = dict(pack="video", min_length=1, frame_size=frame_size)
    try:
        return _as_it_is(folder, root) or prepare([root], folder, device=device, **look)
    except VideosNotNamed as error:
        raise EruvError(f"{error.said}; restore them, or remove them first: "
                        f"{removing_command([root], folder, **look)}") from None


def _as_it_is(folder: Path, root: Path) -> Dataset | None:
    """The DATASET, if it holds every video under `root` and none has changed; otherwise None: `prepare` must run."""
    if not (folder / "dataset.json").exists():
        return None
    try:
        dataset = Dataset(folder)
        dataset.check()
    except EruvError as error:
        log.warning("%s", error)
        return None
    # The pack serves without its originals, so the DATASET does not look at them; here they are what was asked for.
    known = {video.name: (video.size, video.mtime_ns) for video in dataset.videos}
    found = {video.name: video.path.stat() for video in find_videos([root])}
    if known == {name: (status.st_size, status.st_mtime_ns) for name, status in found.items()}:
        return dataset
    dataset.close()
    return None


def keep_usable(
    splits: Sequence[tuple[str, ActionSplit]], dataset: Dataset, *, skip_missing: bool
) -> list[tuple[str, ActionSplit]]:
    """The splits without the videos that could not be decoded; such videos are an error unless `skip_missing`.

    Raises:
        EruvError: videos that could not be decoded, or a class that is empty without them.
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
        kept.append((name, replace(split, train=train, test=test)))
        check_sides(kept[-1][1], f"split {name}")
    return kept
