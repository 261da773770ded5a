"""The gains as a picture: a panel for each measure, a line for each start."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from eruv_dali.visualize.curves import COLOURS, write_figure


def draw(lines: Sequence[dict], png: Path) -> None:
    """The mean of the sets with its interval, percent, into the file `png`: one colour a share of the labels."""
    mean = [line for line in lines if line["set"] == "mean" and " after " not in line["measure"]]
    measures, starts, shares = (list(dict.fromkeys(line[key] for line in mean))
                                for key in ("measure", "start", "labels"))
    figure = Figure(figsize=(3 + 2.6 * len(measures), 1.5 + 0.35 * len(starts)), layout="constrained")
    for axes, measure in zip(figure.subplots(1, len(measures), sharey=True, squeeze=False)[0], measures, strict=True):
        for line in (line for line in mean if line["measure"] == measure):
            which = shares.index(line["labels"])
            place = starts.index(line["start"]) + 0.25 * (which - (len(shares) - 1) / 2)
            axes.plot([100 * line["low"], 100 * line["high"]], [place, place], color=COLOURS[which % len(COLOURS)])
            axes.plot(100 * line["mean"], place, "o", markersize=4, color=COLOURS[which % len(COLOURS)])
        axes.set_title(measure, fontsize=9)
        axes.set_xlabel("%", fontsize=8)
        axes.grid(axis="x", alpha=0.3)
        axes.set_yticks(range(len(starts)), starts, fontsize=8)
    axes.set_ylim(len(starts) - 0.5, -0.5)
    names = ("blue", "orange", "green", "pink")
    shown = ", ".join(f"{name}: {100 * share:g} %" for share, name in zip(shares, names, strict=False))
    figure.suptitle(f"mean of the sets, 95 % intervals over groups and seeds; labels given: {shown}", fontsize=9)
    write_figure(figure, png)
