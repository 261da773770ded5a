"""Configuration: the keys that a YAML file and `key=value` words on the command line may set, and their defaults.

Every key is a field below. Values that the paper does not state come from VCOP's public code, on which ERUV's authors
build, or are our choice; the comments say which.
"""

import dataclasses
import difflib
import math
import re
import sys
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from eruv_dali.checks import shown, three_numbers
from eruv_dali.choices import BACKBONES, INPUTS
from eruv_dali.dataset.pack import PACK_KINDS
from eruv_dali.dataset.segments import MIN_LENGTH, SEGMENT_LENGTH
from eruv_dali.errors import EruvError
from eruv_dali.models import HEADS, build_backbone
from eruv_dali.models.backbone_file import WIDEST, check_clip
from eruv_dali.native import data_dir
from eruv_dali.pretext import PRETEXTS, find_pretext
from eruv_dali.pretext.eruv import Eruv
from eruv_dali.pretext.pretext import PretextOptions, Setting
from eruv_dali.shots import RULES
from eruv_dali.train.settings import CheckpointConfig, LogConfig, LossConfig, OptimConfig
from eruv_dali.video.frames import FRAME_SIZE
from eruv_dali.yaml_file import NO_YAML, read_yaml

LEAST_RECALIBRATE = 32  # clips: BatchNorm's statistics of fewer are mostly chance

# From and to, inclusive. Validation is drawn from `seed` + 1.
RANGES = {"seed": (0, 2**63 - 2), "model.width": (1, WIDEST), "model.dropout": (0, 1), "optim.momentum": (0, 1)}
MOST = 2**31 - 1  # of other whole numbers

# ERUV's relations have a top-level key, for compatibility: it is older than the section `pretext`.
ALIASES = {"relations": "pretext.relations"}


@dataclass
class DataConfig:
    """Which videos, how they are prepared, and what a batch looks like."""

    dataset: str | None = None  # a prepared DATASET
    videos: list[str] = field(default_factory=list)  # or files and folders, prepared on the first run
    batch_size: int = 8  # samples (ERUV's are pairs); unstated in the paper, from VCOP's public code
    clip_length: int = 16
    crop: int = 112
    frame_size: list[int] = field(default_factory=lambda: list(FRAME_SIZE))  # height, width of the resized frames
    trimmed: bool = False  # each video is one action: CV and CD drop out, CS means the same video
    pack: str = "video"  # none, video, jpeg, raw
    rule: str = "robust"  # how shots are found
    threshold: float | None = None
    segment_length: int = SEGMENT_LENGTH
    min_length: int = MIN_LENGTH
    val_fraction: float = 0.1  # share of the videos held out; unstated in the paper; our choice
    pairs_per_epoch: int | None = None  # samples; by default one for each segment
    val_pairs: int | None = None  # samples; by default one for each held-out segment, at least 30 for each kind
    mean: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    std: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0])
    threads: int | None = None  # by default one per core

    @property
    def height_and_width(self) -> tuple[int, int]:
        """`frame_size`; a Config has made sure that it is two numbers."""
        height, width = self.frame_size
        return height, width


@dataclass
class ModelConfig:
    """The network."""

    backbone: str = "c3d"  # c3d, r3d, r2plus1d, caffenet
    width: int = 64  # channels after the first convolution; all others scale with it
    input: str = "rgb"  # or difference: of each frame from the one before, computed in the network (3D backbones)
    head: str = "mlp"  # mlp, or the paper's literal linear, or compare: the mlp on |f_i - f_j| and f_i · f_j
    hidden: int = 512  # of the mlp
    dropout: float = 0.5  # of the mlp


