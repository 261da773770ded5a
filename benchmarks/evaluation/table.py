"""The figures as Markdown tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluation.gate import REFUSED, Told
from evaluation.sets import LabelledVideos


@dataclass(frozen=True)
class Row:
    """A start's figure by one measure.

    Attributes:
        name: of the start; kind: "pre-trained", "random", "random, BN" or "motion".
        measure: what; share: of the labels that were given.
        hits: set → (seeds, videos), 1 where a video was recognised.
        words: what else is known of it.
    """

    name: str
    kind: str
    measure: str
    share: float
    hits: dict[str, np.ndarray]
    words: dict[str, Any] = field(default_factory=dict)


def gate_table(sets: Sequence[LabelledVideos], gate: dict[str, Told]) -> str:
    """What tells the labels of each set, percent."""
    lines = ["| set | videos | classes | groups | chance | group tells | first frame | length | |",
             "|---|--:|--:|--:|--:|--:|--:|--:|---|"]
    for videos in sets:
        told = gate[videos.name]
        verdict = f"left out: {', '.join(told.failed)}" if told.failed else (
            f"told in part by {', '.join(told.marked)} *" if told.marked else "clear")
        if videos.left_out:
            verdict += f"; without {', '.join(videos.left_out)} (one group only)"
        lines.append(f"| {videos.name} | {len(videos.paths)} | {len(videos.classes)} | {len(set(videos.groups))} | "
                     + " | ".join(f"{100 * value:.1f}" for value in (told.chance, told.group, told.frame, told.length))
                     + f" | {verdict} |")
    return "\n".join([*lines, "", f"Left out: a figure tells more than {100 * REFUSED:.0f} % of what chance leaves "
                      "open. *: more than two standard errors above chance."])


def markdown(lines: Sequence[dict], sets: Sequence[str], gate: dict[str, Told]) -> str:
    """A table for each measure and share of the labels: percent, the mean of the sets with its interval and gain."""
    text = []
    for measure, share in dict.fromkeys((line["measure"], line["labels"]) for line in lines):
        mine = [line for line in lines if (line["measure"], line["labels"]) == (measure, share)]
        names = [name + (" *" if gate[name].marked else "") for name in sets]
        text += ["", f"**{measure}, {100 * share:g} % of the labels**", "",
                 "| start | " + " | ".join([*names, "mean", "gain, mean", *(f"gain, {name}" for name in names)]) + " |",
                 "|---|" + "--:|" * (2 * len(sets) + 2)]
        for start in dict.fromkeys(line["start"] for line in mine):
            of = {line["set"]: line for line in mine if line["start"] == start}
            mean = of["mean"]
            cells = [f"{100 * of[name]['mean']:.1f}" for name in sets]
            cells.append(f"**{100 * mean['mean']:.1f}** [{100 * mean['low']:.1f}, {100 * mean['high']:.1f}]")
            cells += [_gain(of[name].get("gain")) for name in ("mean", *sets)]
            text.append(f"| {start} | {' | '.join(cells)} |")
            if "steps" in mean:
                text[-1] = text[-1][:-2] + f" | {mean['steps']:.0f} | {100 * mean['learnt']:.0f} % |"
        if any("steps" in line for line in mine):
            head = next(place for place in range(len(text) - 1, -1, -1) if text[place].startswith("| start "))
            text[head] += " steps | learnt |"
            text[head + 1] += "--:|--:|"
    return "\n".join(text).strip()


def _gain(gain: dict[str, float] | None) -> str:
    return "" if gain is None else (f"{100 * gain['mean']:+.1f} [{100 * gain['low']:+.1f}, "
                                    f"{100 * gain['high']:+.1f}]")
