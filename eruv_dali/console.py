"""Shared by all command-line programs: the console, progress bars, argument types."""

import argparse

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

console = Console(stderr=True)


def progress(*columns: str | ProgressColumn, transient: bool = False, disable: bool = False) -> Progress:
    """A progress bar: a task's description, the bar, the number done of the total, then `columns`, then the time left.

    A column may be text, or a field of the task such as "{task.fields[state]}".
    """
    more = [TextColumn(column) if isinstance(column, str) else column for column in columns]
    return Progress(TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), *more,
                    TimeRemainingColumn(), console=console, transient=transient, disable=disable)


def height_by_width(text: str) -> tuple[int, int]:
    """(128, 171) of "128x171", for argparse."""
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 128x171")
    return int(height), int(width)
