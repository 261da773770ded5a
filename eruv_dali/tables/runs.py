"""Finished runs, as the tables take them: a RUN's result.json, and the pre-training that its network comes from."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from eruv_dali.errors import EruvError
from eruv_dali.evaluate.pretrained import NONE
from eruv_dali.models import BACKBONES
from eruv_dali.pretext.eruv import BETWEEN_SHOTS, RELATIONS, Eruv
from eruv_dali.tables.paper import METHODS, PAPER_WIDTH, RANDOM

NAMES = {"c3d": "C3D", "r3d": "R3D", "r2plus1d": "R(2+1)D", "caffenet": "CaffeNet", "ucf101": "UCF101",
         "hmdb51": "HMDB51"}
ERUV = Eruv.name
TRIMMED = tuple(relation for relation in RELATIONS if relation not in BETWEEN_SHOTS)


@dataclass(frozen=True)
class Run:
    """One result.json.

    Attributes:
        name: its folder.
        result: its content, checked by `read_run`.
        training: the configuration of the network's pre-training, without its seed; runs where it is equal share a row.
        pretext: that it was pre-trained with; RANDOM for random weights, "" if unknown.
        relations: that it was pre-trained on, for ERUV; otherwise None.
        trimmed: whether it was pre-trained on trimmed videos; None if unknown, and for random weights.
    """

    name: str
    result: dict[str, Any]
    training: str
    pretext: str
    relations: tuple[str, ...] | None = None
    trimmed: bool | None = None

    @property
    def network(self) -> str:
        name, width = NAMES.get(self.result["backbone"], self.result["backbone"]), self.result["width"]
        seen = ", frame differences" if self.result["input"] == "difference" else ""
        return f"{name}{'' if width == PAPER_WIDTH else f', width {width}'}{seen}"

    @property
    def whole(self) -> bool:
        """Whether it is a method as published: for ERUV, with all relations that its videos can show."""
        if self.pretext != ERUV or self.relations is None:
            return True
        return set(self.relations) == set(TRIMMED if self.trimmed else RELATIONS)

    @property
    def start(self) -> str:
        if not self.whole:
            return " ".join(self.relations or ())
        return (METHODS.get(self.pretext, self.pretext) or "pre-trained") + (", trimmed" if self.trimmed else "")

    @property
    def in_paper(self) -> tuple[str, str] | None:
        """(network, method), the key of the paper's figures; None if this network is not one of full width that sees
        colours, pre-trained with a known and whole method."""
        if self.result["width"] != PAPER_WIDTH or self.result["input"] != "rgb" or not self.pretext or not self.whole:
            return None
        return self.result["backbone"], self.pretext


# What results did not tell before there was a choice.
BEFORE = {"input": "rgb", "rescale": False, "layer_rate": 1.0}


def all_seven(relations: Iterable[str] | None) -> bool:
    return set(relations or ()) == set(RELATIONS)


def read_run(path: Path) -> Run:
    """Read a RUN folder's result.json, or the file itself.

    Raises:
        EruvError: it is missing, cannot be read, or is not one of pretrain, finetune or retrieve.
    """
    file = path / "result.json" if path.is_dir() else path
    if not file.is_file():
        raise EruvError(f"{file}: no such file; give finished RUNs of pretrain, finetune or retrieve")
    try:
        result = json.loads(file.read_text())
    except ValueError as error:
        raise EruvError(f"{file}: is not JSON ({error}); run its program again, or leave it out") from None
    program = result.get("program") if isinstance(result, dict) else None
    wanted = {"pretrain": ("pretext",), "finetune": ("dataset", "splits", "init", "mode",
              "top1", "top5"), "retrieve": ("dataset", "splits", "init", "queries", "topk")}
    if program not in wanted:
        raise EruvError(f"{file}: its program is {program!r}, not one of {', '.join(wanted)}; leave it out")
    shown = ("accuracy", "per_relation") if "relations" in result else ()
    if missing := [key for key in ("backbone", "width", *wanted[program], *shown) if key not in result]:
        raise EruvError(f"{file}: a result of {program} without {missing[0]!r}; it is of another version: run it again")
    if result["backbone"] not in BACKBONES:
        raise EruvError(f"{file}: backbone {result['backbone']!r} is not one of {', '.join(BACKBONES)}; leave it out")
    _check_figures(file, result)
    result = {**BEFORE, **result}
    folder, name = file.parent, str(file.parent)
    if program == "pretrain":
        training = _training(folder)
        relations = tuple(result["relations"]) if "relations" in result else None
        return Run(name, result, training or json.dumps([name, relations]), result["pretext"], relations,
                   _trimmed(training))
    if result["init"] == NONE:
        return Run(name, result, NONE, RANDOM)
    training = _training(Path(result["init"]).parent)
    known = json.loads(training) if training else {}
    pretext, trimmed = (known.get("pretext") or {}).get("name", ""), _trimmed(training)
    relations = tuple(known.get("relations") or ()) or None
    if relations and trimmed:  # the others drop out
        relations = tuple(relation for relation in relations if relation in TRIMMED)
    return Run(name, result, training or result["init"], pretext, relations, trimmed)


def _check_figures(file: Path, result: dict) -> None:
    figures = {key: result[key] for key in ("accuracy", "top1", "top5") if key in result}
    for part in ("per_relation", "topk"):
        if not isinstance(result.get(part, {}), dict):
            raise EruvError(f"{file}: {part} is {result[part]!r}, not names and figures; run it again")
        figures |= result.get(part, {})
    for key, value in figures.items():
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
            raise EruvError(f"{file}: {key} is {value!r}, not a fraction of 1; leave out this file")


def _training(folder: Path) -> str | None:
    """The settings of a RUN of pretrain that affect its weights, without the seed; None if unknown."""
    file = folder / "config.yaml"
    if not file.is_file():
        return None
    try:
        config = yaml.safe_load(file.read_text())
    except yaml.YAMLError:
        config = None
    if not isinstance(config, dict):
        raise EruvError(f"{file}: is not the config.yaml of a RUN; restore it, or remove it")
    told = {key: config.get(key) for key in ("pretext", "relations", "model", "data", "optim")}
    return json.dumps(told, sort_keys=True)


def _trimmed(training: str | None) -> bool | None:
    """Whether a pre-training was on trimmed videos; None if unknown."""
    known = json.loads(training) if training else {}
    return bool((known.get("data") or {}).get("trimmed", False)) if known.get("pretext") else None
