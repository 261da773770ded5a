"""Checkpoints: everything a run needs to go on as if it had never stopped."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside

FORMAT = 1


def save_checkpoint(path: Path, **parts: Any) -> None:
    """Write `parts` (state dicts and plain values) and the random number generators' states; aside, then renamed."""
    state = {
        "format": FORMAT, **parts, "random": {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        },
    }
    write_aside(path, lambda file: torch.save(state, file))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote, and set the random number generators as they were.

    Raises:
        EruvError: there is no such file, it is truncated, or it is no checkpoint of this version.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise EruvError(f"{path}: no checkpoint to resume from; start without --resume") from None
    except Exception as error:  # torch raises what its unpickler happens to raise on a damaged file
        raise EruvError(f"{path}: damaged checkpoint ({str(error).splitlines()[0]})") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise EruvError(f"{path}: not a checkpoint of this version (format {FORMAT})")
    torch.set_rng_state(state["random"]["torch"])
    if torch.cuda.is_available() and state["random"]["cuda"]:
        torch.cuda.set_rng_state_all(state["random"]["cuda"])
    return state


def seed_everything(seed: int) -> None:
    """Seed the generators that weights, dropout and libraries draw from. Clips are drawn from the loader's own seed."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
