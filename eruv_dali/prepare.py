"""Prepare raw videos for pre-training: decode each once, find its shots, cut them into segments, write a DATASET.

    python -m eruv_dali.prepare my_videos/ --out my_dataset --pack jpeg

As a shot detector alone, with an edit list and a web page for every video:

    python -m eruv_dali.prepare my_videos/ --out my_dataset --pack none --export edl html
    python -m eruv_dali.prepare my_videos/ --out my_dataset --pack none --export edl html --threshold 0.08

The second run decodes nothing: the differences between frames are kept. Run it again on the same DATASET and it does
only what is new or changed; killed at any moment, it goes on from where it was. Each video is one transaction: a file
in DATASET/records. The tables are made from the records at the end.

    python -m eruv_dali.prepare more_videos/ --out my_dataset --add

adds to what the DATASET holds. Without --add the DATASET is to hold the videos named and no others; if it holds others,
nothing is changed unless --remove lets them go.

    DATASET/videos.csv, shots.csv, segments.csv, rejected.csv (with the reason)      columns: see eruv_dali/dataset.py
    DATASET/stats/VIDEO.csv       with --stats: how much every frame differs from the one before it
    DATASET/export/VIDEO.FORMAT   with --export
"""

import argparse
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from eruv_dali.columns import FRAME, SEGMENT, SEGMENT_COLUMNS, SHOT_COLUMNS, VIDEO_COLUMNS
from eruv_dali.dataset import FORMAT, Dataset, refuse_newer
from eruv_dali.device import DEVICES, resolve_device
from eruv_dali.errors import EruvError, run_program
from eruv_dali.files import write_aside, write_csv, write_text
from eruv_dali.pack import PACK_KINDS, pack_files, trim_pack
from eruv_dali.plan import Plan, begin, end, make_plan, sealed_sizes
from eruv_dali.records import read_record, record_path
from eruv_dali.scan import Scan
from eruv_dali.scan_all import disk_size, scan_all
from eruv_dali.seal import seal_dataset
from eruv_dali.segments import MIN_LENGTH, SEGMENT_LENGTH, cut_segments
from eruv_dali.shots import RULES, ShotStatistics, find_shots
from eruv_dali.shots.export import EXPORTS, write_export, write_stats
from eruv_dali.videos import Video, find_videos

FRAME_SIZE = (128, 171)  # height, width of the frames that clips are cropped from (the paper's)
TIME_LIMIT = 120.0  # seconds; the slowest frames seen (2560 x 1600 AV1 on one core) take a tenth of a second

console = Console(stderr=True)