@dataclass
class Config:
    """Everything that decides a pre-training run."""

    data: DataConfig = field(default_factory=DataConfig)
    pretext: PretextOptions = field(default_factory=Eruv.Options)  # its name and options
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {
            "data.pack": PACK_KINDS, "data.rule": RULES, "device": ("auto", "gpu", "cpu"),
            "pretext.name": tuple(PRETEXTS), "model.backbone": tuple(BACKBONES), "model.head": HEADS,
            "model.input": INPUTS,
            "optim.name": ("sgd", "adamw"), "optim.schedule": ("plateau", "cosine", "step", "constant"),
            "optim.precision": ("auto", "float32", "bfloat16", "float16"), "optim.compile": ("auto", "on", "off"),
            "optim.lr_rule": ("linear", "sqrt", "none"),
        }
        for key, allowed in choices.items():
            if self[key] not in allowed:
                raise EruvError(f"{key} = {shown(self[key])} is not one of {', '.join(allowed)}")
        positive = ("data.batch_size data.clip_length data.crop data.segment_length data.min_length data.threads "
                    "data.pairs_per_epoch data.val_pairs model.hidden optim.epochs optim.max_steps "
                    "optim.lr optim.patience optim.drop_every checkpoint.keep log.every_steps "
                    "loss.temperature")
        for key in positive.split():
            if self[key] is not None and self[key] <= 0:
                raise EruvError(f"{key} = {shown(self[key])} must be greater than 0")
        for key in ("optim.weight_decay", "loss.variance", "loss.covariance", "loss.contrast",
                    "checkpoint.every_minutes"):
            if self[key] < 0:
                raise EruvError(f"{key} = {self[key]} must be at least 0")
        recalibrate = self.checkpoint.recalibrate
        if recalibrate != 0 and recalibrate < LEAST_RECALIBRATE:
            raise EruvError(f"checkpoint.recalibrate = {recalibrate} must be 0, or a number of clips of at least "
                            f"{LEAST_RECALIBRATE}")
        for key, (least, most) in RANGES.items():
            if not least <= self[key] <= most:
                raise EruvError(f"{key} = {shown(self[key])} must lie between {least} and {most}")
        for key in _fields(type(self.pretext)):
            value = self[ALIASES.get(key, key)]
            if type(value) is int and key not in RANGES and abs(value) > MOST:
                raise EruvError(f"{key} = {shown(value)} must be at most {MOST}")
            if type(value) is float and not math.isfinite(value):
                raise EruvError(f"{key} = {value} must be a finite number")
        for key, count in (("data.frame_size", 2), ("data.mean", 3), ("data.std", 3)):
            if len(self[key]) != count:
                raise EruvError(f"{key} = {shown(self[key])} must be a list of {count} numbers")
        three_numbers("data.mean", self.data.mean)
        if min(three_numbers("data.std", self.data.std)) <= 0:
            raise EruvError(f"data.std = {shown(self.data.std)} must be greater than 0")
        if not 0 < self.data.val_fraction < 1:
            raise EruvError(f"data.val_fraction = {self.data.val_fraction} must lie between 0 and 1")
        if not 0 <= self.optim.factor < 1:
            raise EruvError(f"optim.factor = {self.optim.factor} must be at least 0 and less than 1: the learning rate "
                            "is multiplied by it")
        if self.optim.schedule == "step" and self.optim.drop_every is None:
            raise EruvError("optim.schedule = 'step' needs optim.drop_every, the number of steps after which the "
                            "learning rate drops")
        data, pretext = self.data, find_pretext(self.pretext.name)
        if self.model.head not in pretext.heads:
            raise EruvError(f"model.head = {self.model.head!r} is not supported by pretext {pretext.name}; choose "
                            f"one of {', '.join(pretext.heads)}")
        # A DATASET has its own frame size; whether crops fit into it is checked when it is opened.
        frame_size = (sys.maxsize, sys.maxsize) if data.dataset else data.height_and_width
        pretext.check(Setting(data.clip_length, data.crop, frame_size, self.seed, data.trimmed), self.pretext)
        check_clip(self.model.backbone, data.clip_length, data.crop, data.crop)
        if self.model.input == "difference":
            with torch.device("meta"):
                build_backbone(self.model.backbone, width=1, input=self.model.input)
            if pretext.stills or data.clip_length < 2:
                cause = f"pretext {pretext.name} shows" if pretext.stills else "data.clip_length = 1 is"
                raise EruvError(f"model.input = 'difference': {cause} single frames, which have no differences; use "
                                "model.input=rgb")
        if data.pairs_per_epoch is not None and data.batch_size > data.pairs_per_epoch:
            raise EruvError(f"data.batch_size = {data.batch_size} can never be filled: data.pairs_per_epoch is "
                            f"{data.pairs_per_epoch}; lower the former or raise the latter")

    def __getitem__(self, key: str) -> Any:
        """The value of a dotted key."""
        value: Any = self
        for part in key.split("."):
            value = getattr(value, part)
        return value


