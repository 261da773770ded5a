"""Shots for other programs: JSON, edit lists (EDL CMX 3600), OpenTimelineIO, a web page; and the curves as a table.

JSON    everything in shots.csv, and the facts about the video
EDL     one event per shot, at its own position in the video; editing programs split the clip there
OTIO    OpenTimelineIO's own JSON (Timeline.1): the whole video as clips end to end; read by `otioview` and adapters
HTML    what `python -m eruv_dali.visualize shots` draws

EDL and OTIO count frames of the video's nominal rate from its first picture. In a video of constant frame rate that is
the frame number; in others the frame's time, rounded, because editing programs place the frames of such videos so.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eruv_dali.dataset.records import Record
from eruv_dali.files import printable, write_csv, write_text
from eruv_dali.shots.rules import Shot, transition_evidence
from eruv_dali.video.place import locate, uri

EXPORTS = ("json", "edl", "otio", "html")
SHORT, OUTSIDE = "too short for a shot", "outside --start and --end"  # names of clips that are no shots
STATS_COLUMNS = ("frame", "time", "hog", "luminance", "cut", "gradual")


def write_export(
    path: Path, kind: str, record: Record, shots: Sequence[Shot], pack: Path, within: tuple[int, int] | None = None
) -> None:
    """Write the shots of a video to `path` in format `kind`, one of EXPORTS; `pack` is the DATASET's pack folder.
    `within`: where shots were looked for, if not in all its frames: the first one and the end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "html":
        from eruv_dali.prepare.shot_page import Drawing, shots_page  # uses Pillow, which nothing else here needs

        write_text(path, shots_page([Drawing(record, shots, pack)]))
    else:
        write_text(path, as_otio(record, shots, within) if kind == "otio" else
                   {"json": as_json, "edl": as_edl}[kind](record, shots))


def write_stats(path: Path, record: Record) -> None:
    """Write a video's curves, one line per frame: how frame n differs from frame n-1.

    hog and luminance are the plain differences (see `ShotCurves`), cut and gradual the robust rule's curves.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    curves = record.curves
    columns = [record.times()[:-1], curves.hog, curves.luminance, *transition_evidence(curves)]
    rows = ((n, *(f"{value:.6f}" for value in values)) for n, values in enumerate(zip(*columns, strict=True)))
    write_csv(path, STATS_COLUMNS, rows)


def as_json(record: Record, shots: Sequence[Shot]) -> str:
    note, facts, times = record.note, record.facts, record.times().round(6).tolist()
    content = {
        "video": note.video, "width": facts.width, "height": facts.height, "codec": facts.codec,
        "rotation": facts.rotation, "path": printable(note.identity.path), "frames": len(record.frames),
        "fps": float(facts.fps or 0) or None, "start_time": times[0], "end_time": times[-1],
        "shots": [
            {"shot": number, "start": shot.start, "end": shot.end, "score": round(shot.score, 6),
             "start_time": times[shot.start], "end_time": times[shot.end], "transition": shot.transition or None,
             "transition_start": shot.transition_start if shot.transition else None,
             "transition_end": shot.start if shot.transition else None}
            for number, shot in enumerate(shots)
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def as_edl(record: Record, shots: Sequence[Shot]) -> str:
    """CMX 3600: record time codes equal the source's, so that the list puts the shots where they were."""
    rate, at = _timeline(record)
    base = max(1, round(rate))
    title = " ".join(record.note.video.split())
    lines = [f"TITLE: {title}", "FCM: NON-DROP FRAME", ""]
    for number, shot in enumerate(shots, 1):
        span = f"{_timecode(at[shot.start], base)} {_timecode(at[shot.end], base)}"
        lines += [f"{number:03d}  AX       V     C        {span} {span}", f"* FROM CLIP NAME: {title}"]
        if shot.transition == "gradual":
            lines.append(f"* GRADUAL TRANSITION BEFORE, FROM {_timecode(at[shot.transition_start], base)}")
        lines.append("")
    return "\n".join(lines)


def as_otio(record: Record, shots: Sequence[Shot], within: tuple[int, int] | None = None) -> str:
    """One video track. Frames that belong to no shot form their own clips, so that the track plays like the video."""
    rate, at = _timeline(record)
    first, last = within or (0, len(record.frames))
    note = record.note
    video = {
        "OTIO_SCHEMA": "ExternalReference.1", "metadata": {}, "name": note.video,
        "available_range": _range(0, at[-1], rate), "target_url": printable(uri(locate(note.identity.path))),
    }

    def clip(name: str, start: int, end: int, metadata: dict) -> dict:
        return {
            "OTIO_SCHEMA": "Clip.2", "metadata": {"eruv_dali": metadata}, "name": name,
            "source_range": _range(at[start], at[end], rate), "effects": [], "markers": [], "enabled": True,
            "media_references": {"DEFAULT_MEDIA": video}, "active_media_reference_key": "DEFAULT_MEDIA",
        }

    def between(start: int, end: int, kind: str) -> list[dict]:
        pieces = ((start, min(end, first), OUTSIDE), (max(start, first), min(end, last), kind),
                  (max(start, last), end, OUTSIDE))
        return [clip(name, begin, stop, {}) for begin, stop, name in pieces if begin < stop]

    clips, end = [], 0
    for number, shot in enumerate(shots):
        clips += between(end, shot.start, "gradual transition" if shot.transition == "gradual" else SHORT)
        frames = {"start": shot.start, "end": shot.end, "score": round(shot.score, 6), "transition": shot.transition}
        clips.append(clip(f"shot {number}", shot.start, shot.end, frames))
        end = shot.end
    clips += between(end, len(record.frames), SHORT)
    track: dict[str, Any] = {"OTIO_SCHEMA": "Track.1", "metadata": {}, "name": "shots", "source_range": None,
                             "effects": [], "markers": [], "enabled": True, "children": clips, "kind": "Video"}
    stack: dict[str, Any] = {"OTIO_SCHEMA": "Stack.1", "metadata": {}, "name": "tracks", "source_range": None,
                             "effects": [], "markers": [], "enabled": True, "children": [track]}
    timeline = {"OTIO_SCHEMA": "Timeline.1", "metadata": {}, "name": note.video, "global_start_time": None,
                "tracks": stack}
    return json.dumps(timeline, indent=1, ensure_ascii=False) + "\n"


def _timeline(record: Record) -> tuple[float, list[int]]:
    """The nominal frame rate, and the timeline position of each frame and of the video's end."""
    rate = record.facts.rate
    times = record.times()
    place, number = np.round((times - times[0]) * rate), np.arange(len(times))
    steady = np.abs(place - number).max() <= 1  # time stamps in whole milliseconds may be off by up to one frame
    return rate, (number if steady else place).astype(int).tolist()


def _range(start: int, end: int, rate: float) -> dict:
    def moment(value: int) -> dict:
        return {"OTIO_SCHEMA": "RationalTime.1", "rate": rate, "value": float(value)}

    return {"OTIO_SCHEMA": "TimeRange.1", "start_time": moment(start), "duration": moment(end - start)}


def _timecode(frame: int, base: int) -> str:
    seconds, frames = divmod(frame, base)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frames:02d}"