def prepare(
    paths: Sequence[str | Path], out: str | Path, *, device: str = "auto", pack: str = "jpeg", rule: str = "robust",
    threshold: float | None = None, segment_length: int = SEGMENT_LENGTH, min_length: int = MIN_LENGTH,
    frame_size: tuple[int, int] = FRAME_SIZE, workers: int | None = None, time_limit: float = TIME_LIMIT,
    stats: bool = False, export: Sequence[str] = (), add: bool = False, remove: bool = False,
) -> Dataset:
    """Make or bring up to date the DATASET `out` from video files and folders, and open it.

    Where `out` holds usable videos that are not among those found, nothing is changed unless `add` or `remove` is set.

    Args:
        paths: video files, or folders to search for them.
        out: the DATASET folder.
        device: "auto", "gpu" or "cpu": where frames are decoded and described.
        pack: "jpeg" or "raw" keeps every frame, resized to `frame_size`, so that training never decodes video again;
            "none" reads clips from the original files.
        rule: how shots are found, one of `shots.RULES`; `threshold` overrides the rule's own.
        segment_length, min_length: in frames; longer shots are cut, shorter pieces dropped.
        frame_size: height and width of the frames that clips will be cropped from.
        workers: processes; by default one a core (one on a GPU).
        time_limit: seconds that a video may take over its next frames before it is given up.
        stats: write stats/VIDEO.csv, the differences between frames that the rules work on.
        export: formats of `shots.export.EXPORTS` in which to write each video's shots to export/.
        add: keep all that `out` holds, whether or not it is found now, and add the videos found. What a video to be
            kept was found to be stays as it is, even if its file is gone, unless other settings ask for a new scan.
        remove: let go of the videos that `out` holds and that are not found now.

    Raises:
        VideosNotNamed: `out` holds videos that are not found, and neither `add` nor `remove` is set.
        EruvError: bad arguments, no videos, not one usable video, two videos of one name, a video to keep that would
            have to be scanned again and is gone, `out` cannot be written, or another run is at work on it.
    """
    device = resolve_device(device)
    if pack not in PACK_KINDS:
        raise EruvError(f"pack {pack!r} is not one of {', '.join(PACK_KINDS)}")
    if rule not in RULES:
        raise EruvError(f"rule {rule!r} is not one of {', '.join(RULES)}")
    if threshold is not None and not threshold > 0:
        raise EruvError(f"threshold {threshold} must be greater than 0")
    if min(frame_size) < 8:
        raise EruvError(f"frame size {frame_size[0]}x{frame_size[1]} is too small; give at least 8x8")
    if not 1 <= min_length <= segment_length:
        raise EruvError(f"min_length {min_length} must lie between 1 and segment_length {segment_length}")
    if workers is not None and workers < 1:
        raise EruvError(f"workers {workers} must be at least 1")
    if not time_limit > 0:
        raise EruvError(f"time limit {time_limit} must be greater than 0 seconds")
    for kind in export:
        if kind not in EXPORTS:
            raise EruvError(f"export {kind!r} is not one of {', '.join(EXPORTS)}")
    if add and remove:
        raise EruvError("add and remove cannot both be set; one keeps the videos that are not named, one lets them go")
    workers = workers or (1 if device == "gpu" else os.cpu_count() or 1)
    videos = find_videos(paths)
    out, scan = Path(out), Scan(*frame_size, pack)
    settings = {
        "format": FORMAT, **asdict(scan), "rule": rule, "threshold": threshold, "segment_length": segment_length,
        "min_length": min_length,
    }
    try:
        known = _claim(out)
        with _only_run(out):
            started = time.monotonic()
            shortest = min(min_length, (known or settings).get("min_length", min_length))
            plan = make_plan(out, videos, scan, shortest=shortest, add=add, remove=remove)
            if plan.todo:
                ShotStatistics(device=device)  # compiles the kernels once, or says here where it will have to be slow
                scan_all(out, plan.todo, scan, device=device, workers=min(workers, len(plan.todo)),
                         time_limit=time_limit, console=console, ready=lambda: begin(out, plan))
            else:
                begin(out, plan)
            end(plan)
            seconds = time.monotonic() - started
            totals = _write_tables(out, plan.videos, settings, stats, export)
            if not totals.videos:
                raise EruvError(f"none of the {len(plan.videos)} videos can be used; {totals.first_rejected} "
                                f"(all in {out}/rejected.csv)")
            _summarise(out, totals, plan, seconds)
            return Dataset(out)
    except OSError as error:
        raise EruvError(f"{error.filename or out}: cannot be written or read ({error.strerror or error}); mend that, "
                        f"or name another folder than {out}") from None


def _claim(out: Path) -> dict | None:
    """Make sure that `out` is a DATASET, or may become one; the settings of a finished one."""
    if out.exists() and not out.is_dir():
        raise EruvError(f"{out}: is a file; name a folder for the DATASET")
    if out.is_dir() and any(out.iterdir()) and not (out / "records").is_dir():
        raise EruvError(f"{out}: holds other things than a DATASET; name a new or empty folder")
    known = refuse_newer(out)  # before anything is touched
    (out / "records").mkdir(parents=True, exist_ok=True)
    return known


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
    unused: int = 0  # bytes in the pack that no record names
    first_rejected: str = ""


