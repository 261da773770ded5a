"""Records: what `prepare` found in each video, one file per video in DATASET/records: its state between runs.

A record holds a note (JSON: the video's name, what identifies the file, how it was scanned, what the container says,
or the reason why it cannot be used), the FRAME array of `dataset`, and the curves that the shot rules work on. A new
rule, threshold or segment length needs only the records.
"""

import hashlib
import json
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from eruv_dali.dataset.columns import FRAME
from eruv_dali.dataset.damage import reading
from eruv_dali.dataset.pack import PACK_FILE
from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside
from eruv_dali.shots import ShotCurves
from eruv_dali.shots.curves import LAGS
from eruv_dali.video.find import Video
from eruv_dali.video.open import NO_PTS

VERSION = 2  # of a record's content; a record of another version is remade


class BadRecord(EruvError):
    """A record that cannot be read, or has invalid content: its video must be scanned again."""


@dataclass(frozen=True)
class Record:
    """One video as it was scanned. `frames` (N,) FRAME and `curves` are empty if the note has a "reason"."""

    note: dict
    frames: np.ndarray
    curves: ShotCurves

    def times(self) -> np.ndarray:
        """(N + 1,) float64: the second at which each frame is shown, and the one at which the last ends.

        From the time stamps, on the clock that players and `ffmpeg -ss` use: 0 is the start of the file, which may be
        before its first frame. A frame without a time stamp is one frame interval after the one before it.
        """
        tick, interval = float(Fraction(self.note["time_base"])), 1 / (float(self.note["fps"] or 0) or 25)
        pts = self.frames["pts"]
        seconds = np.empty(len(pts) + 1)
        seconds[:-1] = pts * tick - self.note["start_time"]
        if np.any(pts == NO_PTS):
            number = np.arange(len(pts))
            last = np.maximum.accumulate(np.where(pts != NO_PTS, number, -1))  # nearest earlier frame with a time stamp
            seconds[:-1] = np.where(last < 0, 0, seconds[last]) + (number - np.maximum(last, 0)) * interval
        seconds[:-1].sort()  # AVI files tag B-frames in coding order
        seconds[-1] = seconds[-2] + interval if len(pts) else 0
        return seconds


def record_path(dataset: Path, video: str) -> Path:
    """The path of a video's record. It is not made from the video's name, which may contain any character."""
    return dataset / "records" / f"{hashlib.sha256(video.encode()).hexdigest()[:32]}.npz"


def identity(video: Video) -> list:
    """Identifies the file that was scanned, to detect changes. (A file that has vanished matches no other.)"""
    try:
        status = video.path.stat()
    except OSError:
        return [str(video.path), -1, -1]
    return [str(video.path.resolve()), status.st_size, status.st_mtime_ns]


def write_record(
    dataset: Path, video: Video, note: dict, frames: np.ndarray | None = None, curves: ShotCurves | None = None
) -> None:
    """Write a video's record; from then on the video counts as done. `note` contains its "identity" and "scan"."""
    note = {"version": VERSION, "video": video.name, **note}
    arrays: dict[str, Any] = {} if frames is None else {"frames": frames}
    if curves is not None:
        arrays |= {f"curve_{field.name}": getattr(curves, field.name) for field in fields(curves)}
    path = record_path(dataset, video.name)
    write_aside(path, lambda file: np.savez(file, note=np.array(json.dumps(note)), **arrays))


def carry_record(source: Path, dataset: Path, video: Video) -> None:
    """Write the record at `source` as that of `video`: the same file, under another name or path."""
    record = read_record(source)
    note = {**record.note, "video": video.name, "identity": identity(video)}
    rejected = "reason" in note
    write_record(dataset, video, note, None if rejected else record.frames, None if rejected else record.curves)


def read_record(path: Path) -> Record:
    """Read a record back, and check it: written by this version, complete, and with plausible values.

    Raises:
        BadRecord: a check fails.
    """
    with reading(path, BadRecord):
        if not path.is_file():
            raise ValueError("it is not a file")
        with np.load(path) as arrays:
            held = {name: arrays[name] for name in arrays.files}
        note = json.loads(str(held["note"]))
        if note["version"] != VERSION:
            raise ValueError(f"version {note['version']!r}, this is {VERSION}")
        where, size, mtime_ns = note["identity"]
        _expect(isinstance(note["video"], str) and isinstance(note["scan"], dict), "note")
        _expect(isinstance(where, str) and type(size) is type(mtime_ns) is int, "identity")
        if "reason" in note:
            _expect(isinstance(note["reason"], str), "reason")
            nothing = np.zeros(0, np.float32)
            return Record(note, np.zeros(0, FRAME), ShotCurves(nothing, nothing, np.zeros((3, 0), np.float32), nothing))
        _expect_facts(note)
        frames, curves = held["frames"], {field.name: held[f"curve_{field.name}"] for field in fields(ShotCurves)}
        N = len(frames)
        _expect(N > 0 and frames.dtype == FRAME and frames.shape == (N,), "frames")
        for name, curve in curves.items():
            shape = (len(LAGS), N) if name == "lags" else (N,)
            _expect(curve.dtype == np.float32 and curve.shape == shape, f"curve_{name}")
            _expect(np.isfinite(curve).all(), f"curve_{name}")
        if note["scan"]["pack"] != "none":
            offset, size = frames["offset"], frames["size"].astype(np.int64)
            _expect(PACK_FILE.fullmatch(note["pack"]) and type(note["pack_end"]) is int, "pack")
            _expect(offset[0] >= 0 and size.min() > 0, "offsets and sizes")
            _expect(np.array_equal(offset + size, np.append(offset[1:], note["pack_end"])), "offsets and sizes")
        return Record(note, frames, ShotCurves(**curves))


def _expect_facts(note: dict) -> None:
    """Check the note's entries that come from `decode.describe`."""
    for key in ("width", "height"):
        _expect(type(note[key]) is int and note[key] > 0, key)
    _expect(note["rotation"] in (0, 90, 180, 270), "rotation")
    _expect(isinstance(note["codec"], str) and isinstance(note.get("note", ""), str), "codec")
    _expect(np.isfinite([float(note["fps"] or 0), float(note["start_time"]), float(Fraction(note["time_base"]))]).all(),
            "times")


def _expect(holds: object, what: str) -> None:
    if not holds:
        raise ValueError(f"its {what} cannot be right")
