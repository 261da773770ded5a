"""Labelled datasets as they unpack: which videos are missing or superfluous, is each split complete?"""

import re
from collections.abc import Iterator
from pathlib import Path

from eruv_dali.actions import hmdb51, ucf101
from eruv_dali.actions.folder import list_classes
from eruv_dali.actions.lists import Listed, find_root
from eruv_dali.actions.split import list_split
from eruv_dali.doctor.finding import GOOD, PROBLEM, REMARK, Finding, first_named
from eruv_dali.errors import EruvError
from eruv_dali.video.find import VIDEO_SUFFIXES

LAYOUTS = ("ucf101", "hmdb51", "thumos14", "folder")
THUMOS14_VALIDATION = [f"video_validation_{number:07d}.mp4" for number in range(1, 1011)]
OFFICIAL = {"ucf101": (101, 13320), "hmdb51": (51, 5100)}  # classes, and videos that each split lists, as published


def check_layout(dataset: str, root: Path, splits: Path | None) -> tuple[list[Finding], list[Path]]:
    """Findings on a dataset, and those of its videos that exist.

    Raises:
        EruvError: `root` is not a folder.
    """
    if not root.is_dir():
        raise EruvError(f"{root}: no such folder; root names the folder of videos")
    check = {"thumos14": _thumos14, "folder": _folder}.get(dataset)
    findings: list[Finding] = []
    videos: list[Path] = []
    for item in check(root) if check else _official(dataset, root, splits):
        if isinstance(item, Finding):
            findings.append(item)
        else:
            videos.append(item)
    return findings, videos


def _thumos14(root: Path) -> Iterator[Finding | Path]:
    found = {path.name: path for path in _videos_under(root)}
    yield from _presence([name for name in THUMOS14_VALIDATION if name in found],
                         [name for name in THUMOS14_VALIDATION if name not in found], "validation videos")
    strange = sorted(name for name in found if not re.fullmatch(r"video_(validation|test)_\d{7}\.mp4", name))
    if strange:
        yield Finding("others", REMARK, f"{len(strange)} videos here are not THUMOS14's:{first_named(strange)}")
    yield from (found[name] for name in THUMOS14_VALIDATION if name in found)


def _folder(root: Path) -> Iterator[Finding | Path]:
    try:
        classes = list_classes(root)
    except EruvError as error:
        yield Finding("classes", PROBLEM, str(error))
        return
    alone = [name for name, videos in classes.items() if len(videos) == 1]
    yield Finding("classes", GOOD, f"{len(classes)}, {sum(map(len, classes.values())):,} videos")
    if alone:
        yield Finding("split", PROBLEM, f"{len(alone)} classes have only one video, and cannot be on both sides of a "
                      f"split:{first_named(alone)}")
    yield from (root / video for videos in classes.values() for video in videos)


def _official(dataset: str, root: Path, splits: Path | None) -> Iterator[Finding | Path]:
    kind = {"ucf101": ucf101, "hmdb51": hmdb51}[dataset]
    folder = find_root(root, kind.FOLDER)
    named: dict[str, None] = {}
    for split in kind.SPLITS:
        try:
            _, listed = list_split(dataset, root, splits=splits, split=split)
        except EruvError as error:
            yield Finding(f"split {split}", PROBLEM, str(error))
            continue
        named |= dict.fromkeys(path for side in (listed.train, listed.test) for path, _ in side)
        yield _whole(split, listed, folder, OFFICIAL[dataset])
    for video in sorted(named):
        if (folder / video).is_file():
            yield folder / video
    if not named:
        return
    yield from _presence([video for video in named if (folder / video).is_file()],
                         [video for video in named if not (folder / video).is_file()], "videos of all splits")
    extra = sorted({path.relative_to(folder).as_posix() for path in _videos_under(folder)} - set(named))
    if archives := sorted(path.name for path in folder.rglob("*.rar")):
        yield Finding("archives", REMARK, f"{len(archives)} are still to be unpacked:{first_named(archives)}")
    # HMDB51's splits leave videos out on purpose (side 0).
    if extra:
        yield Finding("others", REMARK, f"{len(extra)} videos here are on no side of any split:{first_named(extra)}")


def _whole(split: int, listed: Listed, folder: Path, official: tuple[int, int]) -> Finding:
    """Whether a split has training and test videos of every class, no video on both sides, and the published size."""
    both = sorted({path for path, _ in listed.train} & {path for path, _ in listed.test})
    if both:
        return Finding(f"split {split}", PROBLEM, f"{len(both)} videos are on both sides:{first_named(both)}")
    for side, name in ((listed.train, "training"), (listed.test, "test")):
        present = {label for path, label in side if (folder / path).is_file()}
        empty = [classname for label, classname in enumerate(listed.classes) if label not in present]
        if empty:
            return Finding(f"split {split}", PROBLEM, f"{len(empty)} of {len(listed.classes)} classes have no {name} "
                           f"video:{first_named(empty)}")
    holds = f"{len(listed.classes)} classes, {len(listed.train):,} training and {len(listed.test):,} test videos"
    if (len(listed.classes), len(listed.train) + len(listed.test)) != official:
        return Finding(f"split {split}", REMARK, f"{holds}; as published {official[0]} classes, {official[1]:,} videos")
    return Finding(f"split {split}", GOOD, holds)


def _presence(there: list[str], missing: list[str], what: str) -> Iterator[Finding]:
    total = len(there) + len(missing)
    if missing:
        yield Finding("missing", PROBLEM, f"{len(missing):,} of {total:,} {what}:{first_named(missing)}")
    else:
        yield Finding("complete", GOOD, f"all {total:,} {what} are there")


def _videos_under(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
