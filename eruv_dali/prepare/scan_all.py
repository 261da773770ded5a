"""Scan all: many videos in worker processes, and what to do about a video whose worker was lost.

A worker that dies or hangs does not prove that the video is to blame: the system kills processes that take too much
memory, and users kill and stop processes. So a video counts as bad only if its worker was lost twice in the same way:

    crashed twice   a bad video: the frames before the crash are used, permanently
    silent twice    the frames before the hang are used, but the next run tries again
    killed twice    rejected, but the next run tries again

Each further try starts at frame 0, in its own process, after all others have ended: alone, a video may get resources,
above all memory, that it cannot get next to others.
"""

import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn

from eruv_dali.console import TimeLeft, console, warn
from eruv_dali.dataset.records import Note, Scan, identity, write_record
from eruv_dali.errors import EruvError
from eruv_dali.prepare.scan import Job, Probe
from eruv_dali.prepare.workers import Done, Lost, Pool
from eruv_dali.prepare.workers import Progress as Told
from eruv_dali.video.find import Video

SURE_FRAME_BYTES = 500  # of a video file, per frame: few videos take less, so a header that implies less may be wrong
FRAME_BYTES = {"video": 0.05, "jpeg": 0.4, "raw": 3.0}  # of a packed frame, per pixel: to estimate disk space

CRASHED, SILENT, KILLED = "crashed", "silent", "killed"


@dataclass(frozen=True)
class Loss:
    """A lost worker: in what way, on which job, after how many frames; why, where that is known."""

    way: str
    job: Job
    frames: int
    why: str = ""


@dataclass(frozen=True)
class Rejected:
    """A video that cannot be used; `provisional` as in Job."""

    reason: str
    provisional: bool


def what_next(losses: Sequence[Loss], time_limit: float) -> Job | Rejected:
    """What to do about a video after these losses, the last of which has just happened: the policy described above."""
    last = losses[-1]
    alike = [loss for loss in losses if loss.way == last.way and loss.job == last.job]
    if len(alike) < 2:
        return last.job
    frames, provisional = min(loss.frames for loss in alike), last.way != CRASHED
    trouble = {CRASHED: "decoding crashed the decoder", SILENT: f"decoding yielded no frame for {time_limit:g} s",
               KILLED: f"its worker process was killed twice ({last.why or 'out of memory?'}); prepare tries it again "
                       "when it is run again"}[last.way]
    if last.way == KILLED or not frames or last.job.limit is not None:
        return Rejected(trouble, provisional)
    return Job(last.job.video, frames, f"{trouble} after frame {frames - 1}; the frames before it are used",
               provisional)


