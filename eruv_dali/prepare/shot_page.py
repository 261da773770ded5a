"""Pictures of shots: the difference curve with its cuts, and the first, middle and last frame of each shot.

An HTML page embeds its pictures, so it can be sent as one file; a PNG shows one video.
"""

import html
import io
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from eruv_dali.dataset import Dataset
from eruv_dali.dataset.opened import read_settings
from eruv_dali.dataset.pack_reader import PackReader
from eruv_dali.dataset.records import Record, read_record, record_path
from eruv_dali.dataset.unpack import unpack
from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside, write_text
from eruv_dali.page import data_url, html_page, ticks
from eruv_dali.prepare.found_shots import shots_of
from eruv_dali.prepare.shot_curve import EVIDENCE_WORDS, PLAIN_WORDS, curve_figure
from eruv_dali.prepare.shot_curve import STYLE as CURVE_STYLE
from eruv_dali.shots import Shot, cut_curve
from eruv_dali.video.index import FrameIndex
from eruv_dali.video.place import locate
from eruv_dali.video.reader import FrameNotFound, FrameReader

WIDTH = 1440  # pixels of a PNG and of the curves
ROW_FRAMES = 2000  # frames in one row of the curve; a longer video takes several rows
ROW_HEIGHT = 170
THUMB_HEIGHT = 96
MARGIN = 12

PAPER, INK, FAINT, GRID = (255, 255, 255), (32, 36, 44), (120, 128, 140), (228, 231, 236)
PLAIN, EVIDENCE, CUT, GRADUAL = (150, 175, 205), (30, 90, 170), (200, 40, 40), (250, 205, 120)


@dataclass(frozen=True)
class Drawing:
    """What to draw for one video; `threshold` None is the rule's own."""

    record: Record
    shots: Sequence[Shot]
    pack: Path
    rule: str = "robust"
    threshold: float | None = None


def draw_shots(
    dataset: str | Path, out: Path, *, names: list[str] | None = None, rule: str | None = None,
    threshold: float | None = None,
) -> None:
    """Draw the shots of a DATASET's videos (all, or those named) into an .html page, or of one into a .png picture.

    `rule` and `threshold` replace those that the DATASET was made with.

    Raises:
        EruvError: no DATASET, no such video, an unsupported file type, or a video whose frames can no longer be read.
    """
    if out.suffix not in (".html", ".png"):
        raise EruvError(f"{out}: choose a file name that ends in .html or .png")
    if not isinstance(locate(dataset), Path):
        raise EruvError(f"{dataset}: the DATASET must be a folder of this machine, with its records; copy it "
                        "here first")
    dataset = Path(dataset)
    known = [video.name for video in Dataset(dataset).videos]
    for name in names or []:
        if name not in known:
            raise EruvError(f"video {name!r} is not in {dataset}/videos.csv (there are {len(known)}, the first is "
                            f"{known[0]!r})")
    names = names or known
    if out.suffix == ".png" and len(names) > 1:
        raise EruvError(f"a PNG shows one video, but {len(names)} were requested; choose one by names (--video), or "
                        "write .html")
    settings = read_settings(dataset)
    assert settings is not None  # the DATASET was opened, above
    if rule is None:
        rule, threshold = str(settings["rule"]), threshold if threshold is not None else settings["threshold"]
    drawings = []
    for name in names:
        record = read_record(record_path(dataset, name))
        shots = shots_of(record, {**settings, "rule": rule, "threshold": threshold})
        drawings.append(Drawing(record, shots, dataset / "pack", rule, threshold))
    if out.suffix == ".html":
        write_text(out, shots_page(drawings))
    else:
        write_aside(out, lambda file: png_sheet(drawings[0]).save(file, "PNG", optimize=True))


