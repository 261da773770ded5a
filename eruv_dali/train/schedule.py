"""The learning rate: how it scales with the number of processes, and how it changes over a run."""

import math

import torch

from eruv_dali.train.settings import OptimConfig

WARMUP = 0.05  # share of the steps in which a cosine schedule warms up


def scaled(lr: float, processes: int, rule: str) -> float:
    """The learning rate for several processes, each with its own batch, from `lr` for one process.

    "linear": times their number (Goyal et al. 2017: k times the batch, k times the learning rate); "sqrt": times its
    square root, better suited to Adam; "none": unchanged.
    """
    return lr * {"linear": processes, "sqrt": math.sqrt(processes), "none": 1}[rule]


def build_schedule(
    optimizer: torch.optim.Optimizer, optim: OptimConfig, total_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The schedule that `optim.schedule` names.

    "plateau" is stepped with each epoch's validation loss, "cosine" and "step" at each step, "constant" never.
    """
    if optim.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=optim.factor, patience=optim.patience)

    def share(step: int) -> float:
        if optim.schedule == "constant":
            return 1.0
        if optim.drop_every is not None and optim.schedule == "step":
            return optim.factor ** (step // optim.drop_every)
        rise = max(1, round(WARMUP * total_steps))
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, total_steps - rise))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)
