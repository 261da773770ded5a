"""A confusion matrix as a table of a page; of many classes, the most frequent mistakes instead."""

import html
from collections.abc import Sequence

import numpy as np

from eruv_dali.page import scrolling, table

MOST = 20  # classes of a table
MISTAKES = 20  # of a list


def confusion_table(confusion: Sequence[Sequence[int]], names: Sequence[str], short: Sequence[str]) -> str:
    """A (K, K) matrix of counts, row: true class, column: answered class; `short`: the names of the columns."""
    counts = np.asarray(confusion)
    if len(names) > MOST:
        return _mistakes(counts, names)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    heads = "".join(f'<th scope="col"><abbr title="{html.escape(name)}">{html.escape(code)}</abbr></th>'
                    for name, code in zip(names, short, strict=True))
    rows = []
    for number, name in enumerate(names):
        cells = "".join(
            f'<td class="number{" diagonal" if column == number else ""}" style="--share: {share[number, column]:.3f}">'
            f"{_percent(share[number, column], counts[number])}<br><small>{counts[number, column]}</small></td>"
            for column in range(len(names)))
        rows.append(f'<tr><th scope="row"><span class="long">{html.escape(name)}</span><abbr class="short" '
                    f'title="{html.escape(name)}">{html.escape(short[number])}</abbr></th>{cells}</tr>')
    whole = (f'<table class="confusion"><thead><tr><th scope="col">said →<br>true ↓</th>{heads}</tr></thead><tbody>'
             f'{"".join(rows)}</tbody></table>')
    return scrolling(whole, "confusion matrix")


def _percent(share: float, counts: np.ndarray) -> str:
    return f"{share:.0%}" if counts.any() else "–"


def _mistakes(counts: np.ndarray, names: Sequence[str]) -> str:
    wrong = counts * (1 - np.eye(len(names), dtype=counts.dtype))
    order = [divmod(int(place), len(names)) for place in np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES]]
    rows = [(names[true], names[said], str(wrong[true, said]), f"{wrong[true, said] / counts[true].sum():.0%}")
            for true, said in order if wrong[true, said]]
    if not rows:
        return "<p>No mistakes.</p>"
    return f"<p>The most frequent mistakes, of {len(names)} classes:</p>" + scrolling(
        table(("true", "said", "times", "of all of this class"), rows, numbers=(2, 3)), "most frequent mistakes")


STYLE = """
.confusion th, .confusion td { padding: .3rem .45rem; border: 1px solid var(--line); }
.confusion th { white-space: nowrap; }
.confusion tbody th { font-weight: 400; }
.confusion .short { display: none; }
@media (max-width: 40rem) { .confusion .long { display: none; } .confusion .short { display: inline; }
  .confusion th, .confusion td { padding: .3rem .25rem; } }
.confusion td { background: color-mix(in srgb, var(--accent) calc(var(--share) * 50%), var(--paper)); min-width: 2.6rem;
  line-height: 1.2; }
.confusion .diagonal { outline: 2px solid var(--ink); outline-offset: -2px; }
.confusion abbr { text-decoration: none; }
"""
