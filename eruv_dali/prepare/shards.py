"""Shards: parts of one DATASET scanned side by side, by runs that share nothing but its folder, and merged at the end.

A video belongs to a shard by a hash of its name, so each run knows its videos without asking another. Records are one
file per video, renamed into place, and each shard has its own range of pack file names: no run writes what another one
does, and no lock is needed. Where the file system has locks, shards hold one together, against a plain `prepare` and
against merging too early.

    DATASET/shards/00003-of-00016.json    what shard 3 runs with, and whether it has ended: {settings, shards, done}
    DATASET/shards/missing.csv            from a merge that found some missing: shard,video,path

A shard is scanned with the settings of the notes that lie there. It writes its own note before it reads the others', so
of two that start at once with different settings at least one sees the other's. The merge, which compares all of them,
deletes the folder once the tables are written.
"""

import hashlib
import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eruv_dali.console import console
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.damage import reading
from eruv_dali.errors import EruvError, one_line
from eruv_dali.files import write_csv, write_text
from eruv_dali.prepare.claim import SHARDS, claim
from eruv_dali.prepare.order import Order, folder_to_write
from eruv_dali.prepare.plan import begin, make_plan, refuse_late_start, remove_asides
from eruv_dali.prepare.run import finish, only_run, scan_planned, writing

PACK_FILES = 100_000  # numbers of pack file names that a shard has for itself: 400 TB
NOTE = re.compile(r"[0-9]{5,}-of-[0-9]{5,}\.json")


