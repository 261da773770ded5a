"""What the training loop is told of that which is trained: a task. pretrain and finetune each have one."""

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from eruv_dali.loader.epochs import EpochLoader
from eruv_dali.train.processes import Processes
from eruv_dali.train.step import TrainStep


class Scores(Protocol):
    """What is counted over batches. Kept on the device: nothing waits for it until its figures are asked for."""

    def add(self, output: torch.Tensor, target: torch.Tensor, loss: torch.Tensor) -> None:
        """Count a batch; `loss` is its mean."""

    def add_up(self, processes: Processes) -> None:
        """Take in what all other processes counted."""

    def figures(self) -> dict[str, Any]:
        """Figures of a logging step, "loss" among them."""

    def state_dict(self) -> dict[str, torch.Tensor]: ...

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None: ...


class Task(Protocol):
    """What is trained.

    Attributes:
        program: the program that trains it, for messages ("pretrain").
        net: what a batch's clips go into; its `state_dict` is what checkpoints hold.
        loader: of the training batches. An epoch has as many for every process.
        fingerprint: what decides the run, by name. A checkpoint of another fingerprint is not resumed, but for the keys
            in `free`.
        free: keys of the fingerprint that may differ between a run's start and its resumption.
    """

    program: str
    fingerprint: dict[str, Any]
    free: tuple[str, ...]

    @property
    def net(self) -> nn.Module: ...

    @property
    def loader(self) -> EpochLoader: ...

    def headline(self) -> str:
        """What is trained, in some words."""

    def warnings(self) -> list[str]:
        """What a person should know before it begins."""

    def target(self, batch: Any) -> torch.Tensor:
        """What the net's output for `batch.clips` is compared with."""

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch."""

    def scores(self, device: torch.device) -> Scores:
        """Nothing counted yet."""

    def validate(self, step: TrainStep, processes: Processes, pause: Any) -> dict[str, Any]:
        """Figures of the held-out part, "loss" among them, the same in every process; empty where there is none.

        `pause()` is called between batches, and may end the run.
        """

    def rank(self, val: dict[str, Any]) -> list[float]:
        """By what the best epoch is found; the higher, the better."""

    def result(self, val: dict[str, Any], epoch: int, step: int) -> dict[str, Any]:
        """What is known of the best epoch, for the end of the run and its checkpoints."""

    def save_best(self, out: Path, val: dict[str, Any], epoch: int) -> None:
        """Keep the network of the best epoch so far."""

    def advice(self, kind: str) -> str:
        """What may help where a kind is named no better than by guessing."""

    def describe(self, info: list) -> list[dict[str, Any]]:
        """A batch's `info` in words, for the record of one that spoilt the loss."""
