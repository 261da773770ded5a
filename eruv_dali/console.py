"""Shared by all command-line programs: the console, warnings, progress bars."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from eruv_dali.errors import one_line

console = Console(stderr=True)  # `console.quiet = True` leaves only what `warn` says


class TimeLeft(TimeRemainingColumn):
    """The time left, "0:01:23 left"; nothing while that is unknown, or when there is none."""

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text("")
        left = super().render(task)
        return Text(f"{left.plain} left", left.style) if left.plain.strip("-:") else Text("")


def warn(text: str, style: str = "") -> None:
    """Print one line that even a quiet program says."""
    quiet, console.quiet = console.quiet, False
    console.print(one_line(text), style=style or None, markup=False, highlight=False, soft_wrap=True)
    console.quiet = quiet


def progress(*columns: str | ProgressColumn, transient: bool = False, disable: bool = False) -> Progress:
    """A progress bar: a task's description, the bar, the number done of the total, then `columns`, then the time left.

    A column may be text, or a field of the task such as "{task.fields[state]}".
    """
    more = [TextColumn(column) if isinstance(column, str) else column for column in columns]
    return Progress(TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), *more,
                    TimeLeft(), console=console, transient=transient, disable=disable)
