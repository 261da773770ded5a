"""Configuration: what a YAML file and `key=value` words on the command line may say, and what holds when they do not.

Every key is a field below. Values that the paper does not state come from the nearest code of its authors or are
marked as ours.
"""

import dataclasses
import difflib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from eruv_dali.errors import EruvError
from eruv_dali.pack import PACK_KINDS
from eruv_dali.prepare import FRAME_SIZE
from eruv_dali.relations import RELATIONS
from eruv_dali.segments import MIN_LENGTH, SEGMENT_LENGTH
from eruv_dali.shots import RULES


@dataclass
class DataConfig:
    """Which videos, how they are prepared, and what a batch of them looks like."""

    dataset: str | None = None  # a prepared DATASET
    videos: list[str] = field(default_factory=list)  # or files and folders, prepared on the first run
    batch_size: int = 8  # pairs; unstated in the paper, from the lineage's code
    clip_length: int = 16
    crop: int = 112
    frame_size: list[int] = field(default_factory=lambda: list(FRAME_SIZE))  # height, width that frames are resized to
    trimmed: bool = False  # each video is one action: CV and CD drop out, CS means the same video
    pack: str = "jpeg"  # none, jpeg, raw
    rule: str = "robust"  # how shots are found
    threshold: float | None = None
    segment_length: int = SEGMENT_LENGTH
    min_length: int = MIN_LENGTH
    val_fraction: float = 0.1  # share of the videos held out; unstated in the paper
    pairs_per_epoch: int | None = None  # by default one for each segment
    val_pairs: int | None = None  # by default one for each held-out segment, at least 30 for each relation
    mean: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    std: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0])
    threads: int | None = None  # by default one a core


@dataclass
class ModelConfig:
    """The network."""

    backbone: str = "c3d"  # c3d, r3d, r2plus1d
    width: int = 64  # channels after the first convolution; all others scale with it
    head: str = "mlp"  # mlp, or the paper's literal linear
    hidden: int = 512  # of the mlp head
    dropout: float = 0.5  # of the mlp head


@dataclass
class OptimConfig:
    """How it is trained. SGD, 0.01, 0.9 and 300 epochs are the paper's; the rest comes from the lineage's code."""

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


@dataclass
class Config:
    """Everything that decides a pre-training run."""

    data: DataConfig = field(default_factory=DataConfig)
    relations: list[str] = field(default_factory=lambda: list(RELATIONS))
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {
            "data.pack": PACK_KINDS, "data.rule": RULES, "device": ("auto", "gpu", "cpu"),
            "model.backbone": ("c3d", "r3d", "r2plus1d"), "model.head": ("mlp", "linear"),
            "optim.name": ("sgd", "adamw"), "optim.schedule": ("plateau", "cosine", "constant"),
            "optim.precision": ("auto", "float32", "bfloat16", "float16"), "optim.compile": ("auto", "on", "off"),
            "optim.lr_rule": ("linear", "sqrt", "none"),
        }
        for key, allowed in choices.items():
            if self[key] not in allowed:
                raise EruvError(f"{key} = {self[key]!r} is not one of {', '.join(allowed)}")
        positive = ("data.batch_size data.clip_length data.crop data.segment_length data.min_length data.threads "
                    "data.pairs_per_epoch data.val_pairs model.width model.hidden optim.epochs optim.max_steps "
                    "optim.lr optim.patience checkpoint.keep log.every_steps")
        for key in positive.split():
            if self[key] is not None and self[key] <= 0:
                raise EruvError(f"{key} = {self[key]} must be greater than 0")
        for key, count in (("data.frame_size", 2), ("data.mean", 3), ("data.std", 3)):
            if len(self[key]) != count:
                raise EruvError(f"{key} = {self[key]} must be a list of {count} numbers")

    def __getitem__(self, key: str) -> Any:
        """The value of a dotted key."""
        value = self
        for part in key.split("."):
            value = getattr(value, part)
        return value


def load_config(file: str | Path | None = None, overrides: typing.Sequence[str] = (), **known: Any) -> Config:
    """Build a Config from a YAML file, then dotted `key=value` words, then values `known` by dotted key.

    Raises:
        EruvError: the file cannot be read, a key is unknown (the nearest valid one is named), or a value is of the
            wrong type or out of range.
    """
    tree: dict[str, Any] = {}
    if file is not None:
        try:
            tree = yaml.safe_load(Path(file).read_text()) or {}
        except OSError as error:
            raise EruvError(f"{file}: cannot be read ({error.strerror})") from None
        except yaml.YAMLError as error:
            raise EruvError(f"{file}: not valid YAML ({' '.join(str(error).split())})") from None
        if not isinstance(tree, dict):
            raise EruvError(f"{file}: a configuration is keys and values, this is {tree!r}")
    flat = dict(_flatten(tree))
    for word in overrides:
        key, equals, value = word.partition("=")
        if not equals:
            raise EruvError(f"{word!r} is not of the form key=value, such as optim.epochs=3")
        flat[key] = _parse(value)
    flat.update(known)
    return _build(flat)


def dump_config(config: Config) -> str:
    """The whole configuration as YAML, every key spelt out."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False)


def flatten(config: Config) -> dict[str, Any]:
    """Every dotted key and its value."""
    return dict(_flatten(dataclasses.asdict(config)))


def _parse(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str) and "," in value:
        return [yaml.safe_load(part) for part in value.split(",")]  # relations=CS,CV for relations=[CS,CV]
    return value


def _flatten(tree: dict, prefix: str = "") -> typing.Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _build(flat: dict[str, Any]) -> Config:
    fields = _fields()
    sections: dict[str, dict] = {}
    top: dict[str, Any] = {}
    for key, value in flat.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1, 0.4) or [
                known for known in fields if known.split(".")[-1] == key.split(".")[-1]]
            raise EruvError(f"unknown configuration key {key!r}" + (f"; did you mean {near[0]!r}?" if near else
                            f"; known are {', '.join(fields)}"))
        section, _, name = key.rpartition(".")
        target = sections.setdefault(section, {}) if section else top
        target[name] = _checked(key, value, fields[key])
    kinds = typing.get_type_hints(Config)
    return Config(**top, **{section: kinds[section](**values) for section, values in sections.items()})


def _fields() -> dict[str, Any]:
    """Every dotted key and its type."""
    found = {}
    for name, kind in typing.get_type_hints(Config).items():
        if dataclasses.is_dataclass(kind):
            found.update({f"{name}.{inner}": of for inner, of in typing.get_type_hints(kind).items()})
        else:
            found[name] = kind
    return found


def _checked(key: str, value: Any, kind: Any) -> Any:
    """`value` as `kind`, or an error that says what was expected."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    for option in options:
        if option is type(None) and value is None:
            return None
        if option is float and type(value) in (int, float, str):  # YAML 1.1 takes 1e-3 for a word
            try:
                return float(value)
            except ValueError:
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
    raise EruvError(f"{key} = {value!r} is of the wrong type; expected {names}")
