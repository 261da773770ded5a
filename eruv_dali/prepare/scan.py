"""Scan: decode one video once and write its record and its part of the pack. Runs in `prepare`'s worker processes."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eruv_dali.dataset.columns import FRAME
from eruv_dali.dataset.pack import PackWriter, place_frames
from eruv_dali.dataset.records import Note, Scan, identity, write_record
from eruv_dali.errors import EruvError
from eruv_dali.prepare.encode_ahead import EncodeAhead
from eruv_dali.shots import ShotStatistics
from eruv_dali.video.coding import read_coding
from eruv_dali.video.decode import decode_pictures
from eruv_dali.video.find import Video
from eruv_dali.video.frames import Chunk
from eruv_dali.video.open import DamagedVideo, UnusableVideo, open_video

HOG_SIZE = (96, 128)  # height, width of the frames that shots are found on (UntrimmedNets' setting)
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

    def __init__(self, out: Path, scan: Scan, device: str, threads: int) -> None:
        self.out, self.scan, self.device, self.threads = out, scan, device, threads
        self.writer = PackWriter(out / "pack", scan.pack, scan.quality)

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
            raise EruvError(f"{self.out}: cannot be written ({error.strerror}); free some space and run again"
                            ) from None

    def scan_video(self, job: Job, tell: Callable[[int], None]) -> int:
        """Decode one video and write its record: curves for the shot rules, an index of its frames, its pack part.

        Returns the number of frames; 0 if the video cannot be used, in which case its record says why.
        """
        writer, packing = self.writer, self.scan.pack != "none"
        file, offset = writer.begin_video() if packing else ("", 0)
        statistics = ShotStatistics(device=self.device)
        chunks: list[np.ndarray] = []  # FRAME records
        count = 0
        note = Note(job.video.name, identity(job.video), self.scan, provisional=job.provisional)
        picture_sizes = [HOG_SIZE] + [(self.scan.frame_height, self.scan.frame_width)] * packing
        with EncodeAhead(writer, self.threads) as encoding:
            try:
                for chunk in decode_pictures(job.video.path, picture_sizes, device=self.device, threads=self.threads):
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
                write_record(self.out, replace(note, facts=None, reason=str(error)))
                return 0
            except DamagedVideo as error:
                note = replace(note, remark=f"{error}; the frames before it are used")
            written = encoding.finish()

        with contextlib.suppress(UnusableVideo):  # decoded before, so the file has gone since; then this stays unknown
            note = replace(note, coding=read_coding(job.video.path))
        frames = np.concatenate(chunks)
        if packing:
            writer.end_video()
            note = replace(note, pack=file, pack_end=place_frames(frames, offset, written))
        write_record(self.out, note, frames, statistics.finish())
        return count


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
