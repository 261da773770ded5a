"""Neighbours: videos and those that a network finds most similar, animated, on a page that needs no other file."""

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eruv_dali.console import progress
from eruv_dali.errors import EruvError
from eruv_dali.files import write_text
from eruv_dali.video.index import index_video
from eruv_dali.video.open import UnusableVideo
from eruv_dali.video.reader import FrameNotFound, FrameReader

HEIGHT = 96  # pixels of a thumbnail
WIDEST = 2 * HEIGHT
SHOWN = 16  # frames of a thumbnail: for a video spread over all of it, for a clip those from its start on
MILLISECONDS = 120  # per frame

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
    found = read_neighbours(run)
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
                thumbnails[clip] = thumbnail(clip, reader)
    finally:
        reader.close()
    write_text(out, html_page(chosen, thumbnails, title=str(run), of=len(found)))


def read_neighbours(run: Path) -> list[dict[str, Any]]:
    """The queries of RUN/neighbours.json, as retrieve describes them.

    Raises:
        EruvError: it does not exist, is damaged, or is in folders of several splits.
    """
    file = run / "neighbours.json"
    if not file.is_file():
        splits = sorted(path.parent for path in run.glob("split_*/neighbours.json"))
        hint = (f"it has several splits, give one: {', '.join(map(str, splits[:3]))}{', …' if len(splits) > 3 else ''}"
                if splits else "name a RUN of eruv_dali.retrieve")
        raise EruvError(f"{file}: no such file; {hint}")
    try:
        found = json.loads(file.read_text())["queries"]
        for video in (each for query in found for each in (query, *query["neighbours"])):
            str(video["video"]), str(video["class"])
        for neighbour in (each for query in found for each in query["neighbours"]):
            float(neighbour["similarity"]), bool(neighbour["hit"])
        sizes = {len(query["neighbours"]) for query in found}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EruvError(f"{file}: is damaged ({type(error).__name__}: {error}); run retrieve again") from None
    if len(sizes) != 1 or 0 in sizes:
        raise EruvError(f"{file}: lists no queries, or unequal numbers of neighbours; run retrieve again")
    return found


def thumbnail(clip: Clip, reader: FrameReader) -> str:
    """A video, or a clip of it, as a small animated WebP picture in a data: URL.

    Raises:
        EruvError: it cannot be decoded.
    """
    path, start = Path(clip[0]), clip[1]
    try:
        index, facts = index_video(path)
        last = len(index.pts) - 1
        wanted = np.linspace(0, last, SHOWN) if start is None else np.arange(start, start + SHOWN)
        width = min(max(round(HEIGHT * facts.width / facts.height), 16), WIDEST)
        frames = reader.read(path, index, np.unique(wanted.round().astype(int).clip(0, last)), HEIGHT, width)
    except (UnusableVideo, FrameNotFound) as error:
        raise EruvError(f"{path}: cannot be decoded ({error}); repair it, or leave it out of retrieve") from None
    pictures = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "WEBP", save_all=True, append_images=pictures[1:], duration=MILLISECONDS, loop=0,
                     quality=60)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def html_page(queries: Sequence[dict[str, Any]], thumbnails: dict[Clip, str], *, title: str, of: int) -> str:
    """The page of `queries`, out of `of`; a thumbnail is embedded once, however often it appears."""
    number = {clip: place for place, clip in enumerate(thumbnails)}
    k = len(queries[0]["neighbours"])
    first = sum(query["neighbours"][0]["hit"] for query in queries)
    any_hit = sum(any(each["hit"] for each in query["neighbours"]) for query in queries)
    words = (f"{len(queries)} of {of} queries; the nearest is a hit for {first}, one of the {k} nearest for "
             f"{any_hit}. A hit has the query's class; numbers are cosines.")
    pictures = "\n".join(f".v{number[clip]} {{ background-image: url({address}); }}"
                         for clip, address in thumbnails.items())
    parts = [_HEAD.format(title=html.escape(title), pictures=pictures),
             f"<h1>Neighbours, {html.escape(title)}</h1><p>{words}</p>"]
    for query in queries:
        parts.append(f'<section>{_figure(query, number, "query", "query")}')
        for place, each in enumerate(query["neighbours"], 1):
            kind = "hit" if each["hit"] else "miss"
            parts.append(_figure(each, number, kind, f'{place}. {kind}, {each["similarity"]:.3f}'))
        parts.append("</section>")
    return "\n".join([*parts, "</body></html>\n"])


def _figure(video: dict[str, Any], number: dict[Clip, int], kind: str, words: str) -> str:
    name = html.escape(Path(video["video"]).name)
    start = f" from frame {video['start']}" if "start" in video else ""
    return (f'<figure class="{kind}"><div class="v{number[_clip(video)]}" role="img" aria-label="{name}"></div>'
            f'<figcaption><b>{words}</b><br>{html.escape(video["class"])}<br><span title="'
            f'{html.escape(video["video"])}">{name}{start}</span></figcaption></figure>')


def _clip(video: dict[str, Any]) -> Clip:
    return video["video"], video.get("start")


_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Neighbours, {title}</title><style>
body {{ font: 14px/1.4 system-ui, sans-serif; color: #20242c; margin: 1.5rem; }}
h1 {{ font-size: 1.25rem; margin: 0; overflow-wrap: anywhere; }}
p {{ color: #646c78; margin: .2rem 0 1rem; }}
section {{ display: flex; flex-wrap: wrap; gap: 10px; padding: 12px 0; border-top: 1px solid #e4e7ec; }}
figure {{ margin: 0; width: 150px; border: 3px solid; border-radius: 4px; padding: 4px; }}
figure.query {{ border-color: #8a929e; margin-right: 14px; }}
figure.hit {{ border-color: #0072b2; }}
figure.miss {{ border-color: #d55e00; border-style: dashed; }}
figure div {{ height: 96px; background: #f2f4f7 center / contain no-repeat; }}
figcaption {{ font-size: 12px; color: #646c78; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }}
figcaption b {{ color: #20242c; }}
.hit b {{ color: #0072b2; }}
.miss b {{ color: #b34700; }}
{pictures}
</style></head><body>"""
