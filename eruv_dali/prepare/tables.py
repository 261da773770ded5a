"""The tables of a DATASET and its files for programs, made from the records of its videos."""

import errno
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from eruv_dali.console import warn
from eruv_dali.dataset.columns import FRAME, SEGMENT, SEGMENT_COLUMNS, SHOT_COLUMNS, VIDEO_COLUMNS
from eruv_dali.dataset.pack import pack_files, trim_pack
from eruv_dali.dataset.records import read_record, record_path
from eruv_dali.dataset.seal import seal_dataset
from eruv_dali.dataset.segments import cut_segments
from eruv_dali.dataset.video_table import write_videos
from eruv_dali.errors import EruvError
from eruv_dali.files import printable, write_aside, write_csv, write_text
from eruv_dali.prepare.export import as_json, write_export, write_stats
from eruv_dali.prepare.found_shots import frames_within, shots_of
from eruv_dali.prepare.plan import sealed_sizes
from eruv_dali.prepare.shot_files import write_shot_files
from eruv_dali.prepare.shot_images import write_shot_images
from eruv_dali.video.coding import COLUMNS
from eruv_dali.video.find import Video


@dataclass
class Totals:
    """What a DATASET holds, for the summary."""

    videos: int = 0
    frames: int = 0
    seconds: float = 0.0
    shots: int = 0
    gradual: int = 0
    segments: int = 0
    rejected: int = 0
    damaged: int = 0
    unused: int = 0  # bytes in the pack that no record refers to
    first_rejected: str = ""


@dataclass(frozen=True)
class Extras:
    """What to write of each video beside the tables: see `prepare`."""

    stats: bool = False
    export: Sequence[str] = ()
    split: bool = False
    images: int = 0
    print_shots: bool = False


def write_tables(out: Path, videos: list[Video], settings: dict, extras: Extras) -> Totals:
    """Make the tables and frames.npy from the records. dataset.json comes last: if it exists, all the rest does."""
    rows: dict[str, list[tuple]] = {"videos": [], "shots": [], "segments": [], "rejected": []}
    frames, facts, first, totals = [], {}, 0, Totals()
    ends: dict[str, int] = {}
    parts: dict[tuple[str, int], int] = {}  # bytes of each video's part of the pack; two names of one file share it
    printing = extras.print_shots
    for name in ("stats", "export", "split", "images"):  # remade: old files may come from another rule
        shutil.rmtree(out / name, ignore_errors=True)
    for video in videos:
        record = read_record(record_path(out, video.name))
        note, count = record.note, len(record.frames)
        if note.pack:
            ends[note.pack] = max(ends.get(note.pack, 0), note.pack_end)
            parts[note.pack, note.pack_end] = int(record.frames["size"].sum(dtype=np.int64))
        reason = note.reason
        if reason:
            rows["rejected"].append((video.name, reason))
            continue
        known = record.facts
        shots = shots_of(record, settings)
        times = record.times()
        path, size, mtime_ns = note.identity
        rows["shots"] += [
            (video.name, number, shot.start, shot.end, f"{shot.score:.6f}", f"{times[shot.start]:.6f}",
             f"{times[shot.end]:.6f}", shot.transition,
             *((shot.transition_start, shot.start) if shot.transition else ("", "")))
            for number, shot in enumerate(shots)
        ]
        totals.gradual += sum(shot.transition == "gradual" for shot in shots)
        exported, pack = out / "export", out / "pack"
        within = frames_within(record, settings)
        wanted = {kind: partial(write_export, exported / f"{video.name}.{kind}", kind, record, shots, pack, within)
                  for kind in extras.export}
        if extras.stats:
            wanted["stats"] = partial(write_stats, out / "stats" / f"{video.name}.csv", record)
        if extras.split:
            wanted["split"] = partial(write_shot_files, out / "split" / video.name, record, shots)
        if extras.images:
            wanted["images"] = partial(write_shot_images, out / "images" / video.name, record, shots, extras.images)
        for kind, write in wanted.items():
            try:
                write()
            except (EruvError, OSError) as error:  # a page needs frames; the file of a kept video may be gone
                if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
                    raise
                why = error.strerror if isinstance(error, OSError) else error
                warn(f"{video.name}: no {kind} ({why})")
        if printing:
            try:
                for shot in json.loads(as_json(record, shots))["shots"]:
                    print(json.dumps({"video": printable(video.name), **shot}, ensure_ascii=False))
            except BrokenPipeError:  # the program that reads them has ended, as `head` does
                printing = False
        if count < settings["min_length"]:  # no clips are drawn from it, but it may be a shot detector's
            rows["rejected"].append((video.name, f"too short: {count} frames, fewer than {settings['min_length']}" + (
                f" ({note.remark})" if note.remark else "")))
            continue
        rows["videos"].append((video.name, path, count, known.fps, known.width, known.height, known.codec,
                               known.rotation, size, mtime_ns,
                               *(astuple(note.coding) if note.coding else [""] * len(COLUMNS)), note.remark))
        facts[video.name] = dict(path=path, frames=count, codec=known.codec, rotation=known.rotation, size=size,
                                 mtime_ns=mtime_ns, pack=note.pack, first=first,
                                 coding=asdict(note.coding) if note.coding else None, content=note.content)
        frames.append(record.frames)
        first += count
        cut = cut_segments([(shot.start, shot.end) for shot in shots], length=settings["segment_length"],
                           min_length=settings["min_length"])
        rows["segments"] += [(len(rows["segments"]) + place, video.name, *piece) for place, piece in enumerate(cut)]
        totals.seconds += float(times[-1] - times[0])
        totals.damaged += bool(note.remark)
    every_frame = np.concatenate(frames) if frames else np.zeros(0, FRAME)
    trim_pack(out / "pack", ends, sealed_sizes(out))

    write_csv(out / "videos.csv", VIDEO_COLUMNS, rows["videos"])
    write_csv(out / "shots.csv", SHOT_COLUMNS, rows["shots"])
    write_csv(out / "segments.csv", SEGMENT_COLUMNS, rows["segments"])
    write_csv(out / "rejected.csv", ("video", "reason"), rows["rejected"])
    write_videos(out, facts)
    (out / "packs.json").unlink(missing_ok=True)  # left from format 2
    place = {row[0]: number for number, row in enumerate(rows["videos"])}
    segments = np.array([(segment, place[video], *piece) for segment, video, *piece in rows["segments"]], SEGMENT)
    for name, array in (("frames.npy", every_frame), ("segments.npy", segments)):
        write_aside(out / name, partial(np.save, arr=array))
    largest = int(every_frame["size"].max(initial=0))
    content = json.dumps({**settings, "largest_frame": largest}, indent=1) + "\n"
    seal_dataset(out, content)
    write_text(out / "dataset.json", content)
    for name, table in rows.items():
        setattr(totals, name, len(table))
    totals.frames = len(every_frame)
    totals.unused = max(0, sum(file.stat().st_size for file in pack_files(out / "pack")) - sum(parts.values()))
    if rows["rejected"]:
        totals.first_rejected = ": ".join(rows["rejected"][0])
    return totals
