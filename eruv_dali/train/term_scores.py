"""Scores of training steps with further terms of the loss."""

from typing import Any

import torch

from eruv_dali.train.processes import Processes, add_up
from eruv_dali.train.task import Scores


class TermScores:
    """The task's scores, and the means of the terms beside them; see `Scores`."""

    def __init__(self, scores: Scores, names: tuple[str, ...], device: torch.device) -> None:
        self._scores, self._names = scores, names
        self._batches = torch.zeros((), dtype=torch.int64, device=device)
        self._sums = torch.zeros(len(names), dtype=torch.float64, device=device)

    def add(self, output: torch.Tensor, target: torch.Tensor, loss: torch.Tensor) -> None:
        self._scores.add(output, target, loss)

    def add_terms(self, values: torch.Tensor) -> None:
        """Count a batch's values, in the order of the names."""
        self._batches += 1
        self._sums += values

    def add_up(self, processes: Processes) -> None:
        self._scores.add_up(processes)
        add_up(processes, self._batches, self._sums)

    def figures(self) -> dict[str, Any]:
        means = self._sums / self._batches.clamp(min=1)
        return {**self._scores.figures(), **dict(zip(self._names, means.tolist(), strict=True))}

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {**self._scores.state_dict(), "terms.batches": self._batches, "terms.sums": self._sums}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self._scores.load_state_dict(state)
        self._batches.copy_(state["terms.batches"])
        self._sums.copy_(state["terms.sums"])