def _write_tables(out: Path, videos: list[Video], settings: dict, stats: bool, export: Sequence[str]) -> Totals:
    """Make the tables and frames.npy from the records. dataset.json comes last: with it, all the rest is there."""
    rows = {"videos": [], "shots": [], "segments": [], "rejected": []}
    frames, facts, first, totals = [], {}, 0, Totals()
    ends: dict[str, int] = {}
    parts: dict[tuple[str, int], int] = {}  # bytes of each video's part of the pack; two names of one file share one
    for name in ("stats", "export"):  # made anew: what stood there may be of another rule
        shutil.rmtree(out / name, ignore_errors=True)
    for video in videos:
        record = read_record(record_path(out, video.name))
        note, count = record.note, len(record.frames)
        if note.get("pack"):
            ends[note["pack"]] = max(ends.get(note["pack"], 0), note["pack_end"])
            parts[note["pack"], note["pack_end"]] = int(record.frames["size"].sum(dtype=np.int64))
        if "reason" not in note and count < settings["min_length"]:
            note["reason"] = f"too short: {count} frames, fewer than {settings['min_length']}" + (
                f" ({note['note']})" if "note" in note else "")
        if "reason" in note:
            rows["rejected"].append((video.name, note["reason"]))
            continue
        shots = find_shots(record.curves, rule=settings["rule"], threshold=settings["threshold"])
        times = record.times()
        path, size, mtime_ns = note["identity"]
        rows["videos"].append((video.name, path, count, note["fps"], note["width"], note["height"], note["codec"],
                               note["rotation"], size, mtime_ns, note.get("note", "")))
        facts[video.name] = dict(path=path, frames=count, codec=note["codec"], rotation=note["rotation"], size=size,
                                 mtime_ns=mtime_ns, pack=note.get("pack", ""), first=first)
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
        totals.damaged += "note" in note
        if stats:
            write_stats(out / "stats" / f"{video.name}.csv", record)
        for kind in export:
            try:
                write_export(out / "export" / f"{video.name}.{kind}", kind, record, shots, out / "pack")
            except EruvError as error:  # a page shows pictures; the file of a video that was kept may be gone
                console.print(f"{video.name}: no {kind} ({error})", markup=False, highlight=False, soft_wrap=True)
    every_frame = np.concatenate(frames) if frames else np.zeros(0, FRAME)
    trim_pack(out / "pack", ends, sealed_sizes(out))

    write_csv(out / "videos.csv", VIDEO_COLUMNS, rows["videos"])
    write_csv(out / "shots.csv", SHOT_COLUMNS, rows["shots"])
    write_csv(out / "segments.csv", SEGMENT_COLUMNS, rows["segments"])
    write_csv(out / "rejected.csv", ("video", "reason"), rows["rejected"])
    write_text(out / "videos.json", json.dumps(facts) + "\n")
    (out / "packs.json").unlink(missing_ok=True)  # of format 2
    place = {row[0]: number for number, row in enumerate(rows["videos"])}
    segments = np.array([(segment, place[video], *piece) for segment, video, *piece in rows["segments"]], SEGMENT)
    for name, array in (("frames.npy", every_frame), ("segments.npy", segments)):
        write_aside(out / name, lambda file, array=array: np.save(file, array))
    content = json.dumps(settings, indent=1) + "\n"
    seal_dataset(out, content)
    write_text(out / "dataset.json", content)
    for name, table in rows.items():
        setattr(totals, name, len(table))
    totals.frames = len(every_frame)
    totals.unused = max(0, sum(file.stat().st_size for file in pack_files(out / "pack")) - sum(parts.values()))
    if rows["rejected"]:
        totals.first_rejected = ": ".join(rows["rejected"][0])
    return totals


