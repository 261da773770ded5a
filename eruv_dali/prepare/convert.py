"""Convert: a DATASET's pack into one of another kind or quality, in a new DATASET, without the original videos.

A record in the new DATASET is one converted video. Killed at any moment, it goes on where it was.
"""

import functools
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from eruv_dali.checks import whole_number
from eruv_dali.console import console
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.opened import FORMAT, read_settings
from eruv_dali.dataset.pack import PACK_KINDS, PackWriter, check_quality, place_frames
from eruv_dali.dataset.pack_reader import PackReader
from eruv_dali.dataset.records import Note, Record, Scan, frames_sum, read_record, record_path, write_record
from eruv_dali.dataset.unpack import unpack
from eruv_dali.device import cores
from eruv_dali.errors import EruvError
from eruv_dali.prepare.claim import claim
from eruv_dali.prepare.order import check_cutting, folder_to_write, known_formats
from eruv_dali.prepare.plan import Plan, note_of, stale, suspect_packs, usable
from eruv_dali.prepare.run import only_run, summarise
from eruv_dali.prepare.tables import Extras, write_tables
from eruv_dali.prepare.workers import Done, Lost, Workers
from eruv_dali.video.closed_groups import check_encoder
from eruv_dali.video.find import Video
from eruv_dali.video.place import locate

PATIENCE = 300  # seconds for 128 frames; nothing here can hang but the disk


@dataclass(frozen=True)
class Task:
    """Convert one video; `frames` of it are expected."""

    video: str
    frames: int


def convert(
    source: str | Path, out: str | Path, *, pack: str = "video", quality: int | None = None,
    rule: str | None = None, threshold: float | None = None, segment_length: int | None = None,
    min_length: int | None = None, workers: int | None = None, stats: bool = False, export: Sequence[str] | str = (),
) -> Dataset:
    """Make the DATASET `out` from the DATASET `source`, its frames packed as `pack`; `source` stays as it is.

    The other arguments are those of `prepare`; videos are cut as in `source` where they are None, and within the same
    range of time. Frames keep their size. The tables are made from the records: edits of those of `source` are not
    taken over.

    Raises:
        EruvError: `source` has no pack or is damaged, a bad argument, or `out` cannot be written, holds something else
            or videos that `source` does not hold, or is being worked on.
    """
    if not isinstance(locate(source), Path):
        raise EruvError(f"{source}: the DATASET to convert must be a folder of this machine; copy it here first")
    source, out = Path(source), folder_to_write(out)
    if pack not in PACK_KINDS or pack == "none":
        raise EruvError(f"pack {pack!r} cannot be made from a pack; choose one of {', '.join(PACK_KINDS[1:])}")
    extras = Extras(stats=stats, export=known_formats(export))
    if workers is not None:
        whole_number("workers", workers, least=1)
    old = Dataset(source)
    if old.pack == "none":
        raise EruvError(f"{source}: holds no pack, so there are no frames to convert; run prepare on the videos")
    if out.resolve() == source.resolve():
        raise EruvError(f"{out}: is the DATASET to convert; choose another folder for the new one")
    cutting = _cutting(source, rule, threshold, segment_length, min_length)
    scan = Scan(old.frame_height, old.frame_width, pack, check_quality(pack, quality))
    if pack == "video":
        check_encoder()
    settings = {"format": FORMAT, **asdict(scan), **cutting}
    known = claim(out)
    with only_run(out):
        started = time.monotonic()
        records = {record.note.video: record for record in map(read_record, sorted((source / "records").glob("*.npz")))}
        shortest = min(settings["min_length"], (known or settings)["min_length"])
        for left in _unusable_others(out, source, records, shortest):
            left.unlink()
        todo = _missing(out, records, scan)
        for record in records.values():
            if record.note.reason:
                write_record(out, replace(record.note, scan=scan))
        _convert_all(source, out, scan, todo, workers or cores())
        videos = [Video(name, locate(records[name].note.identity.path)) for name in sorted(records)]
        totals = write_tables(out, videos, settings, extras)
        summarise(out, totals, Plan(videos, [v for v in videos if v.name in todo], {}, [], [], [], 0, {}),
                  time.monotonic() - started)
        return Dataset(out)