def scan_all(
    out: Path, videos: Sequence[Video], scan: Scan, pools: Callable[..., Pool], *, workers: int | None,
    time_limit: float, ready: Callable[[], None],
) -> None:
    """Scan videos, with a progress bar. `ready` is called before the first record is written.

    Args:
        pools: `pools(count=n)` is a pool of n workers; `workers`: how many at first, None where the pool decides.

    Raises:
        EruvError: the disk has too little space for the pack, or cannot be written.
    """
    seen, done, started = dict.fromkeys(videos, 0), 0, time.monotonic()
    expected: dict[Video, int] = {}
    losses: dict[Video, list[Loss]] = {}
    frames, total = 0, 0  # of all videos; kept up to date by differences, for there may be a million

    def count(video: Video, number: int, *, last: bool = False) -> None:
        """So many frames of a video have been scanned; `last`: it has no more."""
        nonlocal frames, total
        frames -= seen[video]
        total -= max(expected[video], seen[video])
        seen[video] = number
        if last:
            expected[video] = number
        frames += number
        total += max(expected[video], number)

    def follow(events: Iterator[Told | Done | Lost]) -> None:
        nonlocal done
        for event in events:
            video = event.task.video
            if isinstance(event, Told):
                count(video, event.value)
            elif isinstance(event, Done):
                count(video, event.result, last=True)
                done += 1
            else:
                losses.setdefault(video, []).append(Loss(_way(event), event.task, seen[video], event.why))
                _say_lost(event, what_next(losses[video], time_limit), time_limit)
            bar.update(line, completed=frames, total=total, done=done, rate=frames / (time.monotonic() - started))

    columns = [TextColumn("[bold]{task.description}"), BarColumn(), TextColumn("{task.fields[done]}/{task.fields[all]} "
               "videos, {task.fields[rate]:,.0f} frames/s"), TimeLeft()]
    with Progress(*columns, console=console) as bar:
        line = bar.add_task("prepare", total=None, done=0, all=len(videos), rate=0.0)
        with pools(count=workers) as pool:
            expected |= {event.task.video: event.result if isinstance(event, Done) else 0
                         for event in pool.run(deque(map(Probe, videos))) if not isinstance(event, Told)}
            total = sum(expected.values())
            check_disk(out, expected, scan)
            ready()
            started = time.monotonic()
            # The largest files first, so that at the end no core waits long for another one's last video.
            follow(pool.run(deque(map(Job, sorted(videos, key=lambda video: -identity(video).size)))))
        for video, lost in losses.items():
            step: Job | Rejected | None = what_next(lost, time_limit)
            while isinstance(step, Job):
                count(video, 0)
                tries = len(lost)
                with pools(count=1) as alone:
                    follow(alone.run(deque([step])))
                step = what_next(lost, time_limit) if len(lost) > tries else None
            if step is not None:
                write_record(out, Note(video.name, identity(video), scan, reason=step.reason,
                                       provisional=step.provisional))
                count(video, 0, last=True)
                done += 1


def _way(lost: Lost) -> str:
    if lost.hung:
        return SILENT
    return KILLED if lost.exit_code == -signal.SIGKILL else CRASHED


def _say_lost(lost: Lost, step: Job | Rejected, time_limit: float) -> None:
    """Print one line: what happened, and what follows."""
    happened = {SILENT: f"yielded no frame for {time_limit:g} s and was stopped",
                KILLED: f"was killed ({lost.why or 'out of memory?'})",
                CRASHED: f"died ({_exit_words(lost.exit_code)})"}[_way(lost)]
    if isinstance(step, Rejected):
        follows = "it is left out"
    elif step.limit is None:
        follows = "it is tried again from the beginning, alone, after the others"
    else:
        follows = f"its first {step.limit} frames are used"
    warn(f"{lost.task.video.name}: its worker process {happened}; {follows}")


def _exit_words(code: int | None) -> str:
    try:
        return signal.Signals(-(code or 0)).name
    except ValueError:
        return f"exit code {code}"


def check_disk(out: Path, expected: dict[Video, int], scan: Scan) -> None:
    """Print how much disk space the pack will take, and refuse if that is clearly more than is free. If it is more only
    by the headers of files that are small for so many frames, these may be wrong: a warning.

    Raises:
        EruvError: it is clearly more.
    """
    if scan.pack == "none":
        return
    frame_bytes = scan.frame_height * scan.frame_width * FRAME_BYTES[scan.pack]
    frames = sum(expected.values())
    needed, free = frames * frame_bytes, shutil.disk_usage(out).free
    console.print(f"{scan.pack} pack of about {frames:,} frames: about {disk_size(needed)} of disk", highlight=False)
    if needed <= free:
        return
    longest = max(expected, key=expected.__getitem__)
    said = (f"{out}: {disk_size(free)} free, but the pack needs about {disk_size(needed)}, the largest part for "
            f"{longest.path} (about {expected[longest]:,} frames by its header)")
    sure = sum(min(count, identity(video).size // SURE_FRAME_BYTES + 1) for video, count in expected.items())
    if sure * frame_bytes > free:
        raise EruvError(f"{said}; leave that out, choose another disk, {'pack video, ' * (scan.pack != 'video')}or "
                        "pack none")
    warn(f"warning: {said}, which is much for a file of its size; prepare tries", style="yellow")


def disk_size(count: float) -> str:
    """A number of bytes, in GB or MB."""
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
