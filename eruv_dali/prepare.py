"""Prepare raw videos for pre-training: decode each once, find its shots, cut them into segments, write a DATASET.

    python -m eruv_dali.prepare my_videos/ --out my_dataset --pack jpeg

Run it again on the same DATASET and it does only what is new or changed; killed at any moment, it goes on from where
it was. Each video is one transaction: a file in DATASET/records. The tables are made from the records at the end.
"""

import argparse
import fcntl
import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eruv_dali.dataset import (
    FORMAT,
    FRAME,
    SEGMENT_COLUMNS,
    SHOT_COLUMNS,
    VIDEO_COLUMNS,
    Dataset,
    read_settings,
)
from eruv_dali.decode import decode_pictures
from eruv_dali.device import DEVICES, resolve_device
from eruv_dali.errors import EruvError, run_program
from eruv_dali.files import write_aside, write_csv, write_text
from eruv_dali.pack import PACK_KINDS, PackWriter, trim_pack
from eruv_dali.segments import MIN_LENGTH, SEGMENT_LENGTH, cut_segments
from eruv_dali.shots import RULES, ShotCurves, ShotStatistics, find_shots
from eruv_dali.videos import DamagedVideo, UnusableVideo, Video, find_videos, open_video

HOG_SIZE = (96, 128)  # height, width of the frames that shots are found on (UntrimmedNets' setting)
FRAME_SIZE = (128, 171)  # height, width of the frames that clips are cropped from (the paper's)
JPEG_FRAME_BYTES = 0.4  # of a packed JPEG frame, per pixel: for the forecast of disk space

console = Console(stderr=True)


@dataclass(frozen=True)
class Scan:
    """What decides how a video is decoded; a record made with other settings is made again."""

    frame_height: int
    frame_width: int
    pack: str


