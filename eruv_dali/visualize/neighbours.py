"""Nearest neighbours to look at: each query and the videos found most alike it, moving, hit or miss marked."""

import base64
import html
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.even_clips import clip_starts, names_in
from eruv_dali.files import write_text
from eruv_dali.loader import ClipLoader

FRAMES, MILLISECONDS = 16, 80  # of a thumbnail, and of each of its frames
SIDE = 112  # pixels

STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 24px; color: #20242c; background: #fff }
.row { display: flex; gap: 10px; align-items: flex-start; margin: 0 0 18px }
figure { margin: 0; width: 124px; font-size: 12px }
img { width: 112px; height: 112px; border: 6px solid #888; display: block; object-fit: cover }
.query { margin-right: 18px }
.hit img { border-color: #0072b2 } .miss img { border-color: #d55e00; border-style: dashed }
b { display: block } .name { color: #78808c; overflow-wrap: anywhere }
"""


def draw_neighbours(run: Path, out: Path, *, queries: int = 12, k: int = 5) -> tuple[int, int]:
    """Write an HTML page of what `retrieve` found: some queries, spread over all, and their k nearest videos.

    The page holds its pictures within itself (animated WebP).

    Args:
        run: a RUN folder of `retrieve`, or of several splits (the first is shown), or its neighbours.json.
        out: the .html file to write.
        queries: how many; k: neighbours of each, at most 10.

    Returns:
        Queries shown, and how many of them have a hit among those k.

    Raises:
        EruvError: no neighbours.json, another kind of file, videos that are gone.
    """
    if out.suffix != ".html":
        raise EruvError(f"{out}: name a file that ends in .html")
    for name, value in (("queries", queries), ("k", k)):
        if value < 1:
            raise EruvError(f"--{name} {value} must be at least 1")
    file = _found(run)
    try:
        record = json.loads(file.read_text())
        every, dataset = record["queries"], Path(record["dataset"])
    except (ValueError, KeyError, TypeError):
        raise EruvError(f"{file}: not what retrieve writes; run retrieve again") from None
    shown = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, queries).round().astype(int))]
    wanted = {_key(clip) for query in shown for clip in (query, *query["neighbours"][:k])}
    pictures = _thumbnails(sorted(wanted), dataset)
    rows, hits = [], 0
    for query in shown:
        nearest = query["neighbours"][:k]
        hits += any(neighbour["hit"] for neighbour in nearest)
        cells = [_figure(query, pictures, "query", "query")]
        for neighbour in nearest:
            word = "hit" if neighbour["hit"] else "miss"
            cells.append(_figure(neighbour, pictures, word, f"{word} · {neighbour['similarity']:.3f}"))
        rows.append(f'<div class="row">{"".join(cells)}</div>')
    title = f"{file.parent.name}: {len(shown)} of {len(every)} queries, {hits} with a hit among their {k} nearest"
    write_text(out, f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
               f"<h1>Nearest videos</h1><p>{html.escape(title)}. Left the query; then the videos most alike it, "
               "with their cosine: solid blue is of its class, dashed orange is not.</p>" + "\n".join(rows) + "\n")
    return len(shown), hits


def _found(run: Path) -> Path:
    candidates = [run] if run.is_file() else [run / "neighbours.json", *sorted(run.glob("split_*/neighbours.json"))]
    for file in candidates:
        if file.is_file():
            return file
    raise EruvError(f"{run}: no neighbours.json here; name a RUN folder of python -m eruv_dali.retrieve")


def _key(clip: dict) -> tuple[str, int]:
    """Video and first frame; -1 where the whole video was meant."""
    return clip["video"], clip.get("start", -1)


def _thumbnails(wanted: list[tuple[str, int]], folder: Path) -> dict[tuple[str, int], str]:
    """An animated WebP, as base64, of each clip; of a whole video the clip in its middle."""
    if missing := [video for video, _ in wanted if not Path(video).is_file()]:
        raise EruvError(f"{missing[0]}: no such file any more ({len(missing)} of {len(wanted)} clips cannot be shown)")
    dataset = Dataset(folder)
    names = names_in(dataset, [video for video, _ in wanted])
    middle = {video.video: clip_starts(video.frames, 3, FRAMES)[1] for video in dataset.videos}
    clips = [(name, start if start >= 0 else middle[name], number)
             for number, (name, (_, start)) in enumerate(zip(names, wanted, strict=True))]
    crop = min(dataset.frame_height, dataset.frame_width)
    found = {}
    with ClipLoader(clips, batch_size=8, clip_length=FRAMES, crop=crop, hold_last=True, layout="TCHW", device="cpu",
                    dataset=dataset) as loader:
        for batch in loader:
            for label, x_TCHW in zip(batch.label.tolist(), batch.clips, strict=True):
                pixels = (x_TCHW.permute(0, 2, 3, 1) * 255).round().byte().numpy()
                found[wanted[label]] = _animated(pixels)
    dataset.close()
    return found


def _animated(pixels_THWC: np.ndarray) -> str:
    pictures = [Image.fromarray(frame).resize((SIDE, SIDE)) for frame in pixels_THWC]
    file = io.BytesIO()
    pictures[0].save(file, "WEBP", save_all=True, append_images=pictures[1:], duration=MILLISECONDS, loop=0, quality=60)
    return base64.b64encode(file.getvalue()).decode()


def _figure(clip: dict, pictures: dict, kind: str, caption: str) -> str:
    name = html.escape(Path(clip["video"]).name)
    return (f'<figure class="{kind}"><img alt="{name}" src="data:image/webp;base64,{pictures[_key(clip)]}">'
            f'<figcaption><b>{html.escape(caption)}</b>{html.escape(clip["class"])}'
            f'<span class="name"> {name}</span></figcaption></figure>')
