"""Neighbours: videos and those that a network finds most similar, animated, on a page that needs no other file."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eruv_dali.checks import shown
from eruv_dali.console import progress
from eruv_dali.errors import EruvError
from eruv_dali.files import write_text
from eruv_dali.page import html_page
from eruv_dali.video.index import index_video
from eruv_dali.video.open import UnusableVideo
from eruv_dali.video.reader import FrameNotFound, FrameReader
from eruv_dali.visualize.moving import SCRIPT, Moving, controls, moving
from eruv_dali.visualize.moving import STYLE as MOVING_STYLE

HEIGHT = 96  # pixels of a thumbnail
WIDEST = 2 * HEIGHT
SHOWN = 16  # frames of a thumbnail, at most: spread over all of the video, or of the clip
CLIP_LENGTH = 16  # of a neighbours.json that does not say it, as none did at first

Clip = tuple[str, int | None]  # path, and first frame; None: all of the video


def draw_neighbours(run: Path, out: Path, *, queries: int = 20, k: int = 5) -> None:
    """Draw `queries` queries of a RUN of retrieve, spread evenly over all, each with its `k` nearest, into an .html.

    Raises:
        EruvError: an unsupported file type, a folder without retrieve's neighbours.json or a damaged one, more
            neighbours requested than it lists, a video that is missing or cannot be decoded.
    """
    if out.suffix not in (".html", ".htm"):
        raise EruvError(f"{out}: choose a file name that ends in .html")
    if queries < 1 or k < 1:
        raise EruvError(f"queries {queries}, k {k}: both must be at least 1")
    found, length = _read(run)
    most = len(found[0]["neighbours"])
    if k > most:
        raise EruvError(f"k {k}: {run / 'neighbours.json'} lists {most} neighbours of each query")
    chosen = [found[place] for place in np.unique(np.linspace(0, len(found) - 1, min(queries, len(found))).round()
                                                  .astype(int))]
    chosen = [{**query, "neighbours": query["neighbours"][:k]} for query in chosen]
    clips = list(dict.fromkeys(_clip(video) for query in chosen for video in (query, *query["neighbours"])))
    if gone := [path for path in dict.fromkeys(path for path, _ in clips) if not Path(path).is_file()]:
        raise EruvError(f"{gone[0]}: the video no longer exists ({len(gone)} are missing); restore it, or run retrieve "
                        "again")
    thumbnails, reader = {}, FrameReader()
    try:
        with progress(transient=True) as bar:
            for clip in bar.track(clips, description="thumbnails"):
                thumbnails[clip] = thumbnail(clip, reader, length)
    finally:
        reader.close()
    write_text(out, neighbours_page(chosen, thumbnails, title=str(run), of=len(found)))


def read_neighbours(run: Path) -> list[dict[str, Any]]:
    """The queries of RUN/neighbours.json, as retrieve describes them.

    Raises:
        EruvError: it does not exist, is damaged, or is in folders of several splits.
    """
    return _read(run)[0]


def _read(run: Path) -> tuple[list[dict[str, Any]], int]:
    """The queries of RUN/neighbours.json, and the frames of a clip; see `read_neighbours`."""
    file = run / "neighbours.json"
    if not file.is_file():
        splits = sorted(path.parent for path in run.glob("split_*/neighbours.json"))
        hint = (f"it has several splits, give one: {', '.join(map(str, splits[:3]))}{', …' if len(splits) > 3 else ''}"
                if splits else "name a RUN of eruv_dali.retrieve")
        raise EruvError(f"{file}: no such file; {hint}")
    try:
        written = json.loads(file.read_text())
        found, length = written["queries"], written.get("clip_length", CLIP_LENGTH)
        if type(length) is not int or not 0 < length < 2**31:
            raise TypeError(f"clip_length {shown(length)}, which must be a number of frames")
        for video in (each for query in found for each in (query, *query["neighbours"])):
            start = video.get("start", 0)
            if not (isinstance(video["video"], str) and isinstance(video["class"], str) and "\0" not in video["video"]):
                raise TypeError("a video or a class that is no text")
            if type(start) is not int or not 0 <= start < 2**31:
                raise TypeError(f"start {shown(start)}, which must be a frame's number")
        for neighbour in (each for query in found for each in query["neighbours"]):
            float(neighbour["similarity"]), bool(neighbour["hit"])
        sizes = {len(query["neighbours"]) for query in found}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        words = " ".join(str(error).split())[:200]
        raise EruvError(f"{file}: is damaged ({type(error).__name__}: {words}); run retrieve again") from None
    if len(sizes) != 1 or 0 in sizes:
        raise EruvError(f"{file}: lists no queries, or unequal numbers of neighbours; run retrieve again")
    return found, length


def thumbnail(clip: Clip, reader: FrameReader, length: int = CLIP_LENGTH) -> Moving:
    """A video, or a clip of it of `length` frames, as a small moving picture.

    Raises:
        EruvError: it cannot be decoded.
    """
    path, start = Path(clip[0]), clip[1]
    try:
        index, facts = index_video(path)
        last = len(index.pts) - 1
        ends, count = ((0, last), SHOWN) if start is None else ((start, start + length - 1), min(length, SHOWN))
        wanted = np.linspace(*ends, count)
        width = min(max(round(HEIGHT * facts.width / facts.height), 16), WIDEST)
        frames = reader.read(path, index, np.unique(wanted.round().astype(int).clip(0, last)), HEIGHT, width)
    except (UnusableVideo, FrameNotFound) as error:
        raise EruvError(f"{path}: cannot be decoded ({error}); repair it, or leave it out of retrieve") from None
    return moving(np.asarray(frames))


def neighbours_page(queries: Sequence[dict[str, Any]], thumbnails: dict[Clip, Moving], *, title: str, of: int) -> str:
    """The page of `queries`, out of `of`; a thumbnail is embedded once, however often it appears."""
    number = {clip: place for place, clip in enumerate(thumbnails)}
    k = len(queries[0]["neighbours"])
    first = sum(query["neighbours"][0]["hit"] for query in queries)
    any_hit = sum(any(each["hit"] for each in query["neighbours"]) for query in queries)
    words = (f"{len(queries)} of {of} queries; the nearest is a hit for {first}, one of the {k} nearest for "
             f"{any_hit}. A hit has the query's class; numbers are cosines, 1 for the same direction.")
    digits = _digits(queries)
    lengths = {each.frames for each in thumbnails.values()}
    parts = [f"<h1>Neighbours, {html.escape(title)}</h1><p>{words}</p>",
             controls(lengths.pop() if len(lengths) == 1 else None)]
    for place, query in enumerate(queries, 1):
        parts.append(f'<section aria-label="query {place}">{_figure(query, thumbnails, number, "query", "query")}')
        for rank, each in enumerate(query["neighbours"], 1):
            kind, mark = ("hit", "✓") if each["hit"] else ("miss", "✗")
            parts.append(_figure(each, thumbnails, number, kind,
                                 f'{rank}. {mark} {kind}, {each["similarity"]:.{digits}f}'))
        parts.append("</section>")
    pictures = "".join(thumbnails[clip].style(f"v{place}") for clip, place in number.items())
    return html_page(f"Neighbours, {title}", parts, style=(MOVING_STYLE, STYLE, pictures), script=(SCRIPT,))


def _digits(queries: Sequence[dict[str, Any]]) -> int:
    """Digits, 3 to 6, with which no two neighbours of a query look equally similar unless they are."""
    for digits in range(3, 6):
        if all(len({f"{each:.{digits}f}" for each in found}) == len(found)
               for found in ({each["similarity"] for each in query["neighbours"]} for query in queries)):
            return digits
    return 6


def _figure(
    video: dict[str, Any], thumbnails: dict[Clip, Moving], number: dict[Clip, int], kind: str, words: str
) -> str:
    name, clip = html.escape(Path(video["video"]).name), _clip(video)
    start = f" from frame {video['start']}" if "start" in video else ""
    many = " many" * (thumbnails[clip].frames > 1)
    return (f'<figure class="{kind}"><div class="moving{many} v{number[clip]}" role="img" aria-label="{name}{start}">'
            f'</div><figcaption><b>{words}</b><br>{html.escape(video["class"])}<br><span title="'
            f'{html.escape(video["video"])}">{name}{start}</span></figcaption></figure>')


def _clip(video: dict[str, Any]) -> Clip:
    return video["video"], video.get("start")


STYLE = """
section { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(10rem, 46%), 1fr)); gap: .7rem;
  padding: .8rem 0; }
section + section { border-top: 1px solid var(--line); }
section figure { border: 3px solid var(--faint); border-radius: 5px; padding: .3rem; max-width: 14rem; }
figure.query { background: var(--panel); }
figure.hit { border-color: var(--right); }
figure.miss { border-color: var(--wrong); border-style: dashed; }
figure .moving { max-width: calc(11rem * var(--ratio)); margin: 0 auto .3rem; }
.hit b { color: var(--right); }
.miss b { color: var(--wrong); }
"""
