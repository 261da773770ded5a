"""The comparison as a picture: a panel for each measure, a line for each start."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from eruv_dali.choices import MEASURES
from eruv_dali.compare.summary import Row, called, estimate, interval, network
from eruv_dali.evaluate.pretrained import NONE
from eruv_dali.tables.runs import NAMES
from eruv_dali.visualize.curves import COLOURS, write_figure


def draw_chart(rows: Sequence[Row], chance: float, title: str, png: Path) -> None:
    """Draw the mean over the seeds (bar), its 95 % confidence interval (line), each seed (dots), chance (dotted) and
    the paper's figure (diamond) into the file `png`; percent. `chance`: fraction of 1."""
    measures = list(dict.fromkeys(row.measure for row in rows))
    entrants = list(dict.fromkeys(row.entrant.folder for row in rows))
    several = len({network(row.entrant) for row in rows}) > 1
    figure = Figure(figsize=(2.6 + 3.1 * len(measures), 1.9 + 0.5 * len(entrants)), layout="constrained")
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, measures, strict=True):
        mine = [row for row in rows if row.measure == measure]
        for place, row in enumerate(mine):
            found = estimate(list(row.values.values()))
            if found is not None:
                colour = "#999999" if row.entrant.name == NONE else COLOURS[0]
                axes.barh(place, 100 * found.mean, height=0.62, color=colour, alpha=0.45)
                if found.half is not None:
                    low, high = interval(found)
                    axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=2)
                axes.plot([100 * value for value in row.values.values()], [place] * len(row.values), ".", color="black",
                          markersize=6)
            if row.paper is not None:
                axes.plot(100 * row.paper, place, "D", markersize=6, markerfacecolor="white", color=COLOURS[1])
        axes.axvline(100 * chance, color="grey", linestyle=":", linewidth=1)
        axes.set_xlim(0, 100)
        axes.set_title(MEASURES[measure], fontsize=10)
        axes.set_xlabel("%", fontsize=9)
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    names = {row.entrant.folder: called(row.entrant) + (f"\n{network(row.entrant)}" if several else "") for row in rows}
    panels[0].set_yticks(range(len(entrants)), [names[entrant] for entrant in entrants], fontsize=9)
    panels[0].invert_yaxis()
    paper = [row.paper_data for row in rows if row.paper is not None]
    words = "bar: mean over seeds; line: its 95 % interval; dots: seeds; dotted: chance"
    words += f"; diamond: the paper, {NAMES[paper[0]]}" if paper else ""
    figure.suptitle(f"{title}\n{words}", fontsize=9)
    write_figure(figure, png)