def load_config(file: str | Path | None = None, overrides: typing.Sequence[str] = (), **known: Any) -> Config:
    """Build a Config from a YAML file, then dotted `key=value` words, then values `known` by dotted key.

    Raises:
        EruvError: the file cannot be read, a key is unknown (the nearest valid one is named), or a value is of the
            wrong type or out of range.
    """
    tree = {} if file is None else _read(file)
    if "rows" in tree:
        raise EruvError(f"{file}: holds several configurations, its rows; run them with python -m eruv_dali.ablations")
    return _resolved(dict(_flatten(tree)), overrides, known)


def load_rows(file: str | Path, overrides: typing.Sequence[str] = (), **known: Any) -> dict[str, Config]:
    """The configurations of a YAML file, by name: one for each of its `rows`, a mapping from names to what differs from
    the rest of the file; without rows, the file itself, by its own name. `overrides` and `known` are for all.

    Raises:
        EruvError: see `load_config`; rows that are not such a mapping.
    """
    tree = _read(file)
    if "rows" not in tree:
        return {Path(file).stem: _resolved(dict(_flatten(tree)), overrides, known)}
    rows = tree.pop("rows")
    if not isinstance(rows, dict) or not rows:
        raise EruvError(f"{file}: rows = {shown(rows)} must map names to what differs, as in configs/table2.yaml")
    found = {}
    for name, row in rows.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w+-][\w.+-]*", name):
            raise EruvError(f"{file}: a row is called {shown(name)}; use letters, digits and _, as it names a folder")
        if not isinstance(row, dict):
            raise EruvError(f"{file}: row {name} = {shown(row)} must map keys to values, such as {{model.width: 32}}")
        try:
            found[name] = _resolved(_changed(dict(_flatten(tree)), dict(_flatten(row))), overrides, known)
        except EruvError as error:
            raise EruvError(f"{file}: row {name}: {error}") from None
    return found


def of_pretrain(file: Path) -> bool:
    """Whether the config.yaml of a RUN is that of a pre-training: finetune's only says what its clips look like.

    Raises:
        EruvError: it cannot be read.
    """
    return "optim" in _read(file)


def find_config(file: str | Path) -> Path:
    """The file; or, where there is none of this name, the configuration that comes with this package: by its bare name,
    with or without .yaml, or as configs/NAME.

    Raises:
        EruvError: neither exists; the nearest names are in the message.
    """
    path = Path(file)
    if path.exists() or path.parent not in (Path("."), Path("configs")):
        return path
    bundled = {found.stem: found for found in sorted(data_dir("configs").glob("*.yaml"))}
    if (name := path.name.removesuffix(".yaml")) in bundled:
        return bundled[name]
    near = difflib.get_close_matches(name, bundled, 3, 0.4) or bundled
    raise EruvError(f"{file}: no such file, and no configuration of this package; the nearest are {', '.join(near)}")


def _read(file: str | Path) -> dict[str, Any]:
    """The content of a YAML file."""
    tree = read_yaml(find_config(file)) or {}
    if not isinstance(tree, dict):
        raise EruvError(f"{file}: a configuration must be a mapping of keys to values, not {shown(tree)}")
    return tree


def _resolved(flat: dict[str, Any], overrides: typing.Sequence[str], known: dict[str, Any]) -> Config:
    """The Config of a file's values by dotted key, then `overrides`, then `known`. Overrides change the file's values
    together: which of them comes first, another pretext or an option of it, makes no difference."""
    changes: dict[str, Any] = {}
    for word in overrides:
        key, equals, value = word.partition("=")
        if not equals:
            raise EruvError(f"{shown(word)} is not of the form key=value, such as optim.epochs=3")
        changes |= _named(dict(_flatten({key: _parse(value)})))
    return _build(_changed(_changed(flat, changes), known))