def _summarise(out: Path, totals: Totals, plan: Plan, seconds: float) -> None:
    """Say what the DATASET holds now."""
    for count, kind, what in ((len(plan.removed), "video", "removed"),
                              (plan.forgotten, "unusable video", "forgotten")):
        if count:
            console.print(f"{count:,} {kind}{'s' * (count > 1)} no longer named {'are' if count > 1 else 'is'} {what}",
                          highlight=False)
    disk = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    table = Table(title=escape(str(out)), show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    damaged = f"{totals.damaged} damaged, used up to there: see note in videos.csv" if totals.damaged else ""
    for name, value, remark in (
        ("videos", f"{totals.videos:,}", damaged),
        ("hours", f"{totals.seconds / 3600:,.2f}", f"{totals.frames:,} frames"),
        ("shots", f"{totals.shots:,}", f"{totals.gradual:,} after a gradual transition"),
        ("segments", f"{totals.segments:,}", ""),
        ("rejected", f"{totals.rejected:,}", escape(f"see {out}/rejected.csv") if totals.rejected else ""),
        ("disk", f"{disk / 1e6:,.1f} MB", f"{disk_size(totals.unused)} of it no longer used" if totals.unused else ""),
        ("scanned", f"{len(plan.todo):,}", f"in {seconds:.1f} s" if plan.todo else "nothing was new or changed"),
    ):
        table.add_row(name, value, remark)
    console.print(table)


@contextmanager
def _only_run(out: Path) -> Iterator[None]:
    """Hold the DATASET's lock; a second run says so and stops. The system lets go of it however this process ends."""
    with open(out / ".lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EruvError(f"{out}: another prepare is at work on this DATASET; wait for it to end") from None
        yield


def height_by_width(text: str) -> tuple[int, int]:
    """(128, 171) of "128x171", for argparse."""
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 128x171")
    return int(height), int(width)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eruv_dali.prepare", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", metavar="VIDEO_OR_DIR", help="video files, or folders of them")
    parser.add_argument("--out", required=True, metavar="DATASET", help="folder to write")
    unnamed = parser.add_mutually_exclusive_group()
    unnamed.add_argument("--add", action="store_true",
                         help="keep the videos that the DATASET holds already, though they are not named now")
    unnamed.add_argument("--remove", action="store_true",
                         help="let go of videos that the DATASET holds and that are not named or not found now")
    parser.add_argument("--device", default="auto", choices=DEVICES)
    parser.add_argument("--pack", default="jpeg", choices=PACK_KINDS,
                        help="keep a decode-once copy of the frames (default jpeg: about 9 KB a frame)")
    parser.add_argument("--rule", default="robust", choices=RULES, help="how shots are found")
    parser.add_argument("--threshold", type=float, help="on the HOG difference, in place of the rule's own"
                        " (robust 0.06, the others 0.0715); higher finds less")
    parser.add_argument("--segment-length", type=int, default=SEGMENT_LENGTH, help="frames (default %(default)s)")
    parser.add_argument("--min-length", type=int, default=MIN_LENGTH,
                        help="frames; shorter segments are dropped (default %(default)s)")
    parser.add_argument("--frame-size", type=height_by_width, default=FRAME_SIZE, metavar="HxW",
                        help="size of the frames that clips are cropped from (default 128x171)")
    parser.add_argument("--workers", type=int, help="processes (default: one a core; one on a GPU)")
    parser.add_argument("--time-limit", type=float, default=TIME_LIMIT, metavar="SECONDS",
                        help="a video that gives no new frames for so long, twice, is given up (default %(default)g)")
    parser.add_argument("--stats", action="store_true", help="write the differences between frames to stats/VIDEO.csv")
    parser.add_argument("--export", nargs="+", default=[], choices=EXPORTS,
                        help="write each video's shots to export/VIDEO.FORMAT")
    args = parser.parse_args()
    prepare(args.videos, args.out, device=args.device, pack=args.pack, rule=args.rule, threshold=args.threshold,
            segment_length=args.segment_length, min_length=args.min_length, frame_size=args.frame_size,
            workers=args.workers, time_limit=args.time_limit, stats=args.stats, export=args.export, add=args.add,
            remove=args.remove)


if __name__ == "__main__":
    run_program(main)
