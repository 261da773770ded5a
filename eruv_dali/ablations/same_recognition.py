"""Whether a finished fine-tuning of a series is the one that is asked for now, before it is taken for that."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eruv_dali.actions import ActionSplit
from eruv_dali.actions.chosen import video_settings
from eruv_dali.errors import EruvError
from eruv_dali.finetune.program import training_settings
from eruv_dali.train.config import Config


def check_same_recognition(
    run: Path, words: argparse.Namespace, splits: Sequence[tuple[str, ActionSplit]], config: Config
) -> None:
    """Make sure that `run` holds no finished fine-tuning but this one.

    `words` are those of finetune, `splits` what they stand for, `config` the pre-training whose network it starts from,
    or is compared with. What result.json does not say cannot differ.

    Raises:
        EruvError: it holds another one, or its result.json is damaged.
    """
    file = run / "result.json"
    if not file.exists():
        return
    try:
        found = {"input": "rgb", **dict(json.loads(file.read_text()))}  # rgb, before there was a choice
    except (ValueError, TypeError):
        raise EruvError(f"{file}: is damaged; remove {run} and run again") from None
    for key, value in _asked(words, splits, config).items():
        if found.get(key, value) != value:
            raise EruvError(f"{run}: holds a run of finetune with {key} = {found[key]}, not {value}; move it away, or "
                            "choose another --out")


def _asked(
    words: argparse.Namespace, splits: Sequence[tuple[str, ActionSplit]], config: Config
) -> dict[str, Any]:
    """What finetune would write of it into result.json."""
    model, data = config.model, config.data
    return {**video_settings(words, splits), "splits": [name for name, _ in splits], **training_settings(words),
            "seed": words.seed, "clips": words.clips,
            "backbone": words.backbone or model.backbone, "width": words.width or model.width,
            "input": words.input or model.input, "crop": words.crop or data.crop,
            "frame_size": list(words.frame_size or data.frame_size)}
