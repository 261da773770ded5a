"""Reading metrics.jsonl, the figures of a run: one line for some training steps, and one for each validation."""

import json
from pathlib import Path
from typing import Any


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The lines of the file, in its order: each has a whole number `step`, those of validations a dict `val`.

    Others are left out: the last one of a killed run is cut short, and a damaged disk or an editor leaves anything.
    """
    if not file.exists():
        return []
    lines = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            figures = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(figures, dict) and type(figures.get("step")) is int and isinstance(figures.get("val", {}), dict):
            lines.append(figures)
    return lines


def is_number(value: object) -> bool:
    """Whether a figure can be drawn and compared: not text, nothing, or a whole number that no float holds."""
    return type(value) is float or (type(value) is int and abs(value) < 2**63)