def shots_page(drawings: Sequence[Drawing]) -> str:
    """A page of every drawing, its pictures embedded."""
    shots = sum(len(drawing.shots) for drawing in drawings)
    names = [html.escape(drawing.record.note.video) for drawing in drawings]
    parts = ["<h1>Shots</h1>", f"<p>{len(drawings)} video{'s' * (len(drawings) > 1)}, {shots} "
             f"shot{'s' * (shots != 1)}. Of each shot its first, middle and last frame. Dissolves, fades and wipes "
             "belong to no shot: they are shaded, and what lies between two shots is the transition. Frames count from "
             "0.</p>"]
    if len(drawings) > 1:
        parts += ['<nav aria-label="Videos"><ol>',
                  *(f'<li><a href="#video-{number}">{name}</a> <span class="faint">{len(drawing.shots)}</span></li>'
                    for number, (name, drawing) in enumerate(zip(names, drawings, strict=True))), "</ol></nav>"]
    for number, (name, drawing) in enumerate(zip(names, drawings, strict=True)):
        parts.append(f'<section id="video-{number}"><h2>{name}</h2><p class="faint">{html.escape(facts(drawing))}</p>')
        parts += curve_figures(drawing, name)
        pictures = shot_pictures(drawing)
        width = pictures[0][0].shape[1] if pictures else THUMB_HEIGHT
        parts.append(f'<div class="sheet" style="--width: {width}px">')
        parts += [_shot_figure(drawing, place, three) for place, three in enumerate(pictures)]
        parts.append("</div></section>")
    return html_page("Shots" if len(drawings) > 1 else f"Shots, {drawings[0].record.note.video}", parts,
                     style=(CURVE_STYLE, STYLE))


def curve_figures(drawing: Drawing, name: str) -> list[str]:
    """The difference curve for a page, a figure for each ROW_FRAMES frames; `name` is HTML."""
    curves, times = drawing.record.curves, drawing.record.times()
    evidence, limit = cut_curve(curves, rule=drawing.rule)
    limit = drawing.threshold or limit
    return [curve_figure(
        curves.hog, evidence if drawing.rule == "robust" else None, limit, start, end, span,
        highest=highest_of(drawing, limit), cuts=[shot.start for shot in drawing.shots if shot.transition == "cut"],
        gradual=[(shot.transition_start, shot.start) for shot in drawing.shots if shot.transition == "gradual"],
        when=[short_clock(time - times[0], times[-1] - times[0]) for time in times], name=name)
        for start, end, span in rows_of(len(curves))]


def _shot_figure(drawing: Drawing, number: int, pictures: Sequence[np.ndarray]) -> str:
    shot = drawing.shots[number]
    images = "".join(
        f'<img src="{_jpeg(picture)}" width="{picture.shape[1]}" height="{picture.shape[0]}" '
        f'alt="shot {number}, its {word} frame, {frame}">'
        for word, frame, picture in zip(("first", "middle", "last"), frames_shown(shot), pictures, strict=True))
    where, when, opened = (html.escape(line) for line in caption(drawing.record, shot))
    return (f'<figure class="shot {shot.transition}"><div>{images}</div><figcaption><b>{number}</b> {where}'
            f"<br>{when}<br>{opened}</figcaption></figure>")


def png_sheet(drawing: Drawing) -> Image.Image:
    """The same content as one picture: title, curve, contact sheet."""
    rows, pictures = curve_rows(drawing), shot_pictures(drawing)
    thumb = pictures[0][0].shape[1] if pictures else THUMB_HEIGHT
    cell_width, cell_height = max(3 * thumb + 4, 250) + MARGIN, THUMB_HEIGHT + 58
    columns = max(1, (WIDTH - MARGIN) // cell_width)
    top = 58
    height = top + len(rows) * (ROW_HEIGHT + 8) + -(-len(drawing.shots) // columns) * cell_height + MARGIN
    sheet = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 8), drawing.record.note.video, INK, ImageFont.load_default(20))
    draw.text((MARGIN, 34), facts(drawing), FAINT, ImageFont.load_default(13))
    for row in rows:
        sheet.paste(row, (0, top))
        top += ROW_HEIGHT + 8
    for number, (shot, three) in enumerate(zip(drawing.shots, pictures, strict=True)):
        x = MARGIN + number % columns * cell_width
        y = top + number // columns * cell_height
        for place, picture in enumerate(three):
            sheet.paste(Image.fromarray(picture), (x + place * (thumb + 2), y))
        colour = {"cut": CUT, "gradual": (190, 120, 0)}.get(shot.transition, FAINT)
        for line, (text, ink) in enumerate(zip(caption(drawing.record, shot), (INK, FAINT, colour), strict=True)):
            text = f"{number}   {text}" if line == 0 else text
            draw.text((x, y + THUMB_HEIGHT + 2 + 15 * line), text, ink, ImageFont.load_default(12))
    return sheet