@dataclass(frozen=True)
class Shard:
    """One of `count` parts; `number` counts from 0."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise EruvError(f"shard {self.number}/{self.count}: there must be at least 1; name one such as 0/16")
        if not 0 <= self.number < self.count:
            raise EruvError(f"shard {self.number}/{self.count} must be one of 0/{self.count} to "
                            f"{self.count - 1}/{self.count}")

    @property
    def note(self) -> str:
        return f"{self.number:05d}-of-{self.count:05d}.json"


def shard_of(video: str, count: int) -> int:
    """The number of the shard, of `count`, that a video of this name belongs to."""
    return int.from_bytes(hashlib.sha256(os.fsencode(video)).digest()[:8], "big") % count


def named_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """The shard that `--shard` names: "i/n", or "slurm" for the task of an array job that this process is.

    Raises:
        EruvError: neither, or not run by Slurm as a whole array of tasks.
    """
    if text != "slurm":
        if not re.fullmatch(r"[0-9]{1,6}/[0-9]{1,6}", text):
            raise EruvError(f"shard {text!r} is neither NUMBER/COUNT, such as 0/16, nor slurm")
        return Shard(*map(int, text.split("/")))
    task, count, least, step = (
        _whole(environment, f"SLURM_ARRAY_TASK_{name}", default)
        for name, default in (("ID", None), ("COUNT", None), ("MIN", None), ("STEP", 1)))
    number, rest = divmod(task - least, max(step, 1))
    if rest or not 0 <= number < count:
        raise EruvError(f"shard slurm: task {task} is not one of {count} in a row from {least}; of an array with gaps, "
                        "name the shard: --shard $SLURM_ARRAY_TASK_ID/COUNT")
    return Shard(number, count)


def _whole(environment: Mapping[str, str], name: str, default: int | None) -> int:
    value = environment.get(name, default)
    if value is None:
        raise EruvError(f"shard slurm: {name} is not set; submit with sbatch --array=0-15, or name the shard, such as "
                        "0/16")
    try:
        return int(value)
    except ValueError:
        raise EruvError(f"shard slurm: {name} is {value!r}, not a whole number") from None


def prepare_shard(paths: Sequence[str | Path], out: str | Path, shard: Shard, **options: Any) -> None:
    """Scan the videos of one shard into the DATASET `out`; other shards may be scanned at the same time.

    What is recorded already, by an earlier run of the shard too, is not scanned again. A file renamed since is.

    Args:
        options: as of `prepare`. Those that only the tables depend on must be the same for all shards, too.

    Raises:
        EruvError: as `prepare`; or another shard has other settings.
    """
    for option, name in (("add", "add"), ("remove", "remove"), ("stats", "stats"), ("export", "export"),
                         ("split", "split"), ("images", "save-images"), ("print_shots", "json-lines")):
        if options.get(option):
            raise EruvError(f"{name} is for merging the shards, where the tables are made; leave it out here")
    order = Order(paths=paths, out=folder_to_write(out), **options)
    out = order.out
    own = [video for video in order.videos if shard_of(video.name, shard.count) == shard.number]
    with writing(out):
        known = claim(out, shards=True)
        with only_run(out, shared=True, needed=False):
            started = time.monotonic()
            (out / SHARDS).mkdir(exist_ok=True)
            _same_settings(out, order.settings, shard)
            _write_note(out, shard, order.settings, done=False)
            try:
                _same_settings(out, order.settings, shard)  # of those that have begun since, too
            except EruvError:
                (out / SHARDS / shard.note).unlink(missing_ok=True)  # it is not one of them
                raise
            plan = make_plan(out, own, order.scan, shortest=order.shortest(known), shard=True)
            scan_planned(order, plan, lambda: begin(out, plan, shard=True), shard.number * PACK_FILES)
            _write_note(out, shard, order.settings, done=True)
    console.print(f"shard {shard.number}/{shard.count}: {len(own):,} of {len(order.videos):,} videos, "
                  f"{len(plan.todo):,} scanned in {time.monotonic() - started:.1f} s; when all shards have ended, run "
                  "this with --merge", highlight=False, soft_wrap=True)


def merge_shards(paths: Sequence[str | Path], out: str | Path, **options: Any) -> Dataset:
    """Make the tables of the DATASET `out`, whose shards have ended, and open it.

    Args:
        options: as of `prepare`, the same settings as the shards'.

    Raises:
        EruvError: as `prepare`; no shard was run, shards were run with other settings, or videos are missing: then
            shards/missing.csv lists them, the message says which shards to run again, and nothing else is changed.
    """
    order = Order(paths=paths, out=folder_to_write(out), **options)
    out = order.out
    if not (out / SHARDS).is_dir():
        raise EruvError(f"{out}: holds no shards to merge; run prepare with --shard first (a merge that has ended "
                        "leaves none)")
    with writing(out):
        known = claim(out, shards=True)
        with only_run(out, needed=False):
            started = time.monotonic()
            notes = _same_settings(out, order.settings)
            if not notes:
                raise EruvError(f"{out / SHARDS}: holds no shard's note; run prepare with --shard first")
            count = notes[0]["shards"]
            plan = make_plan(out, order.videos, order.scan, shortest=order.shortest(known), add=order.add,
                             remove=order.remove, merge=True)
            ended = {note["shard"] for note in notes if note["done"]}
            unfinished = {shard_of(video.name, count) for video in order.videos} - ended
            missing = [(shard_of(video.name, count), video.name, video.path) for video in plan.todo]
            again = unfinished | {shard for shard, *_ in missing}
            if again:
                write_csv(out / SHARDS / "missing.csv", ("shard", "video", "path"), sorted(missing))
                raise EruvError(f"{out}: {len(missing):,} of {len(plan.videos):,} videos are missing, listed in "
                                f"{out / SHARDS}/missing.csv; run again these of {count} shards, then --merge: "
                                f"{in_ranges(again)}")
            refuse_late_start(out, plan, order.start)
            begin(out, plan, shard=True)  # unused ends of the pack are cut off when the tables are written
            dataset = finish(order, plan, time.monotonic() - started)
            remove_asides(out)
            shutil.rmtree(out / SHARDS)
            return dataset


def in_ranges(numbers: Iterable[int]) -> str:
    """Numbers as `sbatch --array` takes them: 0-3,7."""
    runs = []
    for _, run in itertools.groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        run_numbers = [number for _, number in run]
        runs.append("-".join(str(end) for end in dict.fromkeys((run_numbers[0], run_numbers[-1]))))
    return ",".join(runs)


def _write_note(out: Path, shard: Shard, settings: dict[str, Any], *, done: bool) -> None:
    note = {"shard": shard.number, "shards": shard.count, "done": done, "settings": settings}
    write_text(out / SHARDS / shard.note, json.dumps(note) + "\n")


def _same_settings(out: Path, settings: dict[str, Any], shard: Shard | None = None) -> list[dict[str, Any]]:
    """The notes of all shards.

    Raises:
        EruvError: one has other settings than these, or is one of another number of shards than `shard`, or than the
            first note.
    """
    notes = []
    for path in sorted(file for file in (out / SHARDS).iterdir() if NOTE.fullmatch(file.name)):
        with reading(path):
            note = json.loads(path.read_text())
            if not (type(note["shard"]) is type(note["shards"]) is int and type(note["done"]) is bool
                    and isinstance(note["settings"], dict)):
                raise ValueError("it is not a shard's note")
        notes.append(note)
        count = shard.count if shard else notes[0]["shards"]
        there, here = {**note["settings"], "shards": note["shards"]}, {**settings, "shards": count}
        for key in here:
            if there.get(key) != here[key]:
                raise EruvError(one_line(
                    f"{path}: this shard has {key} {there.get(key)!r}, {'now it is' if shard else 'here it is'} "
                    f"{here[key]!r}; give all shards the same, or, to begin anew while none is running, delete "
                    f"{out / SHARDS}"))
    return notes