def _cutting(
    source: Path, rule: str | None, threshold: float | None, segment_length: int | None, min_length: int | None
) -> dict[str, Any]:
    """The settings of `source` by which videos are cut, but for those given; a threshold is that of its rule.

    Raises:
        EruvError: see `check_cutting`.
    """
    own = read_settings(source) or {}
    if rule not in (None, own["rule"]):
        own["threshold"] = None
    given = {"rule": rule, "threshold": threshold, "segment_length": segment_length, "min_length": min_length}
    cutting: dict[str, Any] = {key: own[key] if value is None else value for key, value in given.items()}
    check_cutting(**cutting)
    return cutting | {key: own.get(key) for key in ("min_shot", "start", "end")}


def _unusable_others(out: Path, source: Path, records: dict[str, Record], shortest: int) -> list[Path]:
    """The records in `out` of unusable videos that `source` does not hold.

    Raises:
        EruvError: one is of a usable video, or of another video than the one of its name in `source`: the tables would
            be made without it, and its part of the pack deleted.
    """
    names = {record_path(out, name): name for name in records}
    others = []
    for path in sorted((out / "records").glob("*.npz")):
        name, note = names.get(path), note_of(path)
        if name is None and not usable(path, note, shortest):
            others.append(path)
        elif name is None or note and not note.reason and _another(note, records[name].note):
            held = (f"{note.video!r} of {note.identity.path}" if note else path)
            raise EruvError(f"{out}: holds {held}, which {source} does not hold and whose frames would be deleted; "
                            "nothing was changed; choose a new folder for what is converted")
    return others


def _another(held: Note, given: Note) -> bool:
    """Whether two notes of one name are of two videos. A file that was changed in its place is the same video."""
    if held.identity.path == given.identity.path:
        return False
    if held.content and given.content:
        return held.content != given.content
    return held.identity[1:] != given.identity[1:]


def _missing(out: Path, records: dict[str, Record], scan: Scan) -> dict[str, int]:
    """The videos still to be converted, and their numbers of frames."""
    todo: dict[str, int] = {}
    suspect = suspect_packs(out)
    with closing(PackReader(out / "pack")) as packed:
        for name, record in records.items():
            if record.note.reason:
                continue
            path = record_path(out, name)
            note = note_of(path)
            # A record of an earlier version does not say what it was made from.
            if (not note or note.identity != record.note.identity
                    or note.packed_from not in ("", frames_sum(record.frames))
                    or stale(path, note, scan, suspect, packed)):
                todo[name] = len(record.frames)
    if todo:
        (out / "dataset.json").unlink(missing_ok=True)  # not a DATASET until all is converted
    return todo


def _convert_all(source: Path, out: Path, scan: Scan, todo: dict[str, int], workers: int) -> None:
    done = dict.fromkeys(todo, 0)
    columns = [TextColumn("[bold]{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}/{task.total:,.0f}"
               " frames,"), TimeRemainingColumn(), TextColumn("left")]
    make = functools.partial(Converter, source, out, scan)
    with Progress(*columns, console=console) as bar, \
            Workers(make, count=max(1, min(workers, len(todo))), patience=PATIENCE) as pool:
        line = bar.add_task("convert", total=sum(todo.values()))
        for event in pool.run(deque(Task(name, frames) for name, frames in todo.items())):
            if isinstance(event, Lost):
                raise EruvError(f"{event.task.video}: its worker process was lost while it was converted; run this "
                                "again, which goes on from here")
            done[event.task.video] = event.result if isinstance(event, Done) else event.value
            bar.update(line, completed=sum(done.values()))


class Converter:
    """Lives in a worker process; keeps its pack file open from video to video."""

    def __init__(self, source: Path, out: Path, scan: Scan) -> None:
        self.source, self.out, self.scan = source, out, scan
        self.packed = PackReader(source / "pack")
        self.writer = PackWriter(out / "pack", scan.pack, scan.quality)

    def close(self) -> None:
        self.writer.close()
        self.packed.close()

    def __call__(self, task: Task, tell: Callable[[int], None]) -> int:
        record = read_record(record_path(self.source, task.video))
        note, size = record.note, (self.scan.frame_height, self.scan.frame_width)
        try:
            file, offset = self.writer.begin_video()
            written = []
            for picture in unpack(self.packed, note.scan.pack, size, note.pack, record.frames):
                written.append(self.writer.add(picture))
                if len(written) % 128 == 0:
                    tell(len(written))
            self.writer.end_video()
            frames = record.frames.copy()
            end = place_frames(frames, offset, written)
            write_record(self.out, replace(note, scan=self.scan, pack=file, pack_end=end,
                                           packed_from=frames_sum(record.frames)), frames, record.curves)
        except OSError as error:
            raise EruvError(f"{self.out}: cannot be written ({error.strerror}); free some space and run again"
                            ) from None
        return len(frames)
