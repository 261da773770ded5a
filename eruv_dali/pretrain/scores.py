"""Relation accuracy: overall and for each relation (the paper's Table I)."""

from collections.abc import Sequence

import torch

from eruv_dali.train.processes import Processes, add_up


class RelationScores:
    """Counts of right and wrong answers, and the loss, over any number of batches, without a synchronisation a batch.

    Attributes:
        confusion: (R, R) int64, row: the true relation, column: the network's answer; on `device`.
        loss_sum: float64, the sum of the loss over all pairs; on `device`.
    """

    def __init__(self, relations: Sequence[str], device: torch.device) -> None:
        self.relations = tuple(relations)
        self.confusion = torch.zeros(len(relations), len(relations), dtype=torch.int64, device=device)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, logits_BR: torch.Tensor, relation_B: torch.Tensor, loss: torch.Tensor) -> None:
        """Count a batch; `loss` is its mean."""
        cell = relation_B * len(self.relations) + logits_BR.argmax(1)
        self.confusion.view(-1).index_add_(0, cell, torch.ones_like(cell))  # bincount would wait for the GPU
        self.loss_sum += loss.double() * len(relation_B)

    def add_up(self, processes: Processes) -> None:
        """Take in what all other processes counted."""
        add_up(processes, self.confusion, self.loss_sum)

    @property
    def count(self) -> int:
        """Pairs counted."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Fraction of pairs named right; 0 where none was counted."""
        return int(self.confusion.diagonal().sum()) / max(1, self.count)

    @property
    def loss(self) -> float:
        """Mean cross-entropy."""
        return float(self.loss_sum) / max(1, self.count)

    @property
    def per_relation(self) -> dict[str, float | None]:
        """Fraction named right for each relation; None where none was asked."""
        asked, right = self.confusion.sum(1).tolist(), self.confusion.diagonal().tolist()
        return {name: r / a if a else None for name, a, r in zip(self.relations, asked, right, strict=True)}
