"""What a run prints and records: the progress line, warnings, metrics.jsonl, TensorBoard events."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from eruv_dali.console import progress, warn
from eruv_dali.files import write_text
from eruv_dali.loader.epochs import EpochLoader
from eruv_dali.train.metrics import read_metrics

MOST_WAIT = 0.2  # if a larger share of the time is spent waiting for clips, warn and name the cause
WAITING_LINES = 3  # … in this number of logging steps in a row
EPOCHS_AT_CHANCE = 10  # warn after this number of validations in a row with a kind no better than chance


class Report:
    """Reports on the run in folder `out`; only the first of several processes has one.

    Use it as a context manager, which shows the progress line. `steps` takes the figures of a logging step,
    `validation` those of an epoch.

    Args:
        out: the RUN folder.
        total_steps: of the whole run; `step` are done.
        tensorboard: also write TensorBoard events, if it is installed (the extra `log`).
        at_chance: for each kind, how many validations in a row found it at chance; to be saved in checkpoints.
        cores: that this process may use.
    """

    def __init__(
        self, out: Path, total_steps: int, step: int, *, tensorboard: bool, at_chance: dict[str, int], cores: int
    ) -> None:
        self._file = out / "metrics.jsonl"
        self.at_chance, self._cores = at_chance, cores
        self._waiting_lines = 0
        self._events = _tensorboard(out, step) if tensorboard else None
        self._progress = progress("{task.fields[state]}")
        self._task = self._progress.add_task("train", total=total_steps, completed=step, state="")

    def __enter__(self) -> "Report":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._events:
            self._events.close()

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        warn(f"warning: {text}", style="yellow")

    def status(self, text: str) -> None:
        """Show what is being done when it is not training."""
        self._progress.update(self._task, state=text)

    def steps(self, figures: dict[str, Any], loader: EpochLoader) -> None:
        """Figures of the last steps: epoch, step, loss, accuracy if there is one, clips_per_second, data_wait, lr."""
        self._write(figures)
        memory = ""
        if loader.device == "gpu":
            free, total = torch.cuda.mem_get_info()
            memory = f" · {(total - free) / 1e9:.1f} GB"
        accuracy = f" · accuracy {figures['accuracy']:.0%}" if "accuracy" in figures else ""
        state = (f"loss {figures['loss']:.3f}{accuracy} · "
                 f"{figures['clips_per_second']:.3g} clips/s · data wait {figures['data_wait']:.0%}{memory}")
        self._progress.update(self._task, completed=figures["step"], state=state,
                              description=f"epoch {figures['epoch']}")
        self._waiting_lines = self._waiting_lines + 1 if figures["data_wait"] > MOST_WAIT else 0
        if self._waiting_lines == WAITING_LINES:
            self.warn(f"{figures['data_wait']:.0%} of the time is spent waiting for clips: "
                      f"{self._cause_of_wait(loader)}")

    def validation(self, figures: dict[str, Any], advice: Callable[[str], str]) -> None:
        """Figures of a validation: epoch, step, and under "val" loss, accuracy if there is one, and the rest.

        If they include "per_…" and "confusion", warn of a kind that is never recognised better than by chance, with
        `advice`.
        """
        self._write(figures)
        val = figures["val"]
        right = f"accuracy {val['accuracy']:.1%}, " if "accuracy" in val else ""
        self.say(f"epoch {figures['epoch']}: validation {right}loss {val['loss']:.3f}")
        per_kind = _per_kind(val)
        for (name, accuracy), row in zip(per_kind.items(), val.get("confusion", ()), strict=True):
            if accuracy is None:
                continue
            chance = 1 / len(per_kind)
            guessed = chance + 2 * math.sqrt(chance * (1 - chance) / sum(row))  # two standard deviations above chance
            self.at_chance[name] = self.at_chance.get(name, 0) + 1 if accuracy <= guessed else 0
            if self.at_chance[name] == EPOCHS_AT_CHANCE:
                self.warn(f"after {EPOCHS_AT_CHANCE} validations {name} is still recognised no better than by chance "
                          f"({accuracy:.1%}, chance {chance:.1%}): {advice(name)}")

    def forget_after(self, step: int, validated: int) -> None:
        """Drop the lines that a killed run wrote after its last checkpoint; they will be written again."""
        kept = [figures for figures in read_metrics(self._file)
                if figures["step"] <= (validated if "val" in figures else step)]
        write_text(self._file, "".join(json.dumps(figures) + "\n" for figures in kept))

    def _write(self, figures: dict[str, Any]) -> None:
        with open(self._file, "a") as file:
            file.write(json.dumps(figures) + "\n")
        if self._events:
            kind, values = ("val", figures["val"]) if "val" in figures else ("train", figures)
            for name, value in {**values, **_per_kind(values)}.items():
                if isinstance(value, float):
                    self._events.add_scalar(f"{kind}/{name}", value, figures["step"])
            self._events.flush()

    def _cause_of_wait(self, loader: EpochLoader) -> str:
        """What slows the loader down, as far as its settings tell, and what to do."""
        pack = loader.videos.pack
        if pack == "none":
            return "every clip is decoded from the original videos; prepare with --pack video, which decodes them once"
        if loader.threads < self._cores:
            return f"the loader decodes on {loader.threads} of {self._cores} cores; raise data.threads"
        if pack in ("video", "jpeg") and loader.device == "cpu":
            return f"decoding the {pack} pack takes all cores; prepare with --pack raw, which needs no decoding"
        return "the pack is read too slowly; put the DATASET on a faster disk, or make it small enough to fit in memory"


def _per_kind(val: dict[str, Any]) -> dict[str, float | None]:
    """The accuracy of each kind, if there are kinds ("per_relation", "per_order", …)."""
    return next((value for key, value in val.items() if key.startswith("per_")), {})


def _tensorboard(out: Path, step: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(out, purge_step=step + 1 if step else None)
