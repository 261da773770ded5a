"""A confusion matrix as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eruv_dali.visualize.curves import write_figure

MOST_NUMBERED = 20  # classes up to which every cell shows its numbers


def draw_confusion(confusion: Sequence[Sequence[int]], names: Sequence[str], png: Path, *, title: str) -> None:
    """Draw a (K, K) matrix of counts, row: true class, column: predicted class, into the file `png`.

    Colour is the share of the row; up to 20 classes each cell shows the share in percent and the count.
    """
    counts = np.asarray(confusion)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(4.5, min(16, 2 + (0.62 if len(names) <= MOST_NUMBERED else 0.14) * len(names)))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    size = 9 if len(names) <= MOST_NUMBERED else 5
    axes.set_xticks(range(len(names)), names, fontsize=size, rotation=45 if len(names) <= MOST_NUMBERED else 90,
                    ha="right" if len(names) <= MOST_NUMBERED else "center")
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
    if len(names) <= MOST_NUMBERED:
        for row, column in np.ndindex(*counts.shape):
            said = f"{share[row, column]:.0%}\n{counts[row, column]}" if counts[row].any() else "–"
            axes.text(column, row, said, ha="center", va="center", fontsize=7,
                      color="white" if share[row, column] > 0.55 else "black")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, label="share of the row", shrink=0.8, format=PercentFormatter(1))
    write_figure(figure, png)
