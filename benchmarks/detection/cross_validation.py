"""Do the constants of the rule `robust` depend on the clips that they were chosen on?"""

import argparse
import contextlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from detection.scoring import CONSOLE, each_video, events_of, f1, frames_left, score
from eruv_dali.shots import find_shots, rules

# The values that --cross-validate chooses from, and the factors by which each constant is varied alone.
GRID = {
    "CUT_THRESHOLD": (0.05, 0.06, 0.07), "GRADUAL_THRESHOLD": (0.01, 0.015, 0.02), "MIN_SHOT": (6, 8),
    "START_LIMIT": (0.03, 0.05, 0.08), "END_LIMIT": (0.09, 0.13, 0.2), "CUT_JUMP": (2.6, 3.3),
}
ALONE = (*GRID, "CUT_STEPS", "CUT_RANK", "CUT_LOW", "GRADUAL_MEDIAN", "GRADUAL_LOW", "GRADUAL_ELSEWHERE", "GRADUAL_RUN",
         "GRADUAL_CLEAR", "MEDIAN_REACH", "MOVING_ELSEWHERE", "MOVING_COLOUR", "MOVING_COLOUR_ELSEWHERE",
         "MOVING_STEPS", "MOVING_LEVEL", "GRADUAL_PARTS", "LEAST_PARTS", "REACH", "GUESS", "ROUNDS", "STRUCTURE",
         "GREY", "PROGRESS", "COLOUR", "LIGHT", "LOCAL", "BESIDE", "LEAST", "CUT_BESIDE", "CUT_NEAR",
         "CUT_SHARE")
COUNTS = ("hits", "false", "events", "gradual", "between", "left", "lost")
VARIED = (0.5, 0.7, 0.85, 1.2, 1.4, 2.0)


@contextlib.contextmanager
def constants(**values: float) -> Iterator[None]:
    """The robust rule with other constants, within this context."""
    before = {name: getattr(rules, name) for name in values}
    vars(rules).update(values)
    try:
        yield
    finally:
        vars(rules).update(before)


def worth(counts: np.ndarray) -> float:
    """What constants are chosen by, from the sums of COUNTS: F1, less a quarter of the share of the frames of gradual
    transitions left in shots, less 0.01 for each frame of shots that is lost for a gradual transition."""
    hits, false, events, gradual, between, left, lost = counts
    return f1(hits, false, events) - left / max(between, 1) / 4 - lost / max(gradual, 1) / 100


def figures_of(counts: np.ndarray) -> dict[str, float]:
    total = dict(zip(COUNTS, counts.tolist(), strict=True))
    return total | {"f1": f1(total["hits"], total["false"], total["events"]), "worth": worth(counts)}


def cross_validate(paths: Sequence[Path], args: argparse.Namespace) -> dict:
    """Choose the robust rule's constants without a video (or a folder of drawn ones), score them on it, for each."""
    scored = [(fold_of(path, args.videos), curves, events) for path, curves, _ in each_video(paths, args.device)
              if (events := events_of(path, args)) is not None]
    folds = sorted({fold for fold, *_ in scored})
    ours = {name: getattr(rules, name) for name in GRID}

    def result(chosen: dict) -> np.ndarray:  # COUNTS of each fold
        counts = np.zeros((len(folds), len(COUNTS)), int)
        with constants(**chosen):
            for fold, curves, events in scored:
                shots = find_shots(curves, rule="robust")
                hits, false = score(events, [shot.start for shot in shots if shot.start > 0])
                frames = frames_left(events, shots, len(curves))
                gradual = sum(event["b"] > event["a"] + 1 for event in events)
                counts[folds.index(fold)] += (hits, false, len(events), gradual, *frames.values())
        return counts

    choices = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    choices.sort(key=lambda choice: sum(choice[name] != ours[name] for name in GRID))  # of equals, the nearest to ours
    progress = track(choices, "choices", console=Console(stderr=True), disable=not sys.stderr.isatty())
    results = np.array([result(choice) for choice in progress])
    whole = result({})
    held_out, table = {}, Table(title="chosen on the other videos, scored on this one")
    for column in ("left out", "F1 ours", "F1 chosen without it", "frames left", "frames lost", *GRID):
        table.add_column(column)
    unseen = np.zeros(len(COUNTS), int)
    for place, name in enumerate(folds):
        best = int(np.argmax([worth(counts) for counts in np.delete(results, place, 1).sum(1)]))
        unseen += results[best, place]
        found = held_out[name] = {"ours": figures_of(whole[place]), "held_out": figures_of(results[best, place]),
                                  "chosen": choices[best]}
        table.add_row(name, *_cells(found["ours"], found["held_out"]), *map(str, choices[best].values()))
    table.add_section()
    totals = {"ours": figures_of(whole.sum(0)), "held_out": figures_of(unseen)}
    table.add_row("all", *_cells(*totals.values()), *map(str, ours.values()), style="bold")
    CONSOLE.print(table)

    alone, table = {}, Table(title="one constant changed: F1, share of frames left, worth less ours")
    for column in ("constant", *(f"x {factor}" for factor in VARIED)):
        table.add_column(column)
    for name in ALONE:
        value = getattr(rules, name)
        alone[name] = {}
        for factor in VARIED:
            other = max(1, round(value * factor)) if isinstance(value, int) else value * factor
            alone[name][factor] = figures_of(result({name: other}).sum(0))
        table.add_row(f"{name} = {value}", *(
            f"{found['f1']:.3f} {found['left'] / max(found['between'], 1):.0%} "
            f"{found['worth'] - totals['ours']['worth']:+.3f}" for found in alone[name].values()))
    CONSOLE.print(table)
    return {"totals": totals, "held_out": held_out, "alone": alone, "choices": len(choices)}


def _cells(ours: dict, held_out: dict) -> list[str]:
    return [f"{ours['f1']:.3f}", f"{held_out['f1']:.3f}",
            *(f"{ours[key]} -> {held_out[key]}" for key in ("left", "lost"))]


def fold_of(path: Path, folders: Sequence[Path]) -> str:
    """What is left out together with a video: those that edits.py drew of the same clips, or nothing else."""
    folder = next(folder for folder in folders if path.is_relative_to(folder))
    return folder.name if (folder / "takes.json").exists() else path.name
