"""A run of prepare: check arguments, find videos, make a plan, scan the videos, write the tables."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from eruv_dali.console import console
from eruv_dali.dataset import Dataset
from eruv_dali.dataset.segments import MIN_LENGTH, SEGMENT_LENGTH
from eruv_dali.device import cores
from eruv_dali.errors import EruvError, one_line
from eruv_dali.files import lock
from eruv_dali.prepare.claim import claim, may_claim
from eruv_dali.prepare.dry_run import Estimate, estimate
from eruv_dali.prepare.order import GPU_WORKERS, TIME_LIMIT, Order, folder_to_write
from eruv_dali.prepare.plan import Plan, begin, make_plan, refuse_late_start
from eruv_dali.prepare.plan import end as end_plan
from eruv_dali.prepare.ray_workers import RayWorkers, connected
from eruv_dali.prepare.scan import Scanner
from eruv_dali.prepare.scan_all import disk_size, scan_all
from eruv_dali.prepare.tables import Totals, write_tables
from eruv_dali.prepare.workers import Pool, Workers
from eruv_dali.shots import ShotStatistics
from eruv_dali.video.frames import FRAME_SIZE


def prepare(
    paths: Sequence[str | Path] | str | Path, out: str | Path, *, device: str = "auto", pack: str = "video",
    rule: str = "robust", threshold: float | None = None, segment_length: int = SEGMENT_LENGTH,
    min_length: int = MIN_LENGTH, frame_size: tuple[int, int] = FRAME_SIZE, quality: int | None = None,
    workers: int | None = None, time_limit: float = TIME_LIMIT, stats: bool = False, export: Sequence[str] | str = (),
    add: bool = False, remove: bool = False, ray: str | None = None, min_shot: int | None = None,
    start: float | None = None, end: float | None = None, split: bool = False, images: int = 0,
    print_shots: bool = False,
) -> Dataset:
    """Create or update the DATASET `out` from video files and folders, and open it.

    If `out` holds usable videos that are not among those found, nothing is changed unless `add` or `remove` is set.

    Args:
        paths: video files, or folders to search for them; or one of these.
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
        export: formats of `shots.export.EXPORTS`, or one, in which to write each video's shots to export/.
        add: keep all videos that `out` holds, whether or not they are found now, and add the videos found. The record
            of a kept video stays unchanged, even if its file is gone, unless other settings require a new scan.
        remove: remove the videos that `out` holds and that are not found now.
        ray: scan on a Ray cluster whose nodes share the file system: "auto" (the one that this node is of), "local"
            (one of this machine alone) or HOST:PORT. `workers` is then how many videos are worked on at a time.
        min_shot: fewest frames of a shot; None: the rule's own, see `shots.find_shots`.
        start, end: seconds; keep only shots, or parts of them, between these. Every video is recorded whole, so that
            another range decodes nothing.
        split: write each shot to split/VIDEO/SHOT.mp4, see `shot_files`.
        images: so many frames of each shot to images/VIDEO/, see `shot_images`.
        print_shots: print each shot as a line of JSON on standard output: `video` and what the JSON export says.

    Raises:
        VideosNotNamed: `out` holds videos that are not found, and neither `add` nor `remove` is set.
        EruvError: bad arguments, no videos, no usable video, two videos of one name, a video to keep that would
            have to be scanned again and is missing, `out` cannot be written, or another run is working on it.
    """
    order = Order(paths=paths, out=folder_to_write(out), device=device, pack=pack, rule=rule, threshold=threshold,
                  segment_length=segment_length, min_length=min_length, frame_size=frame_size, quality=quality,
                  workers=workers, time_limit=time_limit, stats=stats, export=export, add=add, remove=remove, ray=ray,
                  min_shot=min_shot, start=start, end=end, split=split, images=images, print_shots=print_shots)
    out = order.out
    with writing(out):
        known = claim(out)
        with only_run(out):
            order.tars.save()
            started = time.monotonic()
            plan = make_plan(out, order.videos, order.scan, shortest=order.shortest(known), add=add, remove=remove)
            refuse_late_start(out, plan, order.start)
            scan_planned(order, plan, lambda: begin(out, plan))
            return finish(order, plan, time.monotonic() - started)


def scan_planned(order: Order, plan: Plan, ready: Callable[[], None], first_file: int = 0) -> None:
    """Scan the videos of a plan that need it; `ready` is called before anything is written.

    Args:
        first_file: the number at which the names of new pack files begin.
    """
    if not plan.todo:
        ready()
        return
    ShotStatistics(device=order.device)  # compiles the kernels once, or logs here that it will be slow
    workers = min(order.processes, len(plan.todo))
    threads = 1 if order.ray else max(1, cores() // workers)
    make = partial(Scanner, order.out, order.scan, order.device, threads, first_file)
    with ExitStack() as cluster:
        pools: Callable[..., Pool] = partial(Workers, make, patience=order.time_limit)
        if order.ray:
            cluster.enter_context(connected(order.ray, order.workers))
            share = 1 / GPU_WORKERS if order.device == "gpu" else 0
            pools = partial(RayWorkers, make, patience=order.time_limit, gpu_share=share)
        scan_all(order.out, plan.todo, order.scan, pools, workers=order.workers if order.ray else workers,
                 time_limit=order.time_limit, ready=ready)


def finish(order: Order, plan: Plan, seconds: float) -> Dataset:
    """Write the tables when every video has its record, say what they hold, and open the DATASET."""
    refuse_late_start(order.out, plan, order.start, scanned=True)
    end_plan(plan)
    totals = write_tables(order.out, plan.videos, order.settings, order.extras)
    if not plan.videos:  # their names are held, of others that could not be used either
        raise EruvError(f"{order.out}: none of the videos given can be found or reached now; check their paths or URLs")
    if not totals.videos and not (totals.shots and order.pack == "none"):  # as a shot detector it has done its work
        raise EruvError(f"none of the {len(plan.videos)} videos can be used; {totals.first_rejected} "
                        f"(all in {order.out}/rejected.csv)")
    summarise(order.out, totals, plan, seconds)
    return Dataset(order.out, empty=True)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Context for work on the DATASET: what the system refuses becomes one line."""
    try:
        yield
    except OSError as error:
        raise EruvError(f"{error.filename or out}: cannot be written or read ({error.strerror or error}); fix that, "
                        f"or choose another folder than {out}") from None


