"""The tables of a DATASET and its files for programs, made from the records of its videos."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from eruv_dali.console import console
from eruv_dali.dataset.columns import FRAME, SEGMENT, SEGMENT_COLUMNS, SHOT_COLUMNS, VIDEO_COLUMNS
from eruv_dali.dataset.pack import pack_files, trim_pack
from eruv_dali.dataset.records import read_record, record_path
from eruv_dali.dataset.seal import seal_dataset
from eruv_dali.dataset.segments import cut_segments
from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside, write_csv, write_text
from eruv_dali.prepare.export import write_export, write_stats
from eruv_dali.prepare.plan import sealed_sizes
from eruv_dali.shots import find_shots
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


def write_tables(out: Path, videos: list[Video], settings: dict, stats: bool, export: Sequence[str]) -> Totals:
    """Make the tables and frames.npy from the records. dataset.json comes last: if it exists, all the rest does."""
    rows: dict[str, list[tuple]] = {"videos": [], "shots": [], "segments": [], "rejected": []}
    frames, facts, first, totals = [], {}, 0, Totals()
    ends: dict[str, int] = {}
    parts: dict[tuple[str, int], int] = {}  # bytes of each video's part of the pack; two names of one file share it
    for name in ("stats", "export"):  # remade: old files may come from another rule
        shutil.rmtree(out / name, ignore_errors=True)
    for video in videos:
        record = read_record(record_path(out, video.name))
        note, count = record.note, len(record.frames)
        if note.pack:
            ends[note.pack] = max(ends.get(note.pack, 0), note.pack_end)
            parts[note.pack, note.pack_end] = int(record.frames["size"].sum(dtype=np.int64))
        reason = note.reason
        if not reason and count < settings["min_length"]:
            reason = f"too short: {count} frames, fewer than {settings['min_length']}" + (
                f" ({note.remark})" if note.remark else "")
        if reason:
            rows["rejected"].append((video.name, reason))
            continue
        known = record.facts
        shots = find_shots(record.curves, rule=settings["rule"], threshold=settings["threshold"])
        times = record.times()
        path, size, mtime_ns = note.identity
        rows["videos"].append((video.name, path, count, known.fps, known.width, known.height, known.codec,
                               known.rotation, size, mtime_ns,
                               *(astuple(note.coding) if note.coding else [""] * len(COLUMNS)), note.remark))
        facts[video.name] = dict(path=path, frames=count, codec=known.codec, rotation=known.rotation, size=size,
                                 mtime_ns=mtime_ns, pack=note.pack, first=first,
                                 coding=asdict(note.coding) if note.coding else None)
        frames.append(record.frames)
        first += count
        rows["shots"] += [
            (video.name, number, shot.start, shot.end, f"{shot.score:.6f}", f"{times[shot.start]:.6f}",
             f"{times[shot.end]:.6f}", shot.transition,
             *((shot.transition_start, shot.start) if shot.transition else ("", "")))
            for number, shot in enumerate(shots)
        ]
        cut = cut_segments([(shot.start, shot.end) for shot in shots], length=settings["segment_length"],
                           min_length=settings["min_length"])
        rows["segments"] += [(len(rows["segments"]) + place, video.name, *piece) for place, piece in enumerate(cut)]
        totals.seconds += float(times[-1] - times[0])
        totals.gradual += sum(shot.transition == "gradual" for shot in shots)
        totals.damaged += bool(note.remark)
        if stats:
            write_stats(out / "stats" / f"{video.name}.csv", record)
        for kind in export:
            try:
                write_export(out / "export" / f"{video.name}.{kind}", kind, record, shots, out / "pack")
            except EruvError as error:  # a page needs frames; the file of a kept video may be gone
                console.print(f"{video.name}: no {kind} ({error})", markup=False, highlight=False, soft_wrap=True)
    every_frame = np.concatenate(frames) if frames else np.zeros(0, FRAME)
    trim_pack(out / "pack", ends, sealed_sizes(out))

    write_csv(out / "videos.csv", VIDEO_COLUMNS, rows["videos"])
    write_csv(out / "shots.csv", SHOT_COLUMNS, rows["shots"])
    write_csv(out / "segments.csv", SEGMENT_COLUMNS, rows["segments"])
    write_csv(out / "rejected.csv", ("video", "reason"), rows["rejected"])
    write_text(out / "videos.json", json.dumps(facts) + "\n")
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
