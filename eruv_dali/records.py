"""Records: what `prepare` found in each video, one file a video in DATASET/records, its memory between runs.

A record holds a note (JSON: the video's name, what identifies the file, how it was scanned, what the container says,
or the reason why it cannot be used), the FRAME array of `dataset`, and the curves that the shot rules work on. Another
rule, threshold or segment length needs the records alone.
"""

import hashlib
import json
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path

import numpy as np

from eruv_dali.dataset import FRAME
from eruv_dali.files import write_aside
from eruv_dali.shots import ShotCurves
from eruv_dali.videos import NO_PTS, Video

VERSION = 2  # of what a record holds; a record of another version is made again


@dataclass(frozen=True)
class Record:
    """One video as it was scanned. `frames` (N,) FRAME and `curves` are empty where the note carries a "reason"."""

    note: dict
    frames: np.ndarray
    curves: ShotCurves

    def times(self) -> np.ndarray:
        """(N + 1,) float64: the second at which each frame is shown, and the one at which the last ends.

        From the time stamps, on the clock that players and `ffmpeg -ss` use: 0 is where the file begins, which may be
        before its first picture. A frame without a time stamp is one frame interval after the one before it.
        """
        tick, interval = float(Fraction(self.note["time_base"])), 1 / (float(self.note["fps"] or 0) or 25)
        pts = self.frames["pts"]
        seconds = np.empty(len(pts) + 1)
        seconds[:-1] = pts * tick - self.note["start_time"]
        if np.any(pts == NO_PTS):
            number = np.arange(len(pts))
            last = np.maximum.accumulate(np.where(pts != NO_PTS, number, -1))  # nearest before that carries a stamp
            seconds[:-1] = np.where(last < 0, 0, seconds[last]) + (number - np.maximum(last, 0)) * interval
        seconds[:-1].sort()  # AVI files tag B-frames in coding order
        seconds[-1] = seconds[-2] + interval if len(pts) else 0
        return seconds


def record_path(dataset: Path, video: str) -> Path:
    """Where the record of a video lies; its name says nothing of the video's, which may hold any character."""
    return dataset / "records" / f"{hashlib.sha256(video.encode()).hexdigest()[:32]}.npz"


def identity(video: Video) -> list:
    """What tells that a file is still the one that was scanned. (One that vanishes meanwhile is like no other.)"""
    try:
        status = video.path.stat()
    except OSError:
        return [str(video.path), -1, -1]
    return [str(video.path.resolve()), status.st_size, status.st_mtime_ns]


def write_record(
    dataset: Path, video: Video, note: dict, frames: np.ndarray | None = None, curves: ShotCurves | None = None
) -> None:
    """Write a video's record: the moment from which it counts as done. `note` carries its "identity" and "scan"."""
    note = {"version": VERSION, "video": video.name, **note}
    arrays = {} if frames is None else {"frames": frames}
    if curves is not None:
        arrays |= {f"curve_{field.name}": getattr(curves, field.name) for field in fields(curves)}
    path = record_path(dataset, video.name)
    write_aside(path, lambda file: np.savez(file, note=np.array(json.dumps(note)), **arrays))


def carry_record(source: Path, dataset: Path, video: Video) -> None:
    """Write the record at `source` as that of `video`: the same file, under another name or in another place."""
    record = read_record(source)
    note = {**record.note, "video": video.name, "identity": identity(video)}
    rejected = "reason" in note
    write_record(dataset, video, note, None if rejected else record.frames, None if rejected else record.curves)


def read_note(path: Path) -> dict:
    """The note alone, without the arrays."""
    with np.load(path) as record:
        return json.loads(str(record["note"]))


def read_record(path: Path) -> Record:
    """Read a record back."""
    with np.load(path) as record:
        note = json.loads(str(record["note"]))
        if "frames" not in record:
            nothing = np.zeros(0, np.float32)
            return Record(note, np.zeros(0, FRAME), ShotCurves(nothing, nothing, np.zeros((3, 0), np.float32), nothing))
        curves = ShotCurves(**{field.name: record[f"curve_{field.name}"] for field in fields(ShotCurves)})
        return Record(note, record["frames"], curves)
