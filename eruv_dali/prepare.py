"""Prepare raw videos for pre-training: decode each once, find its shots, cut them into segments, write a DATASET.

    python -m eruv_dali.prepare my_videos/ --out my_dataset --pack jpeg

As a shot detector alone, with an edit list and a web page for every video:

    python -m eruv_dali.prepare my_videos/ --out my_dataset --pack none --export edl html
    python -m eruv_dali.prepare my_videos/ --out my_dataset --pack none --export edl html --threshold 0.08

The second run decodes nothing: the differences between frames are kept. Run it again on the same DATASET and it does
only what is new or changed; killed at any moment, it goes on from where it was. Each video is one transaction: a file
in DATASET/records. The tables are made from the records at the end.

    DATASET/videos.csv, shots.csv, segments.csv, rejected.csv (with the reason)      columns: see eruv_dali/dataset.py
    DATASET/stats/VIDEO.csv       with --stats: how much every frame differs from the one before it
    DATASET/export/VIDEO.FORMAT   with --export
"""

import argparse
import fcntl
import functools
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from eruv_dali.columns import FRAME, SEGMENT, SEGMENT_COLUMNS, SHOT_COLUMNS, VIDEO_COLUMNS
from eruv_dali.dataset import FORMAT, Dataset, refuse_newer
from eruv_dali.device import DEVICES, resolve_device
from eruv_dali.errors import EruvError, run_program
from eruv_dali.files import write_aside, write_csv, write_text
from eruv_dali.pack import PACK_KINDS, PackReader, first_damaged, trim_pack
from eruv_dali.records import BadRecord, identity, read_record, record_path, write_record
from eruv_dali.scan import Job, Probe, Scan, Scanner
from eruv_dali.seal import SEAL, Seal, seal_dataset
from eruv_dali.segments import MIN_LENGTH, SEGMENT_LENGTH, cut_segments
from eruv_dali.shots import RULES, ShotStatistics, find_shots
from eruv_dali.shots.export import EXPORTS, write_export, write_stats
from eruv_dali.videos import Video, find_videos
from eruv_dali.workers import Done, Lost, Workers
from eruv_dali.workers import Progress as Told

FRAME_SIZE = (128, 171)  # height, width of the frames that clips are cropped from (the paper's)
JPEG_FRAME_BYTES = 0.4  # of a packed JPEG frame, per pixel: for the forecast of disk space
TIME_LIMIT = 120.0  # seconds; the slowest frames seen (2560 x 1600 AV1 on one core) take a tenth of a second

console = Console(stderr=True)


