"""Learning curves of a run, from its metrics.jsonl: loss, accuracy, each kind, learning rate, speed."""

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eruv_dali.files import write_aside
from eruv_dali.train.metrics import is_number, read_metrics

# Okabe and Ito's colours, which colour-blind readers can also tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SMOOTHED = 50  # points of a smoothed curve of training steps, at most: means of equal stretches
STEP_FIGURES = ("loss", "lr", "clips_per_second", "data_wait")  # of a line of training steps
MOST_NAMED = 24  # kinds in a legend; of more it would cover the curves
STRETCH = 5  # lines in such a stretch, at least


def draw_curves(metrics: Path, png: Path) -> None:
    """Draw the curves of `metrics` (RUN/metrics.jsonl) into the file `png`. Without kinds the two places for accuracy
    stay empty.

    Lines that are truncated, as a killed run leaves one, or lack figures are skipped.
    """
    steps, vals = read_curves(metrics)
    figure = Figure(figsize=(13, 7), layout="constrained")
    (loss, accuracy, kinds), (rate, speed, wait) = figure.subplots(2, 3)
    _curve(loss, steps, "loss", label="training")
    loss.plot([v["step"] for v in vals], [v["val"]["loss"] for v in vals], "o-", color=COLOURS[1], markersize=3,
              label="held-out videos")
    scored = all("accuracy" in figures for figures in (*steps, *(v["val"] for v in vals)))
    _finish(loss, "loss (cross-entropy)" if scored else "loss", legend=True)
    if scored:
        _curve(accuracy, steps, "accuracy", scale=100, label="training")
        accuracy.plot([v["step"] for v in vals], [100 * v["val"]["accuracy"] for v in vals], "o-", color=COLOURS[1],
                      markersize=3, label="held-out videos")
    per_kind = next((key for key, value in (vals[0]["val"] if vals else {}).items()
                     if key.startswith("per_") and isinstance(value, dict)), None)
    names = list(vals[0]["val"][per_kind]) if per_kind else []
    for number, name in enumerate(names):
        found = [(v["step"], 100 * kinds_of(v["val"])[name]) for v in vals if name in kinds_of(v["val"])]
        kinds.plot(*zip(*found, strict=True) if found else ([], []), "o-", markersize=3,
                       color=COLOURS[number % len(COLOURS)], label=name)
    for axes in (accuracy, kinds):
        if names:
            axes.axhline(100 / len(names), color="grey", linestyle=":", linewidth=1, label="chance")
        axes.set_ylim(0, 100)
    _finish(accuracy, "accuracy, %", legend=scored)
    kind = per_kind.removeprefix("per_") if per_kind else "kind"
    _finish(kinds, f"each {kind}, held-out videos, %", legend=0 < len(names) <= MOST_NAMED)
    _curve(rate, steps, "lr")
    rate.set_ylim(bottom=0)
    _finish(rate, "learning rate")
    _curve(speed, steps, "clips_per_second")
    speed.set_ylim(bottom=0)
    _finish(speed, "clips/s")
    _curve(wait, steps, "data_wait", scale=100)
    wait.set_ylim(0, 100)
    _finish(wait, "waiting for clips, % of the time")
    figure.suptitle(f"{metrics.parent.name}: {max((x['step'] for x in steps + vals), default=0)} steps")
    write_figure(figure, png)


def write_figure(figure: Figure, png: Path) -> None:
    """Write a figure as PNG, to a temporary file that is then renamed."""
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    write_aside(png, lambda file: file.write(drawn.getbuffer()))


def read_curves(metrics: Path) -> tuple[list[dict], list[dict]]:
    """The lines of training steps, and those of validations, that have the figures that are drawn."""
    steps: list[dict] = []
    vals: list[dict] = []
    for line in read_metrics(metrics):
        figures, needed = (line["val"], ("loss",)) if "val" in line else (line, STEP_FIGURES)
        if not all(is_number(figures.get(key)) for key in needed) or not is_number(figures.get("accuracy", 0.0)):
            continue
        (vals if "val" in line else steps).append(line)
    return steps, vals


def kinds_of(val: dict) -> dict[str, float]:
    """The accuracy of each kind that could be scored, if there are kinds ("per_relation", "per_order", …)."""
    kinds = next((value for key, value in val.items() if key.startswith("per_") and isinstance(value, dict)), {})
    return {name: value for name, value in kinds.items() if is_number(value)}


def _curve(axes, steps: list[dict], key: str, *, scale: float = 1.0, label: str | None = None) -> None:
    """Draw every line's value, faint, and means of equal stretches, strong."""
    x, y = np.array([s["step"] for s in steps]), np.array([scale * s[key] for s in steps])
    few = len(x) <= SMOOTHED
    axes.plot(x, y, ".-" if few else "-", color=COLOURS[0], alpha=1 if few else 0.25, linewidth=1,
              label=label if few else None)
    if not few:
        axes.plot(*smoothed(x, y), color=COLOURS[0], label=label)


def smoothed(x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    """Means of equal stretches of a curve of more than SMOOTHED points."""
    pieces = np.array_split(np.arange(len(x)), min(SMOOTHED, len(x) // STRETCH))
    return [float(x[piece].mean()) for piece in pieces], [float(y[piece].mean()) for piece in pieces]


def _finish(axes, title: str, *, legend: bool = False) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("steps", fontsize=9)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(fontsize=8, framealpha=0.7, edgecolor="none", ncols=2)
