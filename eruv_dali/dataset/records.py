"""Records: what `prepare` found in each video, one file per video in DATASET/records: its state between runs.

A record holds a note (JSON: the video's name, what identifies the file, how it was scanned, what the container says,
or the reason why it cannot be used), the FRAME array of `dataset`, and the curves that the shot rules work on. A new
rule, threshold or segment length needs only the records.
"""

import hashlib
import json
import os
import zlib
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eruv_dali.dataset.columns import FRAME
from eruv_dali.dataset.damage import reading
from eruv_dali.dataset.pack import PACK_FILE, QUALITY
from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside
from eruv_dali.shots import ShotCurves
from eruv_dali.shots.curves import LAGS, PARTS, SPANS
from eruv_dali.video.coding import Coding, checked_coding
from eruv_dali.video.content import content_of
from eruv_dali.video.find import Video
from eruv_dali.video.frames import VideoFacts
from eruv_dali.video.open import NO_PTS

VERSION = 4  # of a record's content; a record of another version is remade


CURVE_ROWS = {"hog": (), "luminance": (), "lags": (len(LAGS),), "low": (len(LAGS),), "window": (),
              "window_low": (len(SPANS),), "colour": (len(SPANS),), "grey": (PARTS[0] * PARTS[1],)}


def _dtype(curve: str) -> type:
    return np.uint8 if curve == "grey" else np.float32


class BadRecord(EruvError):
    """A record that cannot be read, or has invalid content: its video must be scanned again."""


@dataclass(frozen=True)
class Scan:
    """What decides how a video is decoded; a record made with other settings is made again."""

    frame_height: int
    frame_width: int
    pack: str
    quality: int  # of the pack, as in `pack.QUALITY`

    def __str__(self) -> str:
        return f"frame_size {self.frame_height}x{self.frame_width}, pack {self.pack}, quality {self.quality}"


class Identity(NamedTuple):
    """Identifies the file that was scanned, to detect changes: resolved path, size in bytes, time of change.

    A file that has vanished has size and time -1, and matches no other.
    """

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Note:
    """What is known of one video beside its frames and curves.

    Attributes:
        video: its name in the DATASET.
        identity: the file that was scanned; `scan`: how.
        facts: the file's own properties; None if the video cannot be used.
        coding: how it is coded; `content`: see `content_of`. None and "" where they are not known, as in records of
            earlier versions.
        pack: name of the pack file with its frames, "" if there is no pack; `pack_end`: where they end in it.
        packed_from: of a record that was converted, see `frames_sum`; "" in one that was not, or was by an earlier
            version.
        remark: what is wrong with the video although it is used.
        reason: why it cannot be used, "" if it can.
        provisional: the trouble may have had another cause, so the next run scans it again.
    """

    video: str
    identity: Identity
    scan: Scan
    facts: VideoFacts | None = None
    pack: str = ""
    pack_end: int = 0
    remark: str = ""
    reason: str = ""
    provisional: bool = False
    coding: Coding | None = None
    content: str = ""
    packed_from: str = ""


@dataclass(frozen=True)
class Record:
    """One video as it was scanned. `frames` (N,) FRAME and `curves` are empty if the note has a reason."""

    note: Note
    frames: np.ndarray
    curves: ShotCurves

    @property
    def facts(self) -> VideoFacts:
        """The facts of a video that can be used."""
        assert self.note.facts is not None, f"{self.note.video} cannot be used: {self.note.reason}"
        return self.note.facts

    def times(self) -> np.ndarray:
        """(N + 1,) float64: the second at which each frame is shown, and the one at which the last ends.

        From the time stamps, on the clock that players and `ffmpeg -ss` use: 0 is the start of the file, which may be
        before its first frame. A frame without a time stamp is one frame interval after the one before it.
        """
        facts = self.facts
        tick, interval = float(Fraction(facts.time_base)), 1 / facts.rate
        pts = self.frames["pts"]
        seconds = np.empty(len(pts) + 1)
        seconds[:-1] = pts * tick - facts.start_time
        if np.any(pts == NO_PTS):
            number = np.arange(len(pts))
            last = np.maximum.accumulate(np.where(pts != NO_PTS, number, -1))  # nearest earlier frame with a time stamp
            seconds[:-1] = np.where(last < 0, 0, seconds[last]) + (number - np.maximum(last, 0)) * interval
        seconds[:-1].sort()  # AVI files tag B-frames in coding order
        seconds[-1] = seconds[-2] + interval if len(pts) else 0
        return seconds


def record_path(dataset: Path, video: str) -> Path:
    """The path of a video's record. It is not made from the video's name, which may contain any character."""
    return dataset / "records" / f"{hashlib.sha256(os.fsencode(video)).hexdigest()[:32]}.npz"


def frames_sum(frames: np.ndarray) -> str:
    """8 hexadecimal digits that tell the packed content of these FRAME records from another."""
    return f"{zlib.crc32(frames['crc'].tobytes()):08x}"


