"""How to fine-tune: the numbers, which the command line shows before anything heavy is imported."""

import math
from dataclasses import dataclass

from eruv_dali.checks import whole_number
from eruv_dali.errors import EruvError


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune. 150 epochs, 1e-3, 8 and 5e-4 are the paper's; momentum 0.9 as in its pre-training.

    Raises:
        EruvError: a value out of its range.
    """

    epochs: int = 150
    lr: float = 1e-3
    batch_size: int = 8
    weight_decay: float = 5e-4
    momentum: float = 0.9
    seed: int = 0
    layer_rate: float = 1.0  # what each layer's rate is of the rate of the one above it, from the head down
    rescale: bool = False  # begin with convolutions of the norm of a fresh network's (`rescale_convolutions`)

    def __post_init__(self) -> None:
        whole_number("epochs", self.epochs, least=1)
        whole_number("batch_size", self.batch_size, least=1)
        whole_number("seed", self.seed, least=0, most=2**63 - 1)
        if not 0 < self.lr < math.inf:
            raise EruvError(f"lr {self.lr} must be greater than 0, and finite")
        for name in ("weight_decay", "momentum"):
            if not 0 <= getattr(self, name) < math.inf:
                raise EruvError(f"{name} {getattr(self, name)} must be at least 0, and finite")
        if not 0 < self.layer_rate <= 1:
            raise EruvError(f"layer_rate {self.layer_rate} must be more than 0 and at most 1: the share of the "
                            "learning rate that each layer has of the one above it")
