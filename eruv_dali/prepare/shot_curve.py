"""A video's difference curve for a page: it is as wide as the page, its words keep their size.

The curve is stretched to the width, all else is text beside it at its place in percent.
"""

from collections.abc import Sequence

import numpy as np

from eruv_dali.page import ticks

PLAIN_WORDS = "difference to the previous frame (mean |HOG difference|)"
EVIDENCE_WORDS = "evidence of a cut (the network's)"
MOST_TOLD = 20  # cuts named in the text for those who do not see the picture
HEIGHT = 1000  # units of the picture


def curve_figure(
    plain: np.ndarray, evidence: np.ndarray | None, limit: float, start: int, end: int, span: int, *, highest: float,
    cuts: Sequence[int], gradual: Sequence[tuple[int, int]], when: Sequence[str], name: str,
) -> str:
    """The frames `start` to `end` - 1 of a curve, on an axis of `span` frames.

    Args:
        plain: (frames,) difference of each frame to the one before it.
        evidence: (frames,) what is compared with the threshold `limit`; None if that is `plain`.
        highest: value at the upper end.
        cuts: first frames after cuts; `gradual`: (first frame, end) of gradual transitions.
        when: the time of each frame.
        name: of the video, HTML.
    """
    def percent(frame: float) -> str:
        return f"{100 * (frame - start) / span:.3f}%"

    def line(values: np.ndarray, kind: str) -> str:
        heights = HEIGHT - np.clip(values[start:end] / highest, 0, 1) * HEIGHT
        points = " ".join(f"{place},{height}" for place, height in enumerate(heights.round().astype(int).tolist()))
        return f'<polyline class="{kind}" points="{points}"/>'

    cuts = [frame for frame in cuts if start <= frame < end]
    shaded = [(max(first, start), min(last, end)) for first, last in gradual if first < end and last > start]
    level = f"{HEIGHT - limit / highest * HEIGHT:.0f}"
    drawn = "".join(f'<rect class="shade" x="{first - start}" y="0" width="{last - first}" height="{HEIGHT}"/>'
                    for first, last in shaded)
    drawn += line(plain, "evidence" if evidence is None else "plain")
    drawn += "" if evidence is None else line(evidence, "evidence")
    drawn += f'<line class="limit" x1="0" x2="{span}" y1="{level}" y2="{level}"/>'
    listed = ", ".join(map(str, cuts[:MOST_TOLD])) + ", …" * (len(cuts) > MOST_TOLD)
    told = (f"difference curve of {name}, frames {start} to {end - 1}: {_count(cuts, 'cut')}"
            f"{' at ' * bool(cuts)}{listed}; {_count(shaded, 'gradual transition')}")
    # At the right edge a number would reach beyond the page.
    frames = [frame for frame in dict.fromkeys(map(round, ticks(end - 1, 10 * max(1, (end - 1) // span))))
              if start <= frame < min(end, start + 0.97 * span)]
    below = "".join(f'<span class="{"many" if place % 2 else "few"}" style="left: {percent(frame)}">{frame}'
                    f"<br>{when[frame]}</span>" for place, frame in enumerate(frames))
    beside = "".join(f'<span style="bottom: {100 * value / highest:.2f}%">{value:g}</span>'
                     for value in ticks(highest, 4))
    marks = "".join(f'<i style="left: {percent(frame)}"></i>' for frame in cuts)
    return (
        f'<figure class="curve"><figcaption>{_legend(evidence is not None, limit)}</figcaption>'
        f'<div class="plot"><div class="marks" aria-hidden="true">{marks}</div>'
        f'<div class="beside" aria-hidden="true">{beside}</div>'
        f'<svg viewBox="0 0 {span} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{told}">{drawn}</svg>'
        f'<div class="below" aria-hidden="true">{below}</div></div>'
        "<figcaption>frame, and its time</figcaption></figure>")


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"


def _legend(both: bool, limit: float) -> str:
    words = [("plain", PLAIN_WORDS), ("evidence", EVIDENCE_WORDS)] if both else [("evidence", PLAIN_WORDS)]
    words += [("limit", f"threshold {limit:g}"), ("cut", "cut"), ("shade", "gradual transition, in no shot")]
    return "".join(f'<span class="key"><i class="{kind}" aria-hidden="true"></i>{text}</span>'
                   for kind, text in words)


STYLE = """
.curve { margin: .6rem 0 1rem; }
.curve .key { display: inline-block; margin-right: 1.2rem; }
.key i { display: inline-block; width: 1.1rem; height: .5rem; margin-right: .35rem; }
.key .plain { background: var(--faint); height: 2px; vertical-align: middle; }
.key .evidence { background: var(--c0); height: 4px; vertical-align: middle; }
.key .limit { border-top: 2px dashed var(--ink); height: 0; vertical-align: middle; }
.key .shade { background: var(--shade); }
.key .cut, .marks i { width: 0; height: 0; border: 5px solid transparent; border-top: 8px solid var(--mark);
  border-bottom: 0; }
.plot { position: relative; margin: 0 .4rem 0 2.6rem; }
.plot svg { width: 100%; height: 9rem; border-bottom: 1px solid var(--faint); background: var(--panel);
  overflow: visible; }
.plot polyline, .plot line { fill: none; vector-effect: non-scaling-stroke; }
.plot .plain { stroke: var(--faint); stroke-width: 1; opacity: .75; }
.plot .evidence { stroke: var(--c0); stroke-width: 1.5; }
.plot .limit { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 5 4; }
.plot .shade { fill: var(--shade); }
.marks { height: 10px; position: relative; }
.marks i { position: absolute; margin-left: -5px; }
.beside { position: absolute; top: 10px; height: 9rem; left: -2.6rem; width: 2.3rem; }
.beside span { position: absolute; right: 0; transform: translateY(50%); }
.below { position: relative; height: 2.2rem; }
.below span { position: absolute; transform: translateX(-50%); text-align: center; padding-top: 2px;
  white-space: nowrap; }
.below, .beside { font-size: .72rem; line-height: 1.25; color: var(--faint); font-variant-numeric: tabular-nums; }
@media (max-width: 50rem) { .below .many { display: none; } }
"""
