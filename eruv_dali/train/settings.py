"""Settings of any training: sections of the configuration."""

from dataclasses import dataclass


@dataclass
class OptimConfig:
    """How it is trained. SGD, 0.01, 0.9 and 300 epochs are the paper's; the rest comes from VCOP's public code."""

    epochs: int = 300
    max_steps: int | None = None  # stop earlier, after so many steps
    name: str = "sgd"  # sgd, adamw
    lr: float = 0.01
    momentum: float = 0.9  # sgd only
    weight_decay: float = 5e-4
    schedule: str = "plateau"  # plateau (on validation loss), cosine (over all steps, after a short rise), constant
    patience: int = 50  # plateau: epochs without improvement
    factor: float = 0.1  # plateau: what the rate is multiplied by
    precision: str = "auto"  # float32, bfloat16, float16; auto: float32 on a CPU, otherwise what the GPU has
    compile: str = "auto"  # on, off: torch.compile; auto: on with a GPU
    lr_rule: str = "linear"  # what N processes multiply lr by: linear N, sqrt √N, none 1
    sync_batchnorm: bool = False  # mean and variance over the batches of all processes


@dataclass
class CheckpointConfig:
    """When the run is saved: at the end of each epoch, when it is told to stop, and in between."""

    every_minutes: float = 10.0
    keep: int = 2  # last.pt and those before it, to go on from should the newest be damaged


@dataclass
class LogConfig:
    """What is written down."""

    every_steps: int = 10  # a line in metrics.jsonl
    tensorboard: bool = True  # where tensorboard is installed