def identity(video: Video) -> Identity:
    """The identity of a video's file now."""
    try:
        status = video.path.stat()
    except OSError:
        return Identity(str(video.path), -1, -1)
    return Identity(str(video.path.resolve()), status.st_size, status.st_mtime_ns)


def write_record(
    dataset: Path, note: Note, frames: np.ndarray | None = None, curves: ShotCurves | None = None
) -> None:
    """Write a video's record; from then on the video counts as done."""
    arrays: dict[str, Any] = {} if frames is None else {"frames": frames}
    if curves is not None:
        arrays |= {f"curve_{field.name}": getattr(curves, field.name) for field in fields(curves)}
    path = record_path(dataset, note.video)
    write_aside(path, lambda file: np.savez(file, note=np.array(json.dumps(_to_json(note))), **arrays))


def carry_record(source: Path, dataset: Path, video: Video) -> None:
    """Write the record at `source` as that of `video`: the same file, under another name or path."""
    record = read_record(source)
    note = replace(record.note, video=video.name, identity=identity(video),
                   content=record.note.content or content_of(video.path))
    write_record(dataset, note, None if note.reason else record.frames, None if note.reason else record.curves)


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
        note = _from_json(json.loads(str(held["note"])))
        if note.reason:
            return Record(note, np.zeros(0, FRAME), ShotCurves(**{
                name: np.zeros((*rows, 0), _dtype(name)) for name, rows in CURVE_ROWS.items()}))
        frames, curves = held["frames"], {field.name: held[f"curve_{field.name}"] for field in fields(ShotCurves)}
        N = len(frames)
        _expect(N > 0 and frames.dtype == FRAME and frames.shape == (N,), "frames")
        for name, curve in curves.items():
            _expect(curve.dtype == _dtype(name) and curve.shape == (*CURVE_ROWS[name], N), f"curve_{name}")
            _expect(np.isfinite(curve).all(), f"curve_{name}")
        if note.scan.pack != "none":
            offset, size = frames["offset"], frames["size"].astype(np.int64)
            _expect(PACK_FILE.fullmatch(note.pack) and type(note.pack_end) is int, "pack")
            _expect(offset[0] >= 0 and size.min() > 0, "offsets and sizes")
            _expect(np.array_equal(offset + size, np.append(offset[1:], note.pack_end)), "offsets and sizes")
        return Record(note, frames, ShotCurves(**curves))


def _to_json(note: Note) -> dict[str, Any]:
    """A note as a record holds it: flat, without what is empty."""
    flat = {"version": VERSION, "video": note.video, "identity": note.identity, "scan": asdict(note.scan),
            **(asdict(note.facts) if note.facts else {})}
    return flat | {key: value for key, value in (
        ("pack", note.pack), ("pack_end", note.pack_end), ("note", note.remark), ("reason", note.reason),
        ("provisional", note.provisional), ("coding", note.coding and asdict(note.coding)),
        ("content", note.content), ("packed_from", note.packed_from)) if value}


def _from_json(flat: dict[str, Any]) -> Note:
    """A note read back and checked. Raises ValueError, KeyError or TypeError for one that cannot be right."""
    if flat["version"] != VERSION:
        raise ValueError(f"version {flat['version']!r}, this is {VERSION}")
    where = Identity(*flat["identity"])
    _expect(isinstance(flat["video"], str) and isinstance(flat["scan"], dict), "note")
    _expect(isinstance(where.path, str) and type(where.size) is type(where.mtime_ns) is int, "identity")
    reason, remark, content, packed_from = texts = [
        flat.get(key, "") for key in ("reason", "note", "content", "packed_from")]
    _expect(all(isinstance(text, str) for text in texts), "reason")
    facts = None
    if not reason:
        facts = VideoFacts(**{field.name: flat[field.name] for field in fields(VideoFacts)})
        _expect_facts(facts)
    scan = Scan(**{"quality": QUALITY[flat["scan"]["pack"]], **flat["scan"]})  # early records do not name it
    return Note(flat["video"], where, scan, facts, flat.get("pack", ""), flat.get("pack_end", 0),
                remark, reason, bool(flat.get("provisional")), checked_coding(flat.get("coding")), content, packed_from)


def _expect_facts(facts: VideoFacts) -> None:
    for key in ("width", "height"):
        _expect(type(getattr(facts, key)) is int and getattr(facts, key) > 0, key)
    _expect(facts.rotation in (0, 90, 180, 270), "rotation")
    _expect(isinstance(facts.codec, str), "codec")
    _expect(np.isfinite([float(facts.fps or 0), float(facts.start_time), float(Fraction(facts.time_base))]).all(),
            "times")


def _expect(holds: object, what: str) -> None:
    if not holds:
        raise ValueError(f"its {what} cannot be right")
