"""Videos: can each be opened, does it have the frames that its header gives, is it long enough for a clip?"""

import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import av

from eruv_dali.console import progress
from eruv_dali.doctor.finding import GOOD, PROBLEM, REMARK, Finding, first_named
from eruv_dali.prepare.workers import Done, Workers
from eruv_dali.prepare.workers import Progress as Told
from eruv_dali.video.open import UnusableVideo, libav_words, open_video, packets_of
from eruv_dali.video.place import Location

CLIP_LENGTH = 16
TOLD_EVERY = 256  # frames
SHARE = 0.95  # of the header's frames that must exist: some containers count a few that are never shown
PATIENCE = 60.0  # seconds without progress after which a decoder counts as hung


class Checked(NamedTuple):
    """A video's frames, and what is wrong with it ("" if nothing is)."""

    frames: int
    trouble: str


def check_videos(videos: Sequence[Location], *, thorough: bool, workers: int) -> list[Finding]:
    """Findings on the videos: how many are damaged or shorter than a clip. `thorough` decodes every frame."""
    checked: dict[Location, Checked] = {}
    with (
        Workers(functools.partial(Checker, thorough), count=min(workers, len(videos)), patience=PATIENCE) as pool,
        progress("videos", transient=True) as bar,
    ):
        task = bar.add_task("check", total=len(videos))
        for event in pool.run(deque(videos)):
            if isinstance(event, Told):
                continue
            checked[event.task] = event.result if isinstance(event, Done) else Checked(
                0, "its decoder hangs" if event.hung else "it crashes its decoder")
            bar.update(task, completed=len(checked))
    damaged = [f"{path}: {checked[path].trouble}" for path in videos if checked[path].trouble]
    short = [f"{path}: {checked[path].frames}" for path in videos
             if not checked[path].trouble and checked[path].frames < CLIP_LENGTH]
    frames = sum(video.frames for video in checked.values())
    how = "every frame decoded" if thorough else "opened, packets counted, first frame decoded; --thorough decodes all"
    findings = [Finding("videos", GOOD, f"{len(videos):,} with {frames:,} frames checked ({how})")]
    if damaged:
        findings.append(Finding("damaged", PROBLEM, f"{len(damaged)} of {len(videos)}:{first_named(damaged)}"))
    if short:
        findings.append(Finding("short", REMARK, f"{len(short)} of {len(videos)} have fewer than {CLIP_LENGTH} frames:"
                                f"{first_named(short)}"))
    return findings


class Checker:
    """Runs in a worker process, which a broken video may crash."""

    def __init__(self, thorough: bool) -> None:
        self.thorough = thorough

    def __call__(self, path: Location, tell: Callable[[int], None]) -> Checked:
        return check_video(path, thorough=self.thorough, tell=tell)

    def close(self) -> None:
        """Nothing to close."""


def check_video(path: Location, *, thorough: bool, tell: Callable[[int], None] = lambda frames: None) -> Checked:
    """Count a video's frames, by packets or by decoding them, and compare with the container's header."""
    try:
        if path.stat().st_size == 0:
            return Checked(0, "the file is empty")
        container, stream = open_video(path)
    except OSError as error:
        return Checked(0, f"cannot be read ({error.strerror})")
    except UnusableVideo as error:
        return Checked(0, str(error))
    with container:
        packets = frames = 0
        try:
            for packet in packets_of(container, stream):
                packets += bool(packet.size)
                if thorough or not frames:
                    frames += len(packet.decode())
                if packets % TOLD_EVERY == 0:
                    tell(packets)
        except av.error.FFmpegError as error:
            where = frames if thorough else packets
            return Checked(where, f"decoding fails after {where} frames ({libav_words(error)})")
        if not frames:
            return Checked(0, "no frame can be decoded")
        count = frames if thorough else packets
        if count < SHARE * stream.frames - 1:
            return Checked(count, f"{count} of the {stream.frames} frames in its header exist: "
                           "truncated? copy it again")
        return Checked(count, "")
