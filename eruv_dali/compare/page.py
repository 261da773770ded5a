"""The comparison as a page: for each measure a line of marks for each start, and the same as a table."""

import html
from collections.abc import Sequence

from eruv_dali.choices import MEASURES
from eruv_dali.compare.summary import Row, called, cell, estimate, interval, network
from eruv_dali.evaluate.pretrained import NONE
from eruv_dali.files import printable
from eruv_dali.page import html_page, scrolling, table
from eruv_dali.tables.paper import PAPER_WIDTH
from eruv_dali.tables.runs import NAMES


def comparison_page(rows: Sequence[Row], chance: float, introduction: str) -> str:
    """The page of `rows`, percent. `chance`: fraction of 1; `introduction`: plain text."""
    measures = list(dict.fromkeys(row.measure for row in rows))
    several = len({network(row.entrant) for row in rows}) > 1
    paper = next((NAMES[row.paper_data] for row in rows if row.paper is not None), None)
    keys = [("mean", "mean over the seeds"), ("between", "its 95 % interval"), ("seed", "a seed"),
            ("chance", f"chance, {100 * chance:.1f} %")]
    keys += [("paper", f"the paper, {paper}, width {PAPER_WIDTH}")] * bool(paper)
    legend = "".join(f'<span class="key"><span class="track" aria-hidden="true"><i class="{kind}"></i></span>{words}'
                     "</span>" for kind, words in keys)
    panels = "".join(
        f'<section><h2>{html.escape(MEASURES[name])}</h2><ul class="starts">'
        f'{"".join(_line(row, chance, several) for row in rows if row.measure == name)}</ul>{_axis()}</section>'
        for name in measures)
    return html_page("Pretexts compared", [
        "<h1>Pretexts compared</h1>", f"<p>{html.escape(printable(introduction))}</p>",
        f'<p class="faint keys">{legend}</p>', f'<div class="panels">{panels}</div>',
        "<h2>As a table</h2>", scrolling(_table(rows, measures, gain=False), "top-1, percent"),
        *_gains(rows, measures)], style=(STYLE,))


def _line(row: Row, chance: float, several: bool) -> str:
    """A start: its name, its marks on a scale of 0 to 100 %, and its figure in words."""
    found = estimate(list(row.values.values()))
    marks = [f'<i class="chance" style="left: {100 * chance:.2f}%"></i>']
    if found is not None:
        kind = "mean random" if row.entrant.name == NONE else "mean"
        marks.insert(0, f'<i class="{kind}" style="width: {100 * found.mean:.2f}%"></i>')
        if found.half is not None:
            low, high = interval(found)
            marks.append(f'<i class="between" style="left: {100 * low:.2f}%; width: {100 * (high - low):.2f}%"></i>')
        marks += [f'<i class="seed" style="left: {100 * value:.2f}%"></i>' for value in row.values.values()]
    if row.paper is not None:
        marks.append(f'<i class="paper" style="left: {100 * row.paper:.2f}%"></i>')
    name = html.escape(called(row.entrant))
    if several:
        name += f'<br><span class="faint">{html.escape(network(row.entrant))}</span>'
    figure = "not finished" if found is None else f"{100 * found.mean:.1f}"
    return (f'<li><span>{name}</span><span class="track" aria-hidden="true">{"".join(marks)}</span>'
            f'<span class="figure">{figure}</span></li>')


def _axis() -> str:
    labels = "".join(f'<span style="left: {value}%">{value}{" %" * (value == 100)}</span>'
                     for value in range(0, 101, 25))
    return f'<div class="axis" aria-hidden="true"><span class="labels">{labels}</span></div>'


def _gains(rows: Sequence[Row], measures: Sequence[str]) -> list[str]:
    if not any(row.gain for row in rows):
        return []
    return ["<h2>Gain over random weights</h2>", "<p>Points, over the random weights that the pre-training of the same "
            "seed began with.</p>", scrolling(_table(rows, measures, gain=True), "gain over random weights, points")]


def _table(rows: Sequence[Row], measures: Sequence[str], *, gain: bool) -> str:
    each: dict[str, list[Row]] = {}
    for row in rows:
        each.setdefault(row.entrant.folder, []).append(row)
    lines = []
    for mine in each.values():
        if gain and not any(row.gain for row in mine):
            continue
        first = mine[0].entrant
        cells = [cell(row.gain, sign=True) if gain else cell(estimate(list(row.values.values()))) for row in mine]
        counts = sorted({len(row.values) for row in mine})
        lines.append([called(first), network(first), str(first.clips), *cells,
                      " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))])
    heads = ("start", "network", "clips seen", *(MEASURES[name] for name in measures), "seeds")
    return table(heads, lines, numbers=range(2, len(heads)))


STYLE = """
.panels { display: grid; gap: 0 2.5rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)); }
.panels h2 { margin-top: 1rem; }
.starts { list-style: none; margin: 0; padding: 0; }
.starts li, .axis { display: grid; grid-template-columns: minmax(0, 8.5rem) minmax(0, 1fr) 3rem; gap: .8rem;
  align-items: center; padding: .3rem 0; }
.starts .faint { font-size: .75rem; }
.starts .figure { text-align: right; font-variant-numeric: tabular-nums; }
.track { position: relative; display: block; height: 1.4rem; background: var(--panel); border-radius: 2px; }
.track i { position: absolute; }
.track .mean { left: 0; top: .3rem; bottom: .3rem; background: color-mix(in srgb, var(--c0) 50%, var(--paper)); }
.track .random { background: color-mix(in srgb, var(--c6) 40%, var(--paper)); }
.track .between { top: calc(50% - 1px); height: 3px; background: var(--ink); }
.track .seed { top: calc(50% - 4px); width: 8px; height: 8px; margin-left: -4px; border-radius: 50%;
  background: var(--ink); border: 1px solid var(--paper); }
.track .chance { top: 0; bottom: 0; border-left: 2px dotted var(--faint); }
.track .paper { top: calc(50% - 5px); width: 9px; height: 9px; margin-left: -5px; rotate: 45deg;
  background: var(--paper); border: 2px solid var(--c1); }
.axis { padding: 0; font-size: .75rem; color: var(--faint); }
.axis .labels { grid-column: 2; position: relative; height: 1.2rem; }
.axis .labels span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.keys .key { display: inline-flex; align-items: center; gap: .4rem; margin-right: 1.2rem; }
.keys .track { width: 1.8rem; height: 1.1rem; }
.keys .mean { width: 100%; top: .2rem; bottom: .2rem; }
.keys .between { left: 0; width: 100%; }
.keys .seed, .keys .chance, .keys .paper { left: 50%; }
"""