def prepare(
    paths: Sequence[str | Path], out: str | Path, *, device: str = "auto", pack: str = "jpeg", rule: str = "robust",
    threshold: float | None = None, segment_length: int = SEGMENT_LENGTH, min_length: int = MIN_LENGTH,
    frame_size: tuple[int, int] = FRAME_SIZE, workers: int | None = None, time_limit: float = TIME_LIMIT,
    stats: bool = False, export: Sequence[str] = (),
) -> Dataset:
    """Make or bring up to date the DATASET `out` from video files and folders, and open it.

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

    Raises:
        EruvError: bad arguments, no videos, not one usable video, or another run is at work on `out`.
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
    workers = workers or (1 if device == "gpu" else os.cpu_count() or 1)
    videos = find_videos(paths)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise EruvError(f"{out}: is a file; name a folder for the DATASET")
    if out.is_dir() and any(out.iterdir()) and not (out / "records").is_dir():
        raise EruvError(f"{out}: holds other things than a DATASET; name a new or empty folder")
    refuse_newer(out)  # before anything is touched

    scan = Scan(*frame_size, pack)
    records = out / "records"
    records.mkdir(parents=True, exist_ok=True)
    with _only_run(out):
        started = time.monotonic()
        todo = _forget_stale(out, videos, scan)
        if todo:
            ShotStatistics(device=device)  # compiles the kernels once, or says here where it will have to be slow
            _scan_all(out, todo, scan, device, min(workers, len(todo)), time_limit)
        seconds = time.monotonic() - started
        settings = {
            "format": FORMAT, **asdict(scan), "rule": rule, "threshold": threshold, "segment_length": segment_length,
            "min_length": min_length,
        }
        totals = _write_tables(out, videos, settings, stats, export)
        if not totals.videos:
            raise EruvError(f"none of the {len(videos)} videos can be used; {totals.first_rejected} "
                            f"(all in {out}/rejected.csv)")
        _summarise(out, totals, len(todo), seconds)
        return Dataset(out)


def _forget_stale(out: Path, videos: list[Video], scan: Scan) -> list[Video]:
    """Delete records that no longer hold (video gone, changed, or other settings); return the videos to scan."""
    wanted = {record_path(out, video.name): video for video in videos}
    used: dict[str, int] = {}
    current, stale = set(), []
    for folder in (out, out / "records"):
        for left in folder.glob(".*.aside"):  # of a run that was killed while it wrote
            left.unlink()
    suspect = _suspect_packs(out)
    packed = PackReader(out / "pack")
    for path in (out / "records").glob("*.npz"):
        video = wanted.get(path)
        try:
            record = read_record(path)
        except BadRecord:  # damaged, or of another version
            stale.append(path)
            continue
        note = record.note
        if video is None or note["scan"] != asdict(scan) or note["identity"] != identity(video) or (
            "pack" in note and _pack_lost(packed, note, record.frames, note["pack"] in suspect)
        ):
            stale.append(path)
            continue
        current.add(path)
        if note.get("pack"):
            used[note["pack"]] = max(used.get(note["pack"], 0), note["pack_end"])
    packed.close()
    todo = [video for path, video in wanted.items() if path not in current]
    if stale or todo:
        (out / "dataset.json").unlink(missing_ok=True)  # killed from here on, it is no DATASET until run again
    for path in stale:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    trim_pack(out / "pack", used)
    return todo


def _suspect_packs(out: Path) -> set[str]:
    """Pack files that have been written to since they were sealed, or are gone."""
    if not (out / SEAL).exists() and not (out / "dataset.json").exists():
        return set()  # the first run was cut short: what a record names was made durable before the record
    try:
        seal = Seal(out)
    except EruvError:  # gone or damaged: any of them may be
        return {path.name for path in (out / "pack").glob("*.bin")}
    return {Path(file).name for file in seal.files if file.startswith("pack/") and not seal.untouched(file)}


def _pack_lost(packed: PackReader, note: dict, frames: np.ndarray, suspect: bool) -> bool:
    """The pack no longer holds this video as it was written; its bytes are looked at only in a `suspect` file."""
    file = packed.folder / note["pack"]
    if not file.is_file() or file.stat().st_size < note["pack_end"]:
        return True
    return suspect and first_damaged(packed, note["pack"], frames) is not None


def _scan_all(out: Path, videos: list[Video], scan: Scan, device: str, workers: int, time_limit: float) -> None:
    """Scan videos in worker processes, with a progress bar. One that hangs or crashes the decoder costs itself alone.

    What such a video gave before it did so is scanned again, that far and no further, and used.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    make = functools.partial(Scanner, out, scan, device, threads)
    columns = [TextColumn("[bold]{task.description}"), BarColumn(), TextColumn("{task.fields[done]}/{task.fields[all]} "
               "videos, {task.fields[rate]:,.0f} frames/s,"), TimeRemainingColumn(), TextColumn("left")]
    with Workers(make, count=workers, patience=time_limit) as pool, Progress(*columns, console=console) as bar:
        line = bar.add_task("prepare", total=None, done=0, all=len(videos), rate=0.0)
        expected = {event.task.video: event.result if isinstance(event, Done) else 0
                    for event in pool.run(deque(map(Probe, videos))) if not isinstance(event, Told)}
        _check_disk(out, sum(expected.values()), scan)
        seen, done, started = dict.fromkeys(videos, 0), 0, time.monotonic()
        jobs = deque(Job(video) for video in videos)
        for event in pool.run(jobs):
            video = event.task.video
            if isinstance(event, Told):
                seen[video] = event.value
            elif isinstance(event, Done):
                seen[video] = expected[video] = event.result
                done += 1
            elif seen[video] and event.task.limit is None:
                jobs.append(Job(video, seen[video], f"{_trouble(event, time_limit)} after frame {seen[video] - 1}; "
                                                    "the frames before it are used"))
            else:
                note = {"identity": identity(video), "scan": asdict(scan), "reason": _trouble(event, time_limit)}
                write_record(out, video, note)
                seen[video] = expected[video] = 0
                done += 1
            frames = sum(seen.values())
            total = sum(max(expected[video], seen[video]) for video in videos)
            bar.update(line, completed=frames, total=total, done=done, rate=frames / (time.monotonic() - started))


