"""A run of prepare: check arguments, find videos, make a plan, scan the videos, write the tables."""


import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from eruv_dali.console import console
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.opened import FORMAT, refuse_newer
from eruv_dali.dataset.pack import PACK_KINDS, check_quality
from eruv_dali.dataset.records import Scan
from eruv_dali.dataset.segments import MIN_LENGTH, SEGMENT_LENGTH
from eruv_dali.device import cores, resolve_device
from eruv_dali.errors import EruvError
from eruv_dali.prepare.export import EXPORTS
from eruv_dali.prepare.plan import Plan, begin, end, make_plan
from eruv_dali.prepare.scan_all import disk_size, scan_all
from eruv_dali.prepare.tables import Totals, write_tables
from eruv_dali.shots import RULES, ShotStatistics
from eruv_dali.video.closed_groups import check_encoder
from eruv_dali.video.find import find_videos
from eruv_dali.video.frames import FRAME_SIZE

# On a GPU a video pack's encoder, x264, has one thread for each video, and describing frames stops for each chunk's
# curves. Every worker takes up to an eighth of the GPU's memory for decoded frames. NVDEC has no limit of sessions.
GPU_WORKERS = 3
TIME_LIMIT = 120.0  # seconds; the slowest frames measured (2560 x 1600 AV1 on one core) take a tenth of a second


def prepare(
    paths: Sequence[str | Path], out: str | Path, *, device: str = "auto", pack: str = "video", rule: str = "robust",
    threshold: float | None = None, segment_length: int = SEGMENT_LENGTH, min_length: int = MIN_LENGTH,
    frame_size: tuple[int, int] = FRAME_SIZE, quality: int | None = None, workers: int | None = None,
    time_limit: float = TIME_LIMIT,
    stats: bool = False, export: Sequence[str] = (), add: bool = False, remove: bool = False,
) -> Dataset:
    """Create or update the DATASET `out` from video files and folders, and open it.

    If `out` holds usable videos that are not among those found, nothing is changed unless `add` or `remove` is set.

    Args:
        paths: video files, or folders to search for them.
        out: the DATASET folder.
        device: "auto", "gpu" or "cpu": where frames are decoded and described.
        pack: "video", "jpeg" or "raw" keeps every frame, resized to `frame_size`, so that training never decodes the
            original again; "none" reads clips from the original files.
        quality: of the pack. video: x264's constant rate factor, 0 to 51, lower is better; jpeg: 1 to 95. None: the
            kind's own, `dataset.pack.QUALITY`.
        rule: how shots are found, one of `shots.RULES`; `threshold` overrides the rule's own.
        segment_length, min_length: in frames; longer shots are cut, shorter pieces are dropped.
        frame_size: height and width of the frames that clips will be cropped from.
        workers: processes; by default one per core (on a GPU at most GPU_WORKERS).
        time_limit: seconds that a video may take for its next frames before it is given up.
        stats: write stats/VIDEO.csv, the differences between frames that the rules work on.
        export: formats of `shots.export.EXPORTS` in which to write each video's shots to export/.
        add: keep all videos that `out` holds, whether or not they are found now, and add the videos found. The record
            of a kept video stays unchanged, even if its file is gone, unless other settings require a new scan.
        remove: remove the videos that `out` holds and that are not found now.

    Raises:
        VideosNotNamed: `out` holds videos that are not found, and neither `add` nor `remove` is set.
        EruvError: bad arguments, no videos, no usable video, two videos of one name, a video to keep that would
            have to be scanned again and is missing, `out` cannot be written, or another run is working on it.
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
        raise EruvError("add and remove cannot both be set; one keeps the videos not given, the other removes them")
    workers = workers or (min(GPU_WORKERS, cores()) if device == "gpu" else cores())
    videos = find_videos(paths)
    out, scan = Path(out), Scan(*frame_size, pack, check_quality(pack, quality))
    if pack == "video":
        check_encoder()
    settings = {
        "format": FORMAT, **asdict(scan), "rule": rule, "threshold": threshold, "segment_length": segment_length,
        "min_length": min_length,
    }
    try:
        known = claim(out)
        with only_run(out):
            started = time.monotonic()
            shortest = min(min_length, (known or settings).get("min_length", min_length))
            plan = make_plan(out, videos, scan, shortest=shortest, add=add, remove=remove)
            if plan.todo:
                ShotStatistics(device=device)  # compiles the kernels once, or logs here that it will be slow
                scan_all(out, plan.todo, scan, device=device, workers=min(workers, len(plan.todo)),
                         time_limit=time_limit, ready=lambda: begin(out, plan))
            else:
                begin(out, plan)
            end(plan)
            seconds = time.monotonic() - started
            totals = write_tables(out, plan.videos, settings, stats, export)
            if not totals.videos:
                raise EruvError(f"none of the {len(plan.videos)} videos can be used; {totals.first_rejected} "
                                f"(all in {out}/rejected.csv)")
            summarise(out, totals, plan, seconds)
            return Dataset(out)
    except OSError as error:
        raise EruvError(f"{error.filename or out}: cannot be written or read ({error.strerror or error}); fix that, "
                        f"or choose another folder than {out}") from None


def claim(out: Path) -> dict | None:
    """Make sure that `out` is a DATASET, or may become one; returns the settings of a finished one."""
    if out.exists() and not out.is_dir():
        raise EruvError(f"{out}: is a file; choose a folder for the DATASET")
    if out.is_dir() and any(out.iterdir()) and not (out / "records").is_dir():
        raise EruvError(f"{out}: holds something other than a DATASET; choose a new or empty folder")
    known = refuse_newer(out)  # before anything is changed
    (out / "records").mkdir(parents=True, exist_ok=True)
    return known


def summarise(out: Path, totals: Totals, plan: Plan, seconds: float) -> None:
    """Print what the DATASET holds now."""
    for count, kind, what in ((len(plan.removed), "video", "removed"),
                              (plan.forgotten, "unusable video", "forgotten")):
        if count:
            console.print(f"{count:,} {kind}{'s' * (count > 1)} no longer given {'are' if count > 1 else 'is'} {what}",
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
def only_run(out: Path) -> Iterator[None]:
    """Hold the DATASET's lock; a second run stops with an error. The lock is released however this process ends."""
    with open(out / ".lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EruvError(f"{out}: another prepare is working on this DATASET; wait for it to end") from None
        yield
