"""What doctor finds."""

from collections.abc import Iterable
from typing import NamedTuple

GOOD, REMARK, PROBLEM = "ok", "note", "PROBLEM"
NAMED = 5


class Finding(NamedTuple):
    """One line of the report: what was checked, its state (GOOD, REMARK or PROBLEM), and a text."""

    name: str
    state: str
    text: str


def first_named(things: Iterable[str]) -> str:
    """The first five, one per line, and an ellipsis if there are more."""
    things = list(things)
    return "".join(f"\n    {thing}" for thing in [*things[:NAMED], *["…"] * (len(things) > NAMED)])
