"""What the race and the profile found: tables on the console, and a bar chart."""

import numpy as np
from rich.console import Console
from rich.table import Table

from race.groups import GROUPS

COLUMNS = ("loader", "clips/s", "(min to max)", "x best peer", "CPU ms/clip", "peak memory", "KB a frame",
           "of the network", "wrong frames")


def show_race(console: Console, title: str, rows: list[dict]) -> None:
    """One section for each group and order."""
    table = Table(title=title)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("loader", "wrong frames") else "right")
    before = None
    for row in rows:
        if (place := (row["group"], row["order"])) != before:
            table.add_section()
            table.add_row(f"[bold]{section(row)}[/]")
            before = place
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g} x {row['best_peer']}"
        table.add_row(
            row["loader"], f"{row['median']:.4g}", f"{row['min']:.4g} to {row['max']:.4g}", ratio,
            f"{1000 * row['cpu_seconds_per_clip']:.1f}", f"{row['peak_memory_bytes'] / 1e6:.0f} MB",
            f"{row['bytes_per_frame'] / 1000:.1f}", f"{row['of_network']:.0%}", wrong(row))
    console.print(table)


def section(row: dict) -> str:
    """The heading of a row's group and order."""
    group = GROUPS[row["group"]]
    return f"{group.title}, {row['order']} order" if group.video else group.title


def wrong(row: dict) -> str:
    """ "", or in how many of the clips that were looked at wrong frames came, and by how many frames they are off."""
    if not row["wrong_clips"]:
        return ""
    low, high = min(row["wrong_clips"]), max(row["wrong_clips"])
    by = f"{low:+d}" if low == high else f"{low:+d} to {high:+d}"
    return f"in {len(row['wrong_clips'])} of {row['checked_clips']} clips (by {by})"


def show_profile(console: Console, rows: list[dict]) -> None:
    stages = ("read", "demux", "decode", "transform", "hand_over")
    table = Table(title="Milliseconds per clip, one thread, a stage at a time")
    for column in ("source", *(stage.replace("_", "-") for stage in stages), "sum"):
        table.add_column(column, justify="left" if column == "source" else "right")
    for row in rows:
        values = [row[stage] for stage in stages]
        table.add_row(row["source"], *(f"{value:.2f}" for value in [*values, sum(values)]))
    console.print(table)
    for row in rows:
        console.print(f"Python on the training thread, ms a clip, {row['source']}: {row['python_engine']:.3f} engine, "
                      f"{row['python_loader']:.3f} RelationLoader", highlight=False)


def plot(rows: list[dict], title: str, path: str) -> None:
    """Bars of the medians on a logarithmic scale, group by group, with lines from minimum to maximum."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = rows[::-1]
    figure, axes = pyplot.subplots(figsize=(9, 0.4 * len(rows) + 1.4), layout="constrained")
    medians = np.array([row["median"] for row in rows])
    spread = np.array([[row["median"] - row["min"], row["max"] - row["median"]] for row in rows]).T
    colours = ["#76b900" if row["loader"].startswith("ours") else "#888888" for row in rows]
    places = np.arange(len(rows))
    axes.barh(places, medians, xerr=spread, color=colours, ecolor="#333333", capsize=3)
    axes.set_yticks(places, [f"{section(row)}: {row['loader']}" for row in rows], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(right=medians.max() * 5)
    for place, row in enumerate(rows):
        ratio = "" if row["ratio"] is None else f"  ({row['ratio']:.3g}x)"
        axes.text(row["max"] * 1.1, place, f"{row['median']:.4g}{ratio}", va="center", fontsize=8)
    axes.set_xlabel("clips per second: median, minimum to maximum (in brackets: times the group's best peer)")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
