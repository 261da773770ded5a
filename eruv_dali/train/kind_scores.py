"""Scores of a network that classifies kinds: accuracy overall and for each kind, and the loss (the paper's Table I)."""

from collections.abc import Sequence
from typing import Any

import torch

from eruv_dali.train.processes import Processes, add_up


class KindScores:
    """Counts of right and wrong predictions, and the loss, over any number of batches, without a synchronisation per
    batch.

    Attributes:
        confusion: (R, R) int64, row: the true kind, column: the predicted kind; on `device`.
        loss_sum: float64, the sum of the loss over all samples; on `device`.
    """

    def __init__(self, kinds: Sequence[str], device: torch.device) -> None:
        self.kinds = tuple(kinds)
        self.confusion = torch.zeros(len(kinds), len(kinds), dtype=torch.int64, device=device)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, output_BR: torch.Tensor, target_B: torch.Tensor, loss: torch.Tensor) -> None:
        """Count a batch; `loss` is its mean. Columns of the output beyond the kinds are no predictions of them."""
        cell = target_B * len(self.kinds) + output_BR[:, :len(self.kinds)].argmax(1)
        self.confusion.view(-1).index_add_(0, cell, torch.ones_like(cell))  # bincount would wait for the GPU
        self.loss_sum += loss.double() * len(target_B)

    def add_up(self, processes: Processes) -> None:
        """Add what all other processes counted."""
        add_up(processes, self.confusion, self.loss_sum)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"confusion": self.confusion, "loss_sum": self.loss_sum}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.confusion.copy_(state["confusion"])
        self.loss_sum.copy_(state["loss_sum"])

    @property
    def count(self) -> int:
        """Samples counted."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Fraction of samples predicted right; 0 if none was counted."""
        return int(self.confusion.diagonal().sum()) / max(1, self.count)

    @property
    def loss(self) -> float:
        """Mean loss."""
        return float(self.loss_sum) / max(1, self.count)

    @property
    def per_kind(self) -> dict[str, float | None]:
        """Fraction predicted right of each kind; None if it has no samples."""
        asked, right = self.confusion.sum(1).tolist(), self.confusion.diagonal().tolist()
        return {name: r / a if a else None for name, a, r in zip(self.kinds, asked, right, strict=True)}

    def figures(self) -> dict[str, Any]:
        """The figures of a logging step."""
        return {"loss": self.loss, "accuracy": self.accuracy}