def forecast(paths: Sequence[str | Path] | str | Path, out: str | Path, **options: Any) -> Estimate:
    """What `prepare` with these arguments would scan and remove, and about what time and disk that would take; nothing
    is written. Raises what `prepare` would raise before it begins.
    """
    order = Order(paths=paths, out=folder_to_write(out), **options)
    known = may_claim(order.out)
    return estimate(order.out, order.videos, order.scan, device=order.device, workers=order.processes,
                    time_limit=order.time_limit, shortest=order.shortest(known), add=order.add, remove=order.remove,
                    start=order.start)


def summarise(out: Path, totals: Totals, plan: Plan, seconds: float) -> None:
    """Print what the DATASET holds now."""
    for count, kind, what in ((len(plan.removed), "video", "removed"),
                              (plan.forgotten, "unusable video", "forgotten")):
        if count:
            console.print(f"{count:,} {kind}{'s' * (count > 1)} no longer given {'are' if count > 1 else 'is'} {what}",
                          highlight=False)
    disk = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    table = Table(title=Text(one_line(out)), show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    damaged = f"{totals.damaged} damaged, used up to there: see note in videos.csv" if totals.damaged else ""
    for name, value, remark in (
        ("videos", f"{totals.videos:,}", damaged),
        ("hours", f"{totals.seconds / 3600:,.2f}", f"{totals.frames:,} frames"),
        ("shots", f"{totals.shots:,}", f"{totals.gradual:,} after a gradual transition"),
        ("segments", f"{totals.segments:,}", ""),
        ("rejected", f"{totals.rejected:,}", Text(one_line(f"see {out}/rejected.csv")) if totals.rejected else ""),
        ("disk", f"{disk / 1e6:,.1f} MB", f"{disk_size(totals.unused)} of it no longer used" if totals.unused else ""),
        ("scanned", f"{len(plan.todo):,}", f"in {seconds:.1f} s" if plan.todo else "nothing was new or changed"),
    ):
        table.add_row(name, value, remark)
    console.print(table)


@contextmanager
def only_run(out: Path, *, shared: bool = False, needed: bool = True) -> Iterator[None]:
    """Hold the DATASET's lock; a second run stops with an error. The lock is released however this process ends.

    Args:
        shared: with other shards; needed: false goes on without where the file system has no locks.
    """
    with open(out / ".lock", "a") as opened:
        if not lock(opened, shared=shared, needed=needed):
            raise EruvError(f"{out}: another prepare is working on this DATASET; wait for it to end")
        yield
