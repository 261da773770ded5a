"""The pages that programs write: one file each, in one style, light or dark as the reader's system is.

A page needs no network and no other file. It is made for screens from 400 pixels on: what is wider than that, such as a
table, scrolls within a region that the keyboard reaches. Right and wrong are told by words and lines, not by colour
alone.
"""

import base64
import html
import math
from collections.abc import Iterable, Sequence

# Every colour of text has a contrast of at least 4.5 on --paper and --panel, of lines in charts (--c0 …) of at least 3.
STYLE = """
:root { color-scheme: light dark; --paper: #fff; --panel: #f3f5f8; --ink: #1c2028; --faint: #565e6c; --line: #d9dee6;
  --accent: #0a5aa8; --right: #00618f; --wrong: #a33c00; --shade: #f7c96b; --mark: #c22525;
  --c0: #0072b2; --c1: #c04f00; --c2: #00805c; --c3: #a8487c; --c4: #946400; --c5: #3d6fd6; --c6: #444b57; }
@media (prefers-color-scheme: dark) { :root { --paper: #13161b; --panel: #1d2129; --ink: #e7eaef; --faint: #a5adba;
  --line: #343b46; --accent: #74b9ff; --right: #6fc3f2; --wrong: #ff9f5e; --shade: #7a5a12; --mark: #ff7b72;
  --c0: #56b4e9; --c1: #f08a4b; --c2: #3cc99b; --c3: #e08ab8; --c4: #e3b341; --c5: #8fb1ff; --c6: #c3c9d3; } }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 100rem; padding: 1rem clamp(.75rem, 2vw, 2rem) 3rem; }
h1 { font-size: 1.4rem; line-height: 1.25; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; line-height: 1.3; margin: 2rem 0 .4rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
p { max-width: 75ch; margin: .3rem 0 .8rem; overflow-wrap: anywhere; }
p, li, dd, figcaption, summary, label { overflow-wrap: anywhere; }
.faint, figcaption { color: var(--faint); }
figure { margin: 0; }
figcaption { font-size: .8rem; line-height: 1.35; font-variant-numeric: tabular-nums; }
figcaption b { color: var(--ink); }
img, svg { display: block; max-width: 100%; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; }
td.number, th.number { text-align: right; }
dl.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .2rem 1rem; margin: .6rem 0; }
dl.facts dt { color: var(--faint); }
dl.facts dd { margin: 0; }
summary { cursor: pointer; width: fit-content; padding: .2rem 0; }
button, select { font: inherit; color: var(--ink); background: var(--paper); border: 1px solid var(--faint);
  border-radius: 4px; padding: .25rem .7rem; max-width: 100%; }
input { accent-color: var(--accent); }
.bar { position: relative; height: .7rem; background: var(--panel); border-radius: 2px; }
.bar > i { position: absolute; inset: 0 auto 0 0; background: var(--c0); border-radius: 2px; }
"""


def html_page(title: str, parts: Iterable[str], *, style: Sequence[str] = (), script: Sequence[str] = ()) -> str:
    """A page with this title (plain text) and body; `style` is CSS in addition to that of all pages."""
    head = (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{STYLE}{''.join(style)}</style></head><body><main>")
    scripts = "".join(f"<script>{code}</script>" for code in script)
    whole = "\n".join([head, *parts, f"</main>{scripts}</body></html>\n"])
    return whole.encode(errors="backslashreplace").decode()  # what is no character, from a damaged file or an odd name


def data_url(content: bytes, kind: str) -> str:
    """A file of this kind ("image/webp") as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def scrolling(content: str, label: str) -> str:
    """Content that may be wider than the screen; the arrow keys scroll it."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(label)}">{content}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """A table of plain text; the columns `numbers` stand to the right."""
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(
            f'<{tag}{" class=number" if place in numbers else ""}{" scope=col" if tag == "th" else ""}>'
            f"{html.escape(cell)}</{tag}>" for place, cell in enumerate(cells)) + "</tr>"

    return f"<table><thead>{line(heads, 'th')}</thead><tbody>{''.join(line(row, 'td') for row in rows)}</tbody></table>"


def facts(named: Iterable[tuple[str, str]]) -> str:
    """A list of names and values, plain text."""
    return '<dl class="facts">' + "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in named) + "</dl>"


def ticks(highest: float, most: int) -> list[float]:
    """Round values from 0 up to `highest`, at equal distances of 1, 2 or 5 times a power of ten: at most `most` + 1."""
    if not 0 < highest < math.inf:
        return [0.0]
    power = math.floor(math.log10(highest / most))
    step = next(times * 10.0**power for times in (1, 2, 5, 10) if highest / (times * 10.0**power) <= most * (1 + 1e-9))
    return [round(number * step, max(0, -power)) for number in range(int(highest / step * (1 + 1e-9)) + 1)]
