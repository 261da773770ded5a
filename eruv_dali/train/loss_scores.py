"""Scores of a network that is judged by its loss alone, such as a regression."""

from typing import Any

import torch

from eruv_dali.train.processes import Processes, add_up


class LossScores:
    """The loss over any number of batches, without a synchronisation per batch.

    Attributes:
        samples: int64, how many were counted; `loss_sum`: float64, the sum of their losses; both on `device`.
    """

    def __init__(self, device: torch.device) -> None:
        self.samples = torch.zeros((), dtype=torch.int64, device=device)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, output: torch.Tensor, target: torch.Tensor, loss: torch.Tensor) -> None:
        """Count a batch; `loss` is its mean."""
        self.samples += len(target)
        self.loss_sum += loss.double() * len(target)

    def add_up(self, processes: Processes) -> None:
        """Add what all other processes counted."""
        add_up(processes, self.samples, self.loss_sum)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"samples": self.samples, "loss_sum": self.loss_sum}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.samples.copy_(state["samples"])
        self.loss_sum.copy_(state["loss_sum"])

    @property
    def count(self) -> int:
        """Samples counted."""
        return int(self.samples)

    @property
    def loss(self) -> float:
        """Mean loss; 0 if nothing was counted."""
        return float(self.loss_sum) / max(1, self.count)

    def figures(self) -> dict[str, Any]:
        """The figures of a logging step."""
        return {"loss": self.loss}