def _changed(flat: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Values by dotted key after some have been changed. A change to another pretext drops the options of the old one.
    """
    flat, changes = _named(flat), _named(changes)
    if changes.get("pretext.name", name := flat.get("pretext.name", Eruv.name)) != name:
        flat = {key: value for key, value in flat.items() if not ALIASES.get(key, key).startswith("pretext.")}
    return {**flat, **changes}


def _named(flat: dict[str, Any]) -> dict[str, Any]:
    """The same values, where `pretext: vcop` is short for `pretext: {name: vcop}`."""
    return {"pretext.name" if key == "pretext" else key: value for key, value in flat.items()}


def dump_config(config: Config) -> str:
    """The whole configuration as YAML, with every key."""
    tree = dataclasses.asdict(config)
    for alias, key in ALIASES.items():
        section, _, name = key.partition(".")
        if name in tree[section]:
            tree[alias] = tree[section].pop(name)
    return yaml.safe_dump(tree, sort_keys=False)


def flatten(config: Config) -> dict[str, Any]:
    """Every dotted key and its value."""
    return dict(_flatten(yaml.safe_load(dump_config(config))))


def defaults(pretext: str) -> dict[str, Any]:
    """The default of every dotted key, with the options of this pretext. Not checked: together they may be no valid
    configuration, as the pieces of jigsaw do not fit into frames with the crop of the others."""
    sections = {field.name: field.default_factory() for field in dataclasses.fields(Config)
                if field.default_factory is not dataclasses.MISSING}
    sections["pretext"] = find_pretext(pretext).Options()
    whole = {field.name: field.default for field in dataclasses.fields(Config)
             if field.default is not dataclasses.MISSING}
    for name, section in sections.items():
        whole |= {f"{name}.{key}": value for key, value in dataclasses.asdict(section).items()}
    return {key: whole[ALIASES.get(key, key)] for key in _fields(type(sections["pretext"]))}


def _parse(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except NO_YAML:
        return text
    if isinstance(value, str) and "," in value:
        return [_parse(part) for part in value.split(",")]  # relations=CS,CV is short for relations=[CS,CV]
    return value


def _flatten(tree: dict, prefix: str = "") -> typing.Iterator[tuple[str, Any]]:
    """Values by dotted key. There is nothing within sections, whatever a file says: it may refer to itself."""
    for key, value in tree.items():
        if isinstance(value, dict) and not prefix:
            yield from _flatten(value, f"{key}.")
        else:
            yield f"{prefix}{key}", value


def _build(flat: dict[str, Any]) -> Config:
    pretext = find_pretext(flat.get("pretext.name", Eruv.name))
    fields = _fields(pretext.Options)
    sections: dict[str, dict] = {}
    top: dict[str, Any] = {}
    for key, value in flat.items():
        if key not in fields:
            names = {known.split(".")[-1]: known for known in fields}
            near = difflib.get_close_matches(key[:100], fields, 1, 0.55) or [
                names[name] for name in difflib.get_close_matches(key.split(".")[-1][:100], names, 1)]
            of = f" with pretext {pretext.name}" if key.partition(".")[0] in ("pretext", *ALIASES) else ""
            raise EruvError(f"unknown configuration key {shown(key)}{of}" + (f"; did you mean {near[0]!r}?" if near else
                            f"; known are {', '.join(fields)}"))
        section, _, name = ALIASES.get(key, key).rpartition(".")
        target = sections.setdefault(section, {}) if section else top
        target[name] = _checked(key, value, fields[key])
    kinds = {**typing.get_type_hints(Config), "pretext": pretext.Options}
    sections.setdefault("pretext", {})["name"] = pretext.name
    return Config(**top, **{section: kinds[section](**values) for section, values in sections.items()})


def _fields(pretext: type[PretextOptions]) -> dict[str, Any]:
    """Every dotted key and its type, including the options of this pretext."""
    found = {}
    for name, kind in {**typing.get_type_hints(Config), "pretext": pretext}.items():
        if dataclasses.is_dataclass(kind):
            found.update({f"{name}.{inner}": of for inner, of in typing.get_type_hints(kind).items()})
        else:
            found[name] = kind
    return {next((alias for alias, of in ALIASES.items() if of == key), key): kind for key, kind in found.items()}


def _checked(key: str, value: Any, kind: Any) -> Any:
    """`value` as `kind`, or an error that says what was expected."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    for option in options:
        if option is type(None) and value is None:
            return None
        if option is float and type(value) in (int, float, str):  # YAML 1.1 reads 1e-3 as a string
            try:
                return float(value)
            except (ValueError, OverflowError):
                continue
        if option in (int, str, bool) and type(value) is option:
            return value
        if typing.get_origin(option) is list:
            (of,) = typing.get_args(option)
            values = value if isinstance(value, list) else [value]
            if value is not None and not isinstance(value, dict):
                return [_checked(key, each, of) for each in values]
    names = " or ".join("empty" if option is type(None) else getattr(option, "__name__", str(option)) if
                        typing.get_origin(option) is None else str(option) for option in options)
    raise EruvError(f"{key} = {shown(value)} is of the wrong type; expected {names}")
