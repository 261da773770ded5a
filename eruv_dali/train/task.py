"""A task: what the training loop needs to know about what it trains. pretrain and finetune each have one."""

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from eruv_dali.loader.epochs import EpochLoader
from eruv_dali.train.processes import Processes
from eruv_dali.train.step import TrainStep


class Scores(Protocol):
    """Counts over batches. Kept on the device, which is not synchronised until the figures are read."""

    def add(self, output: torch.Tensor, target: torch.Tensor, loss: torch.Tensor) -> None:
        """Count a batch; `loss` is its mean."""

    def add_up(self, processes: Processes) -> None:
        """Add what all other processes counted."""

    def figures(self) -> dict[str, Any]:
        """Figures of a logging step, "loss" among them."""

    def state_dict(self) -> dict[str, torch.Tensor]: ...

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None: ...


class Task(Protocol):
    """What is trained.

    Attributes:
        program: the program that trains it, for messages ("pretrain").
        net: takes a batch's clips; checkpoints hold its `state_dict`.
        loader: of the training batches. An epoch has the same number for every process.
        fingerprint: the settings that determine the run, by name. A checkpoint with another fingerprint is not resumed,
            except for differences in the keys `free`.
        free: keys of the fingerprint that may differ between a run's start and its resumption.
        defaults: keys of the fingerprint and their default values, which a run had that began before there was the key.
    """

    program: str
    fingerprint: dict[str, Any]
    free: tuple[str, ...]
    defaults: dict[str, Any]

    @property
    def net(self) -> nn.Module: ...

    @property
    def loader(self) -> EpochLoader: ...

    def headline(self) -> str:
        """What is trained, in a few words."""

    def warnings(self) -> list[str]:
        """Warnings to show before training starts."""

    def target(self, batch: Any) -> torch.Tensor:
        """What the net's output for `batch.clips` is compared with."""

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch."""

    def scores(self, device: torch.device) -> Scores:
        """Scores with nothing counted yet."""

    def validate(self, step: TrainStep, processes: Processes, pause: Any) -> dict[str, Any]:
        """Figures of the held-out part, including "loss", the same in every process; empty if nothing is held out.

        `pause()` is called between batches, and may end the run.
        """

    def rank(self, val: dict[str, Any]) -> list[float]:
        """The key by which the best epoch is chosen; higher is better."""

    def result(self, val: dict[str, Any], epoch: int, step: int) -> dict[str, Any]:
        """The result of the best epoch, for the end of the run and its checkpoints."""

    def save_best(self, out: Path, val: dict[str, Any], epoch: int) -> None:
        """Keep the network of the best epoch so far."""

    def advice(self, kind: str) -> str:
        """What may help if a kind is recognised no better than by chance."""

    def resumed_by(self, start: str, out: Path) -> str:
        """What to do to continue a run that was stopped; `start` starts Python."""

    def describe(self, info: list) -> list[dict[str, Any]]:
        """A batch's `info` as plain values, for the record of a batch whose loss was not finite."""
