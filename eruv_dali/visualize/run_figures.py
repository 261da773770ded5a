"""The figures of a run of pretrain or finetune, as far as it has come: what its report shows."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eruv_dali.errors import EruvError
from eruv_dali.train.config import of_pretrain
from eruv_dali.train.metrics import is_number
from eruv_dali.visualize.curves import kinds_of, read_curves

PROGRAMS = ("pretrain", "finetune")


@dataclass(frozen=True)
class Scored:
    """The best epoch's figures, or the test's; fractions of 1.

    Attributes:
        word: what the kinds are called: "relation", "class"; "" if there are none.
        accuracy: None for a pretext without kinds; `loss`: None for a test.
        kinds: names; `per_kind`: accuracy of each that had samples.
        confusion: (K, K) counts, row: true; empty if it is not known.
        epoch: counted from 0; None if nothing was trained.
    """

    word: str
    accuracy: float | None
    loss: float | None
    kinds: list[str]
    per_kind: dict[str, float]
    confusion: list[list[int]]
    samples: int
    epoch: int | None


@dataclass(frozen=True)
class RunFigures:
    """A run of `program`, "pretrain" or "finetune".

    Attributes:
        finished: whether it came to its end; `result`: its result.json then, else empty.
        steps, vals: the lines of metrics.jsonl for training steps and for validations; both empty for a run that
            trains nothing.
        scored: None before the first validation.
    """

    program: str
    finished: bool
    result: dict[str, Any]
    steps: list[dict]
    vals: list[dict]
    scored: Scored | None


def read_run(run: Path) -> RunFigures:
    """Read a RUN folder.

    Raises:
        EruvError: there is no run of pretrain or finetune, none with figures yet, one of several splits, or a damaged
            result.json.
    """
    if not run.is_dir():
        raise EruvError(f"{run}: no such folder; name a RUN of eruv_dali.pretrain or finetune")
    if (run / "compare.json").exists():
        raise EruvError(f"{run}: holds a comparison; open its compare.html, or name one of its RUNs")
    metrics, file = run / "metrics.jsonl", run / "result.json"
    result = _read_result(file) if file.exists() else {}
    program = str(result["program"]) if result else _program_of(run)
    if program not in PROGRAMS:
        hint = "see visualize neighbours for it" if program == "retrieve" else "name one of pretrain or finetune"
        raise EruvError(f"{run}: is a run of {program}; {hint}")
    if splits := sorted(path.parent for path in run.glob("split_*/metrics.jsonl")):
        raise EruvError(f"{run}: has several splits, each with its own curves; name one: "
                        f"{', '.join(map(str, splits[:3]))}{', …' if len(splits) > 3 else ''}")
    # A finished run that goes on writes new figures, and its result is no longer the last word.
    finished = bool(result) and not (metrics.exists() and metrics.stat().st_mtime_ns > file.stat().st_mtime_ns)
    steps, vals = read_curves(metrics)
    if not (finished or steps or vals):
        raise EruvError(f"{run}: has no figures yet (metrics.jsonl); wait for its first steps, or name another RUN")
    try:
        scored = _scored(result, len(vals)) if finished else _best(vals, program)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        words = " ".join(str(error).split())[:200]
        raise EruvError(f"{file if finished else metrics}: is damaged ({type(error).__name__}: {words}); restore it, "
                        "or run again") from None
    return RunFigures(program, finished, result if finished else {}, steps, vals, scored)


def _read_result(file: Path) -> dict[str, Any]:
    try:
        result = json.loads(file.read_text())
        if not isinstance(result, dict) or not isinstance(result.get("program"), str):
            raise ValueError("it names no program")
    except (ValueError, RecursionError) as error:
        raise EruvError(f"{file}: is damaged ({' '.join(str(error).split())[:200]}); restore it, or run again"
                        ) from None
    return result


def _program_of(run: Path) -> str:
    """Which program writes this folder, while it has no result yet."""
    config = run / "config.yaml"
    if not config.exists():
        raise EruvError(f"{run}: no run here (neither config.yaml nor result.json); name a RUN of eruv_dali.pretrain "
                        "or finetune")
    return "pretrain" if of_pretrain(config) else "finetune"


def _best(vals: list[dict], program: str) -> Scored | None:
    """The validation by which the run would be judged if it ended now: by accuracy, in finetune then by loss."""
    if not vals:
        return None
    by_accuracy = all("accuracy" in line["val"] for line in vals)

    def rank(val: dict[str, Any]) -> list[float]:
        accuracy, loss = [val["accuracy"]] if by_accuracy else [], [-val["loss"]]
        return accuracy + loss if program == "finetune" else accuracy or loss

    best = max(vals, key=lambda line: rank(line["val"]))
    return _scored({**best["val"], "epoch": best.get("epoch")}, len(vals))


def _scored(figures: dict[str, Any], validations: int) -> Scored:
    """From a result, or a validation with its epoch."""
    per = next((key for key, value in figures.items() if key.startswith("per_") and key != "per_split"
                and isinstance(value, dict)), None)
    kinds = list(figures[per]) if per else []
    confusion = [[int(count) for count in row] for row in figures.get("confusion", [])]
    if confusion and (len(confusion) != len(kinds) or any(len(row) != len(kinds) for row in confusion)):
        raise ValueError(f"a confusion of {len(confusion)} rows for {len(kinds)} kinds")
    accuracy = figures.get("accuracy", figures.get("top1"))
    samples = figures.get("samples", sum(map(sum, confusion)))
    epoch = figures.get("epoch") if validations else None
    return Scored(
        word=per.removeprefix("per_") if per else "", accuracy=float(accuracy) if accuracy is not None else None,
        loss=float(figures["loss"]) if is_number(figures.get("loss")) else None, kinds=kinds,
        per_kind=kinds_of({per: figures[per]}) if per else {}, confusion=confusion, samples=int(samples),
        epoch=int(epoch) if epoch is not None else None)
