"""What a run of prepare would do, and what it would cost: the plan, and the first frames of a few videos scanned into a
temporary folder. The DATASET is left as it is, or absent."""

import shutil
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from eruv_dali.dataset.records import Scan
from eruv_dali.device import cores
from eruv_dali.prepare.plan import make_plan, refuse_late_start
from eruv_dali.prepare.scan import Job, Probe, Scanner
from eruv_dali.prepare.scan_all import disk_size
from eruv_dali.prepare.workers import Done, Workers
from eruv_dali.shots import ShotStatistics
from eruv_dali.video.find import Video

TRIED_FRAMES = 200  # of each video tried
TRIED_VIDEOS = 2  # per worker


@dataclass(frozen=True)
class Estimate:
    """What a run would scan and remove, and its cost.

    Attributes:
        videos: that the DATASET would hold; scanned: those of them that would be decoded; removed: names.
        frames: of the videos to scan, by their headers; unknown: videos among them whose header gives none.
        seconds, disk (bytes): for these frames, judged by `tried_frames` of `tried_videos`; None if none could be read.
        free: bytes of disk.
    """

    videos: int
    scanned: int
    removed: list[str]
    frames: int
    unknown: int
    tried_frames: int
    tried_videos: int
    seconds: float | None
    disk: float | None
    free: int


def estimate(
    out: Path, videos: Sequence[Video], scan: Scan, *, device: str, workers: int, time_limit: float, shortest: int,
    add: bool, remove: bool, start: float | None = None,
) -> Estimate:
    """Arguments as of `prepare`, checked, and `out` by `may_claim`; `shortest` as of `make_plan`.

    Raises:
        VideosNotNamed, EruvError: what the run itself would refuse before it begins.
    """
    plan = make_plan(out, videos, scan, shortest=shortest, add=add, remove=remove)
    refuse_late_start(out, plan, start)
    nearest = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(nearest).free
    if not plan.todo:
        return Estimate(len(plan.videos), 0, plan.removed, 0, 0, 0, 0, 0.0, 0.0, free)
    workers = min(workers, len(plan.todo))
    by_size = sorted(plan.todo, key=lambda video: video.path.stat().st_size if video.path.exists() else 0)
    count = min(len(by_size), TRIED_VIDEOS * workers)
    tried = [by_size[(2 * place + 1) * len(by_size) // (2 * count)] for place in range(count)]
    ShotStatistics(device=device)  # compiles the kernels, which is no part of a run's time
    with tempfile.TemporaryDirectory(prefix="eruv_dry_run_") as folder:
        aside = Path(folder)
        (aside / "records").mkdir()
        make = partial(Scanner, aside, scan, device, max(1, cores() // workers))
        with Workers(make, count=workers, patience=time_limit) as pool:
            expected = {event.task.video: event.result for event in pool.run(deque(map(Probe, plan.todo)))
                        if isinstance(event, Done)}
            started = time.monotonic()
            jobs = deque(Job(video, limit=TRIED_FRAMES) for video in tried)
            done = [event.result for event in pool.run(jobs) if isinstance(event, Done) and event.result]
            seconds = time.monotonic() - started
        size = sum(path.stat().st_size for path in aside.rglob("*") if path.is_file())
    frames = sum(expected.values())
    share = frames / sum(done) if done else None
    return Estimate(len(plan.videos), len(plan.todo), plan.removed, frames,
                    sum(not expected.get(video) for video in plan.todo), sum(done), len(done),
                    seconds * share if share is not None else None, size * share if share is not None else None, free)


def report(found: Estimate, out: Path) -> str:
    """The estimate in a few lines, for a person."""
    lines = [f"{out}: would hold {found.videos:,} videos, {found.scanned:,} of them to decode; nothing was written"]
    if found.removed:
        lines.append(f"removed: {len(found.removed):,} videos, {found.removed[0]!r} first")
    if found.scanned:
        unknown = f"; {found.unknown:,} videos do not say how many, and are not counted" * bool(found.unknown)
        lines.append(f"frames: about {found.frames:,}{unknown}")
    if found.seconds is None or found.disk is None:
        lines.append("time and disk: unknown, because no video tried could be read")
    elif found.scanned:
        lines.append(f"time: about {duration(found.seconds)}, judged by {found.tried_frames:,} frames of "
                     f"{found.tried_videos:,} videos")
        lines.append(f"disk: about {disk_size(found.disk)} more; {disk_size(found.free)} free")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """A time in the unit that a person would use."""
    for limit, unit, of in ((120, "s", 1), (7200, "minutes", 60), (172800, "hours", 3600)):
        if seconds < limit:
            return f"{max(1, round(seconds / of))} {unit}"
    return f"{round(seconds / 86400)} days"