def prepare(
    paths: Sequence[str | Path], out: str | Path, *, device: str = "auto", pack: str = "jpeg", rule: str = "robust",
    threshold: float | None = None, segment_length: int = SEGMENT_LENGTH, min_length: int = MIN_LENGTH,
    frame_size: tuple[int, int] = FRAME_SIZE, workers: int | None = None,
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

    Raises:
        EruvError: bad arguments, no videos, not one usable video, or another run is at work on `out`.
    """
    device = resolve_device(device)
    if pack not in PACK_KINDS:
        raise EruvError(f"pack {pack!r} is not one of {', '.join(PACK_KINDS)}")
    if rule not in RULES:
        raise EruvError(f"rule {rule!r} is not one of {', '.join(RULES)}")
    if min(frame_size) < 8:
        raise EruvError(f"frame size {frame_size[0]}x{frame_size[1]} is too small; give at least 8x8")
    if not 1 <= min_length <= segment_length:
        raise EruvError(f"min_length {min_length} must lie between 1 and segment_length {segment_length}")
    workers = workers or (1 if device == "gpu" else os.cpu_count() or 1)
    videos = find_videos(paths)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise EruvError(f"{out}: is a file; name a folder for the DATASET")
    if out.is_dir() and any(out.iterdir()) and not (out / "records").is_dir():
        raise EruvError(f"{out}: holds other things than a DATASET; name a new or empty folder")
    read_settings(out)  # a DATASET of another version is refused before anything is touched

    scan = Scan(*frame_size, pack)
    records = out / "records"
    records.mkdir(parents=True, exist_ok=True)
    with _only_run(out):
        started = time.monotonic()
        todo = _forget_stale(out, videos, scan)
        if todo:
            _forecast_disk(out, todo, scan)
            ShotStatistics(device=device)  # says once, here, where it will have to be slow
            _scan_all(out, todo, scan, device, workers)
        settings = {
            "format": FORMAT, **asdict(scan), "rule": rule, "threshold": threshold, "segment_length": segment_length,
            "min_length": min_length,
        }
        counts = _write_tables(out, videos, settings)
    if not counts["videos"]:
        with open(out / "rejected.csv") as file:
            first = file.read().splitlines()[1]
        name, reason = first.split(",", 1)
        raise EruvError(f"none of the {len(videos)} videos can be used; {name}: {reason} (all in {out}/rejected.csv)")
    console.print(
        f"{out}: {counts['videos']} videos, {counts['frames']} frames, {counts['shots']} shots, {counts['segments']} "
        f"segments, {counts['rejected']} rejected; {len(todo)} scanned in {time.monotonic() - started:.1f} s",
        highlight=False, markup=False,
    )
    return Dataset(out)


def record_path(out: Path, video: Video) -> Path:
    """Where the record of a video lies; its name says nothing of the video's, which may hold any character."""
    return out / "records" / f"{hashlib.sha256(video.name.encode()).hexdigest()[:32]}.npz"


def _forget_stale(out: Path, videos: list[Video], scan: Scan) -> list[Video]:
    """Delete records that no longer hold (video gone, changed, or other settings); return the videos to scan."""
    wanted = {record_path(out, video): video for video in videos}
    used: dict[str, int] = {}
    current = set()
    for path in (out / "records").glob("*.npz"):
        note = _read_note(path)
        video = wanted.get(path)
        if video is None or note["scan"] != asdict(scan) or note["identity"] != _identity(video):
            path.unlink()
            continue
        current.add(path)
        if note.get("pack"):
            used[note["pack"]] = max(used.get(note["pack"], 0), note["pack_end"])
    trim_pack(out / "pack", used)
    return [video for path, video in wanted.items() if path not in current]


def _identity(video: Video) -> list:
    """What tells that a file is still the one that was scanned."""
    status = video.path.stat()
    return [str(video.path.resolve()), status.st_size, status.st_mtime_ns]


def _forecast_disk(out: Path, videos: list[Video], scan: Scan) -> None:
    """Say what the pack will take on the disk, and refuse when it is plainly more than there is."""
    if scan.pack == "none":
        return
    frames = sum(_expected_frames(video) for video in videos)
    frame_bytes = scan.frame_height * scan.frame_width * (3 if scan.pack == "raw" else JPEG_FRAME_BYTES)
    needed, free = frames * frame_bytes, shutil.disk_usage(out).free
    console.print(f"{scan.pack} pack of about {frames:,} frames: about {needed / 1e9:.2f} GB of disk", highlight=False)
    if needed > free:
        raise EruvError(f"{out}: {free / 1e9:.1f} GB free, the pack needs about {needed / 1e9:.1f} GB; "
                        "choose another disk, --pack jpeg, or --pack none")


def _expected_frames(video: Video) -> int:
    """What the container says; 0 where it says nothing."""
    try:
        container, stream = open_video(video.path)
    except UnusableVideo:
        return 0
    with container:
        seconds = (container.duration or 0) / 1e6
        return stream.frames or round(seconds * float(stream.average_rate or 0))


def _scan_all(out: Path, videos: list[Video], scan: Scan, device: str, workers: int) -> None:
    """Scan videos in worker processes, with a progress bar. A worker that dies rejects the video it was on."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    columns = [TextColumn("[bold]prepare"), BarColumn(), MofNCompleteColumn(), TextColumn("videos"),
               TextColumn("{task.fields[rate]:,.0f} frames/s"), TimeRemainingColumn()]
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("prepare", total=len(videos), rate=0.0)
        started, frames = time.monotonic(), 0
        for count in _scan_each(out, videos, scan, device, workers, threads):
            frames += count
            progress.update(task, advance=1, rate=frames / (time.monotonic() - started))


def _scan_each(
    out: Path, videos: list[Video], scan: Scan, device: str, workers: int, threads: int
) -> Iterator[int]:
    """Scan each video, yield how many frames it had."""
    if workers == 1:
        _start_worker(out, scan, device, threads)
        for video in videos:
            yield scan_video(video)
        _WORKER["writer"].close()
        return
    # A forked child of a process that runs threads (DALI, torch) may hang, so the workers start afresh.
    context = multiprocessing.get_context("spawn")
    left = list(videos)
    while left:
        with ProcessPoolExecutor(workers, context, _start_worker, (out, scan, device, threads)) as pool:
            jobs = {pool.submit(scan_video, video): video for video in left}
            try:
                for job in as_completed(jobs):
                    yield job.result()
                return
            except BrokenProcessPool:
                pass
        left = [video for video in left if not record_path(out, video).exists()]
        # A decoder crashed the process. Which video it was on is not known, so the rest go one by one.
        for video in left:
            with ProcessPoolExecutor(1, context, _start_worker, (out, scan, device, threads)) as pool:
                try:
                    yield pool.submit(scan_video, video).result()
                except BrokenProcessPool:
                    _write_record(out, video, scan, {"reason": "decoding it crashed the decoder"}, {})
                    yield 0
        return


_WORKER: dict = {}  # what a worker process keeps from video to video


def _start_worker(out: Path, scan: Scan, device: str, threads: int) -> None:
    if multiprocessing.parent_process() is not None:
        logging.getLogger("eruv_dali").setLevel(logging.ERROR)  # the main process has said it
    _WORKER.update(out=out, scan=scan, device=device, threads=threads, writer=PackWriter(out / "pack", scan.pack))


def scan_video(video: Video) -> int:
    """Decode one video and write its record: curves for the shot rules, an index of its frames, its part of the pack.

    Returns the number of frames. A video that cannot be used gets a record that says why.
    """
    out, scan, writer = _WORKER["out"], _WORKER["scan"], _WORKER["writer"]
    packing = scan.pack != "none"
    file, offset = writer.begin_video() if packing else ("", 0)
    statistics = ShotStatistics(device=_WORKER["device"])
    stamps, keys, sizes, note = [], [], [], {}
    picture_sizes = [HOG_SIZE] + [(scan.frame_height, scan.frame_width)] * packing
    try:
        for chunk in decode_pictures(video.path, picture_sizes, device=_WORKER["device"], threads=_WORKER["threads"]):
            statistics.add(chunk.pictures[0])
            stamps.append(chunk.pts)
            keys.append(chunk.key)
            note = note or dict(chunk.stream)
            if packing:
                sizes += [writer.add(picture) for picture in chunk.pictures[1]]
    except UnusableVideo as error:
        if packing:
            writer.drop_video(offset)
        _write_record(out, video, scan, {"reason": str(error)}, {})
        return 0
    except DamagedVideo as error:
        note["note"] = f"{error}; the frames before it are used"
    except OSError as error:
        raise EruvError(f"{out}: cannot write the pack ({error.strerror}); free some space and run again") from None

    pts = np.concatenate(stamps)
    frames = np.zeros(len(pts), FRAME)
    frames["pts"], frames["key"] = pts, np.concatenate(keys)
    if packing:
        writer.end_video()
        frames["size"], frames["crc"] = np.array(sizes, np.uint32).T
        frames["offset"] = offset + np.concatenate([[0], np.cumsum(frames["size"][:-1], dtype=np.int64)])
        note.update(pack=file, pack_end=int(offset + frames["size"].sum(dtype=np.int64)))
    curves = {f"curve_{field.name}": getattr(curve, field.name)
              for curve in [statistics.finish()] for field in fields(curve)}
    _write_record(out, video, scan, note, {"frames": frames, **curves})
    return len(pts)


def _write_record(out: Path, video: Video, scan: Scan, note: dict, arrays: dict[str, np.ndarray]) -> None:
    note = {"video": video.name, "scan": asdict(scan), "identity": _identity(video), **note}
    write_aside(record_path(out, video), lambda file: np.savez(file, note=np.array(json.dumps(note)), **arrays))


def _read_note(path: Path) -> dict:
    with np.load(path) as record:
        return json.loads(str(record["note"]))


def _write_tables(out: Path, videos: list[Video], settings: dict) -> Counter:
    """Make the tables and frames.npy from the records. dataset.json comes last: with it, all the rest is there."""
    rows = {"videos": [], "shots": [], "segments": [], "rejected": []}
    frames = []
    for video in videos:
        with np.load(record_path(out, video)) as record:
            note = json.loads(str(record["note"]))
            count = len(record["frames"]) if "frames" in record else 0
            if "reason" not in note and count < settings["min_length"]:
                note["reason"] = f"too short: {count} frames, fewer than {settings['min_length']}" + (
                    f" ({note['note']})" if "note" in note else "")
            if "reason" in note:
                rows["rejected"].append((video.name, note["reason"]))
                continue
            frames.append(record["frames"])
            curves = ShotCurves(**{field.name: record[f"curve_{field.name}"] for field in fields(ShotCurves)})
        shots = find_shots(curves, rule=settings["rule"], threshold=settings["threshold"])
        path, size, mtime_ns = note["identity"]
        rows["videos"].append((video.name, path, count, note["fps"], note["width"], note["height"], note["codec"],
                               note["rotation"], size, mtime_ns, note.get("pack", ""),
                               note.get("note", "")))
        rows["shots"] += [(video.name, number, shot.start, shot.end, f"{shot.score:.6f}")
                          for number, shot in enumerate(shots)]
        cut = cut_segments([(shot.start, shot.end) for shot in shots], length=settings["segment_length"],
                           min_length=settings["min_length"])
        rows["segments"] += [(len(rows["segments"]) + place, video.name, *piece) for place, piece in enumerate(cut)]
    every_frame = np.concatenate(frames) if frames else np.zeros(0, FRAME)

    write_csv(out / "videos.csv", VIDEO_COLUMNS, rows["videos"])
    write_csv(out / "shots.csv", SHOT_COLUMNS, rows["shots"])
    write_csv(out / "segments.csv", SEGMENT_COLUMNS, rows["segments"])
    write_csv(out / "rejected.csv", ("video", "reason"), rows["rejected"])
    write_aside(out / "frames.npy", lambda file: np.save(file, every_frame))
    write_text(out / "dataset.json", json.dumps(settings, indent=1) + "\n")
    return Counter({**{name: len(table) for name, table in rows.items()}, "frames": len(every_frame)})


@contextmanager
def _only_run(out: Path) -> Iterator[None]:
    """Hold the DATASET's lock; a second run says so and stops. The system lets go of it however this process ends."""
    with open(out / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EruvError(f"{out}: another prepare is at work on this DATASET; wait for it to end") from None
        yield


def _size(text: str) -> tuple[int, int]:
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
    parser.add_argument("--threshold", type=float, help="on the HOG difference, in place of the rule's own")
    parser.add_argument("--segment-length", type=int, default=SEGMENT_LENGTH, help="frames (default %(default)s)")
    parser.add_argument("--min-length", type=int, default=MIN_LENGTH,
                        help="frames; shorter segments are dropped (default %(default)s)")
    parser.add_argument("--frame-size", type=_size, default=FRAME_SIZE, metavar="HxW",
                        help="size of the frames that clips are cropped from (default 128x171)")
    parser.add_argument("--workers", type=int, help="processes (default: one a core; one on a GPU)")
    args = parser.parse_args()
    prepare(args.videos, args.out, device=args.device, pack=args.pack, rule=args.rule, threshold=args.threshold,
            segment_length=args.segment_length, min_length=args.min_length, frame_size=args.frame_size,
            workers=args.workers)


if __name__ == "__main__":
    run_program(main)
