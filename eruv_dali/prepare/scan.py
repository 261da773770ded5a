"""Scan: decode one video once and write its record and its part of the pack. Runs in `prepare`'s worker processes."""

import contextlib
import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eruv_dali.dataset.columns import FRAME
from eruv_dali.dataset.pack import PackWriter, place_frames
from eruv_dali.dataset.records import Identity, Note, Scan, identity, write_record
from eruv_dali.errors import EruvError
from eruv_dali.files import printable
from eruv_dali.prepare.encode_ahead import EncodeAhead
from eruv_dali.shots import ShotStatistics
from eruv_dali.video.coding import read_coding
from eruv_dali.video.content import content_of
from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.find import Video
from eruv_dali.video.frames import Chunk
from eruv_dali.video.open import NO_PTS, DamagedVideo, Unreachable, UnusableVideo, open_video
from eruv_dali.video.place import is_local, look_again
from eruv_dali.video.tags import tags_hold

HOG_SIZE = (96, 128)  # height, width of the frames that shots are found on (UntrimmedNets' setting)
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LEAST_FRAME_BYTES = 20  # of a video file, per frame: a header that implies fewer is wrong


@dataclass(frozen=True)
class Probe:
    """A task: estimate how many frames a video has."""

    video: Video


@dataclass(frozen=True)
class Job:
    """A task: scan a video; only its first `limit` frames if decoding failed after them (`trouble` says how).

    `provisional`: the failure may have another cause, so the next run will scan the video again.
    """

    video: Video
    limit: int | None = None
    trouble: str = ""
    provisional: bool = False


class Scanner:
    """Lives in a worker process; keeps its pack file open from video to video."""

    def __init__(self, out: Path, scan: Scan, device: str, threads: int, first_file: int = 0) -> None:
        self.out, self.scan, self.device, self.threads = out, scan, device, threads
        self.writer = PackWriter(out / "pack", scan.pack, scan.quality, first_file)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: no record refers to what is still to be written
            self.writer.close()

    def __call__(self, task: Probe | Job, tell: Callable[[int], None]) -> int:
        """Probe: the number of frames to expect. Job: the number scanned, after writing the record."""
        if isinstance(task, Probe):
            return expected_frames(task.video)
        try:
            return self.scan_video(task, tell)
        except OSError as error:
            said = error.strerror or str(error)
            if error.filename is not None and str(error.filename) == str(task.video.path):
                raise EruvError(f"{task.video.path}: cannot be read ({said}); fix that, and run again") from None
            cure = "free some space" if error.errno in NO_SPACE else "fix that"
            raise EruvError(f"{self.out}: cannot be written ({said}); {cure} and run again") from None

    def scan_video(self, job: Job, tell: Callable[[int], None]) -> int:
        """Decode one video and write its record: curves for the shot rules, an index of its frames, its pack part.

        Returns the number of frames; 0 if the video cannot be used, in which case its record says why.
        """
        writer, packing = self.writer, self.scan.pack != "none"
        if printable(job.video.name) != job.video.name:
            write_record(self.out, Note(job.video.name, identity(job.video), self.scan, reason=(
                "its name is not UTF-8; rename it"), content=content_of(job.video.path)))
            return 0
        file, offset = writer.begin_video() if packing else ("", 0)
        statistics = ShotStatistics(device=self.device)
        chunks: list[np.ndarray] = []  # FRAME records
        count = 0
        note = Note(job.video.name, identity(job.video), self.scan, provisional=job.provisional,
                    content=content_of(job.video.path))
        picture_sizes = [HOG_SIZE] + [(self.scan.frame_height, self.scan.frame_width)] * packing
        with EncodeAhead(writer, self.threads) as encoding:
            try:
                for chunk in self._decode(job.video, picture_sizes):
                    if job.limit is not None:
                        chunk = chunk.part(slice(job.limit - count))
                    if packing:
                        encoding.add(chunk.pictures[1])
                    statistics.add(chunk.pictures[0])
                    chunks.append(_records(chunk))
                    note = replace(note, facts=chunk.facts)
                    count += len(chunk.pts)
                    tell(count)
                    if count == job.limit:
                        note = replace(note, remark=job.trouble)
                        break
            except UnusableVideo as error:
                if packing:
                    writer.drop_video(offset)
                away = isinstance(error, Unreachable)
                write_record(self.out, replace(note, facts=None, reason=f"{job.video.path}: {error}" if away else str(
                    error), provisional=note.provisional or away))
                return 0
            except DamagedVideo as error:
                note = replace(note, remark=f"{error}; the frames before it are used")
            written = encoding.finish()

        frames = np.concatenate(chunks)
        with contextlib.suppress(UnusableVideo):  # decoded before, so the file has gone since; then this stays unknown
            note = replace(note, coding=read_coding(job.video.path))
            if not tags_hold(job.video.path):
                frames["pts"] = NO_PTS
        if packing:
            writer.end_video()
            note = replace(note, pack=file, pack_end=place_frames(frames, offset, written))
        write_record(self.out, note, frames, statistics.finish())
        return count


    def _decode(self, video: Video, sizes: list[tuple[int, int]]) -> Iterator[Chunk]:
        """As `decode_pictures`; raises Unreachable at the end if an object in a store is no longer what it was."""
        before = identity(video)
        try:
            yield from decode_pictures(video.path, sizes, device=self.device, threads=self.threads)
        except DamagedVideo:
            expect_unchanged(video, before)
            raise
        expect_unchanged(video, before)


def expect_unchanged(video: Video, before: Identity) -> None:
    """Raises Unreachable: an object in a store is another one than before, or no longer there."""
    if not is_local(video.path):
        look_again([video.path])
        if (now := identity(video)) != before:
            raise Unreachable("has changed while it was read; run again" if now.size >= 0 else
                              "can no longer be read; run again")


def _records(chunk: Chunk) -> np.ndarray:
    """The FRAME records of a chunk, without a pack."""
    records = np.zeros(len(chunk.pts), FRAME)
    for column in ("pts", "key", "offset", "size"):
        records[column] = getattr(chunk, column)
    return records


def expected_frames(video: Video) -> int:
    """The container's number of frames, as far as the file size makes it plausible; 0 if it gives none."""
    try:
        most = video.path.stat().st_size // LEAST_FRAME_BYTES
        container, stream = open_video(video.path)
    except (UnusableVideo, OSError):
        return 0
    with container:
        seconds = (container.duration or 0) / 1e6
        return min(max(0, stream.frames or round(seconds * float(stream.average_rate or 0))), most)
