"""Settings of any training program: sections of the configuration."""

from dataclasses import dataclass


@dataclass
class OptimConfig:
    """How to train the network. SGD, 0.01, 0.9 and 300 epochs are the paper's. Weight decay is that of VCOP's public
    code, which also creates the plateau schedule but never steps it: that it is used is our choice."""

    epochs: int = 300
    max_steps: int | None = None  # stop early, after this number of steps
    name: str = "sgd"  # sgd, adamw
    lr: float = 0.01
    momentum: float = 0.9  # sgd only
    weight_decay: float = 5e-4
    # plateau (on validation loss), cosine (over all steps, after a short warm-up), step, constant
    schedule: str = "plateau"
    patience: int = 50  # plateau: epochs without improvement
    factor: float = 0.1  # plateau, step: what the learning rate is multiplied by
    drop_every: int | None = None  # step: how many steps (batches) before each drop
    precision: str = "auto"  # float32, bfloat16, float16; auto: float32 on a CPU, otherwise what the GPU supports
    compile: str = "auto"  # on, off: torch.compile; auto: on with a GPU
    lr_rule: str = "linear"  # what N processes multiply lr by: linear N, sqrt √N, none 1
    sync_batchnorm: bool = False  # mean and variance over the batches of all processes


@dataclass
class LossConfig:
    """Weights of further terms of the loss, beside the pretext's own; 0: without it. Not the paper's."""

    # Against a collapse of the features: VICReg's terms on the features of a batch's clips (`decorrelation.py`).
    variance: float = 0.0  # standard deviations below 1
    covariance: float = 0.0  # squared covariances; wants batches of at least half as many clips as there are features
    contrast: float = 0.0  # InfoNCE (`contrast.py`), for eruv: clips of CS pairs alike, unlike clips of other videos
    temperature: float = 0.1  # of contrast; SimCLR's choice


@dataclass
class CheckpointConfig:
    """When the run is saved: at the end of each epoch, when it is asked to stop, and in between."""

    every_minutes: float = 10.0
    keep: int = 2  # last.pt and those before it, to resume from if the newest is damaged
    # Natural clips (at least 32; 2,000 are plenty) on which BatchNorm's statistics in backbone.pt are measured again at
    # the end of pre-training; 0: they stay those of the pretext's clips.
    recalibrate: int = 0


@dataclass
class LogConfig:
    """What is logged."""

    every_steps: int = 10  # steps per line in metrics.jsonl
    tensorboard: bool = True  # if tensorboard is installed