def _trouble(lost: Lost, time_limit: float) -> str:
    return f"decoding gave nothing for {time_limit:g} s" if lost.hung else "decoding crashed the decoder"


def _check_disk(out: Path, frames: int, scan: Scan) -> None:
    """Say what the pack will take on the disk, and refuse when it is plainly more than there is."""
    if scan.pack == "none":
        return
    frame_bytes = scan.frame_height * scan.frame_width * (3 if scan.pack == "raw" else JPEG_FRAME_BYTES)
    needed, free = frames * frame_bytes, shutil.disk_usage(out).free
    console.print(f"{scan.pack} pack of about {frames:,} frames: about {needed / 1e9:.2f} GB of disk", highlight=False)
    if needed > free:
        raise EruvError(f"{out}: {free / 1e9:.1f} GB free, the pack needs about {needed / 1e9:.1f} GB; "
                        "choose another disk, --pack jpeg, or --pack none")


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
    first_rejected: str = ""


def _write_tables(out: Path, videos: list[Video], settings: dict, stats: bool, export: Sequence[str]) -> Totals:
    """Make the tables and frames.npy from the records. dataset.json comes last: with it, all the rest is there."""
    rows = {"videos": [], "shots": [], "segments": [], "rejected": []}
    frames, facts, first, totals = [], {}, 0, Totals()
    for name in ("stats", "export"):  # made anew: what stood there may be of another rule
        shutil.rmtree(out / name, ignore_errors=True)
    for video in videos:
        record = read_record(record_path(out, video.name))
        note, count = record.note, len(record.frames)
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
            write_export(out / "export" / f"{video.name}.{kind}", kind, record, shots, out / "pack")
    every_frame = np.concatenate(frames) if frames else np.zeros(0, FRAME)

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
    settings = json.dumps(settings, indent=1) + "\n"
    seal_dataset(out, settings)
    write_text(out / "dataset.json", settings)
    for name, table in rows.items():
        setattr(totals, name, len(table))
    totals.frames = len(every_frame)
    if rows["rejected"]:
        totals.first_rejected = ": ".join(rows["rejected"][0])
    return totals


def _summarise(out: Path, totals: Totals, scanned: int, seconds: float) -> None:
    """Say what the DATASET holds now."""
    disk = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    table = Table(title=str(out), show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    damaged = f"{totals.damaged} damaged, used up to there: see note in videos.csv" if totals.damaged else ""
    for name, value, remark in (
        ("videos", f"{totals.videos:,}", damaged),
        ("hours", f"{totals.seconds / 3600:,.2f}", f"{totals.frames:,} frames"),
        ("shots", f"{totals.shots:,}", f"{totals.gradual:,} after a gradual transition"),
        ("segments", f"{totals.segments:,}", ""),
        ("rejected", f"{totals.rejected:,}", f"see {out}/rejected.csv" if totals.rejected else ""),
        ("disk", f"{disk / 1e6:,.1f} MB", ""),
        ("scanned", f"{scanned:,}", f"in {seconds:.1f} s" if scanned else "nothing was new or changed"),
    ):
        table.add_row(name, value, remark)
    console.print(table)


@contextmanager
def _only_run(out: Path) -> Iterator[None]:
    """Hold the DATASET's lock; a second run says so and stops. The system lets go of it however this process ends."""
    with open(out / ".lock", "w") as lock:
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
                        help="a video that gives no new frames for so long is given up (default %(default)g)")
    parser.add_argument("--stats", action="store_true", help="write the differences between frames to stats/VIDEO.csv")
    parser.add_argument("--export", nargs="+", default=[], choices=EXPORTS,
                        help="write each video's shots to export/VIDEO.FORMAT")
    args = parser.parse_args()
    prepare(args.videos, args.out, device=args.device, pack=args.pack, rule=args.rule, threshold=args.threshold,
            segment_length=args.segment_length, min_length=args.min_length, frame_size=args.frame_size,
            workers=args.workers, time_limit=args.time_limit, stats=args.stats, export=args.export)


if __name__ == "__main__":
    run_program(main)
