"""Pre-trainings of a series, in one folder: a finished one is not repeated, an unfinished one is resumed."""

from pathlib import Path

import torch

from eruv_dali.dataset import Dataset
from eruv_dali.errors import EruvError
from eruv_dali.pretrain.run import pretrain
from eruv_dali.train.checkpoint import checkpoints
from eruv_dali.train.config import Config, flatten, load_config

# Keys that may differ when a series continues: they do not affect the weights, or say where things lie.
FREE_KEYS = ("data.dataset", "data.videos", "data.threads", "optim.compile", "checkpoint.every_minutes",
             "checkpoint.keep", "log.every_steps", "log.tensorboard", "device")


def check_same_run(config: Config, out: Path) -> None:
    """Make sure that `out` is free, or holds a pre-training with this configuration, finished or not.

    Raises:
        EruvError: it holds another one, or something else.
    """
    file = out / "config.yaml"
    if not file.exists():
        if (out / "result.json").exists() or checkpoints(out / "last.pt"):
            raise EruvError(f"{out}: holds a run without its config.yaml; move it away, or choose another --out")
        return
    before, now = flatten(load_config(file)), flatten(config)
    for key in before | now:
        if key not in FREE_KEYS and before.get(key) != now.get(key):
            raise EruvError(f"{out}: holds a pre-training with {key} = {before.get(key)}, not {now.get(key)}; move it "
                            "away, or choose another --out")


def pretrain_once(config: Config, dataset: Dataset, out: Path) -> None:
    """Pre-train as `pretrain` does, unless `out` holds the finished run; if it holds an unfinished one, resume it.

    Raises:
        EruvError: see `check_same_run`, `pretrain`.
        Stopped: SIGINT or SIGTERM was received, and the run was saved.
    """
    check_same_run(config, out)
    if not (out / "result.json").exists():
        release()
        pretrain(config, dataset, out, resume=bool(checkpoints(out / "last.pt")))


def release() -> None:
    """Let go of what an earlier training of this process holds: GPU memory, and compiled code, of which torch keeps
    only so many versions before it stops compiling."""
    if torch.cuda.is_available():
        torch.compiler.reset()
        torch.cuda.empty_cache()