def curve_rows(drawing: Drawing) -> list[Image.Image]:
    """The difference curve as pictures of ROW_FRAMES frames each, all with one scale."""
    evidence, limit = cut_curve(drawing.record.curves, rule=drawing.rule)
    limit = drawing.threshold or limit
    return [_curve_row(drawing, evidence, limit, highest_of(drawing, limit), start, end, span, start == 0)
            for start, end, span in rows_of(len(drawing.record.curves))]


def highest_of(drawing: Drawing, limit: float) -> float:
    """Where the scale of the curve ends."""
    return max(float(drawing.record.curves.hog.max(initial=0)), 1.5 * limit)


def rows_of(frames: int) -> list[tuple[int, int, int]]:
    """(first frame, end, frames that a full row has) of each row of the curve: about ROW_FRAMES each."""
    span = -(-frames // max(1, round(frames / ROW_FRAMES)))
    return [(start, min(start + span, frames), span) for start in range(0, frames, span)]


def _curve_row(
    drawing: Drawing, evidence: np.ndarray, limit: float, highest: float, start: int, end: int, span: int, legend: bool
) -> Image.Image:
    image = Image.new("RGB", (WIDTH, ROW_HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    small = ImageFont.load_default(11)
    left, right, top, bottom = 48, WIDTH - MARGIN, 26, ROW_HEIGHT - 20

    def x(frame: float) -> float:
        return left + (frame - start) * (right - left) / span

    def y(value: float) -> float:
        return bottom - min(max(value, 0.0), highest) * (bottom - top) / highest

    for shot in drawing.shots:  # the background of the curve
        a, b = max(shot.transition_start, start), min(shot.start, end)
        if shot.transition == "gradual" and a < b:
            draw.rectangle((x(a), top, x(b), bottom), GRADUAL)
    step = next(step for step in (10, 20, 50, 100, 200, 500, 1000) if span / step <= 22 or step == 1000)
    for frame in range(-(-start // step) * step, end, step):
        draw.line((x(frame), top, x(frame), bottom), GRID)
        if x(frame) < right - 44:  # there the axis is named
            draw.text((x(frame), bottom + 3), str(frame), FAINT, small, anchor="ma")
    draw.text((right, bottom + 3), "frame", FAINT, small, anchor="ra")
    for value in ticks(highest, 3):
        draw.text((left - 6, y(value)), f"{value:g}", FAINT, small, anchor="rm")
    draw.line((left, bottom, right, bottom), FAINT)
    for values, colour in ((drawing.record.curves.hog, PLAIN), (evidence, EVIDENCE)):
        points = [(x(frame), y(float(values[frame]))) for frame in range(start, end)]
        if len(points) > 1:
            draw.line(points, colour, 1)
    for dash in range(left, right, 8):
        draw.line((dash, y(limit), dash + 4, y(limit)), FAINT)
    for shot in drawing.shots:  # cuts are marked above the curve, so that they hide none of it
        if shot.transition == "cut" and start <= shot.start < end:
            draw.polygon([(x(shot.start) - 4, top - 8), (x(shot.start) + 4, top - 8), (x(shot.start), top - 1)], CUT)
            draw.line((x(shot.start), top, x(shot.start), top + 5), CUT)
    if legend:
        words = [(PLAIN_WORDS, PLAIN)] * (drawing.rule == "robust") + [
            (EVIDENCE_WORDS if drawing.rule == "robust" else PLAIN_WORDS, EVIDENCE),
            (f"threshold {limit:g} (dashed)", FAINT), ("cut", CUT), ("gradual transition, in no shot", GRADUAL)]
        at: float = left
        for text, colour in words:
            if text == "cut":
                draw.polygon([(at, 4), (at + 8, 4), (at + 4, 11)], colour)
            else:
                draw.rectangle((at, 5, at + 9, 10), colour)
            draw.text((at + 14, 1), text, INK, small)
            at += draw.textlength(text, small) + 32
    return image


def facts(drawing: Drawing) -> str:
    """One line about the video and what was found in it."""
    note, known, shots = drawing.record.note, drawing.record.facts, drawing.shots
    times = drawing.record.times()
    gradual = sum(shot.transition == "gradual" for shot in shots)
    rule = drawing.rule if drawing.threshold is None else f"{drawing.rule} at {drawing.threshold:g}"
    damage = f"; {note.remark}" if note.remark else ""
    return (f"{len(drawing.record.frames)} frames, {clock(times[-1] - times[0])}, {known.width}x{known.height} "
            f"{known.codec}; {len(shots)} shot{'s' * (len(shots) != 1)}, {gradual} after a gradual transition; "
            f"rule {rule}{damage}")


def caption(record: Record, shot: Shot) -> tuple[str, str, str]:
    """Three lines under a shot: its frames, its times, and how it starts."""
    times = record.times()
    if shot.transition == "gradual":
        opened = f"gradual {shot.transition_start} to {shot.start - 1}, score {shot.score:.3f}"
    else:
        opened = f"cut, score {shot.score:.3f}" if shot.transition else "start of the video"
    return (f"frames {shot.start} to {shot.end - 1} ({shot.end - shot.start})",
            f"{clock(times[shot.start])} to {clock(times[shot.end])}", opened)


def clock(seconds: float) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}.{thousandths:03d}"


def short_clock(seconds: float, of: float) -> str:
    """For an axis: in a video of less than a minute "3.3 s", else "1:05" or "1:02:05"."""
    if of < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if of >= 3600 else f"{minutes}:{rest:02d}"


def frames_shown(shot: Shot) -> tuple[int, int, int]:
    return shot.start, (shot.start + shot.end - 1) // 2, shot.end - 1


def shot_pictures(drawing: Drawing) -> list[list[np.ndarray]]:
    """First, middle and last frame of each shot, (THUMB_HEIGHT, width, 3) uint8, from the pack or the video itself.

    Raises:
        EruvError: the file is gone or has changed.
    """
    record, note = drawing.record, drawing.record.note
    width = min(max(round(THUMB_HEIGHT * record.facts.width / record.facts.height), 16), 4 * THUMB_HEIGHT)
    wanted = sorted({frame for shot in drawing.shots for frame in frames_shown(shot)})
    if note.pack:
        size = (note.scan.frame_height, note.scan.frame_width)
        with closing(PackReader(drawing.pack)) as packed:
            pictures = {}
            for frame in wanted:
                (picture,) = unpack(packed, note.scan.pack, size, note.pack, record.frames, frame, frame + 1)
                pictures[frame] = np.asarray(Image.fromarray(picture).resize((width, THUMB_HEIGHT)))
    else:
        reader, index = FrameReader(), FrameIndex(record.frames["pts"], record.frames["key"])
        try:
            found = reader.read(locate(note.identity.path), index, wanted, THUMB_HEIGHT, width)
        except FrameNotFound as error:
            raise EruvError(str(error)) from None
        finally:
            reader.close()
        pictures = dict(zip(wanted, found, strict=True))
    return [[pictures[frame] for frame in frames_shown(shot)] for shot in drawing.shots]


def _jpeg(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=85, optimize=True)
    return data_url(buffer.getvalue(), "image/jpeg")


STYLE = """
nav ol { columns: 17rem; column-gap: 3.5rem; padding-left: 2.2rem; margin: .5rem 0; }
.sheet { display: grid; gap: 1rem; margin-top: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, max(15rem, 2.3 * var(--width))), 1fr)); }
.shot { border-top: 3px solid var(--line); padding-top: 5px; }
.shot.cut { border-color: var(--mark); }
.shot.gradual { border-top-style: dashed; border-color: var(--shade); }
.shot div { display: flex; gap: 2px; align-items: start; margin-bottom: .2rem; }
.shot img { max-width: calc((100% - 4px) / 3); height: auto; }
"""
