"""Charts of lines for a page, as SVG: they follow its colours, light or dark, and their words stay readable."""

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

from eruv_dali.page import ticks

WIDTH, HEIGHT = 400, 230
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 34  # margins
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "12 4", "1 4")  # so that lines are told apart without colour
LINES = len(DASHES)  # at most, in a chart
DOTTED = 60  # points up to which each is marked


class Line(NamedTuple):
    """A line: its name, its points (x, y), whether these are marked, and whether it is the background of others."""

    name: str
    points: Sequence[tuple[float, float]]
    dotted: bool = True
    faint: bool = False


def line_chart(
    title: str, lines: Sequence[Line], *, across: str = "steps", unit: str = "", highest: float | None = None,
    level: tuple[str, float] | None = None, from_zero: bool = True,
) -> str:
    """A chart as a figure.

    Args:
        title: of the chart, plain text.
        lines: at most LINES, besides faint ones.
        across: what the x axis counts.
        unit: of the values, after the title.
        highest: upper end of the y axis; by default that of the values.
        level: name and value of a horizontal line.
        from_zero: whether the y axis begins at 0, unless a value is below; else it begins below the lowest value.
    """
    lines = [line._replace(points=[(x, y) for x, y in line.points if math.isfinite(y)]) for line in lines]
    values = [y for line in lines for _, y in line.points]
    end = max((x for line in lines for x, _ in line.points), default=1) or 1
    low, high = min(values, default=0.0), max(values, default=0.0)
    margin = 0.05 * (high - low)
    low = min(0.0, low) if from_zero else low - margin
    high = highest if highest is not None else high + margin
    high = high if high > low else low + 1

    def place(x: float, y: float) -> tuple[float, float]:
        return (round(LEFT + x / end * (WIDTH - LEFT - RIGHT), 1),
                round(HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1))

    base = f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>'
    drawn = [base]
    step = ticks(high - low, 4)[1]
    for tick in (number * step for number in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)):
        y = place(0, tick)[1]
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
                     f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{tick:.4g}</text>')
    for tick in (tick for tick in ticks(end, 5) if tick == int(tick)):  # what is counted has no halves
        x = place(tick, low)[0]
        drawn.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" text-anchor="{"middle" if tick < end else "end"}">'
                     f"{tick:g}</text>")
    drawn.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">{html.escape(across)}</text>')
    if level:
        y = place(0, level[1])[1]
        drawn.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
    strong = [line for line in lines if not line.faint]
    for line in lines:
        if not line.points:
            continue
        number = strong.index(line) if not line.faint else 0
        points = [place(*point) for point in line.points]
        style = "faint-line" if line.faint else f"line c{number}"
        dash = f' stroke-dasharray="{DASHES[number]}"' if DASHES[number] and not line.faint else ""
        if len(points) > 1:
            drawn.append(f'<polyline class="{style}"{dash} points="{" ".join(f"{x},{y}" for x, y in points)}"/>')
        if line.dotted and not line.faint and len(points) <= DOTTED:
            drawn += [f'<circle class="dot c{number}" cx="{x}" cy="{y}" r="2.6"/>' for x, y in points]
    told = "; ".join(_told(line) for line in strong)
    named = f"{title}{f', {unit}' if unit else ''}"
    keys = [_key(f"line c{number}", DASHES[number], line.name) for number, line in enumerate(strong) if line.name]
    keys += [_key("level", "", level[0])] if level else []
    return (f'<figure class="chart"><figcaption><b>{html.escape(named)}</b></figcaption>'
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(f"{named}: {told}")}">'
            f'{"".join(drawn)}</svg><figcaption class="keys">{"".join(keys)}</figcaption></figure>')


def _key(kind: str, dashes: str, name: str) -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (f'<span><svg class="key" viewBox="0 0 28 8" aria-hidden="true"><line class="{kind}"{dashed} x1="1" x2="27" '
            f'y1="4" y2="4"/></svg>{html.escape(name)}</span>')


def _told(line: Line) -> str:
    """A line in words: where it begins, ends, and its extremes."""
    if not line.points:
        return f"{line.name or 'values'}: none"
    values = [y for _, y in line.points]
    return (f"{line.name or 'values'} from {values[0]:.3g} to {values[-1]:.3g}, lowest {min(values):.3g}, highest "
            f"{max(values):.3g}")


STYLE = """
.charts { display: grid; gap: 1rem 1.4rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
.chart { max-width: 36rem; }
.chart text { fill: var(--faint); font: 12px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
.chart .axis { stroke: var(--faint); }
.chart .grid { stroke: var(--line); }
.chart .level { stroke: var(--ink); stroke-dasharray: 1 3; }
.chart .line { fill: none; stroke-width: 2; }
.chart .faint-line { fill: none; stroke: var(--c0); opacity: .35; }
.chart .keys span { display: inline-flex; align-items: center; gap: .35rem; margin-right: .9rem; }
.chart .key { width: 28px; height: 8px; flex: none; }
""" + "".join(f".chart .line.c{n} {{ stroke: var(--c{n}); }} .chart .dot.c{n} {{ fill: var(--c{n}); }}\n"
              for n in range(LINES))
