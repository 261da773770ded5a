"""backbone.pt: a backbone's weights alone, for fine-tuning, retrieval, plots and other programs.

The file is one `torch.save` dict of plain values and tensors on the CPU, so `torch.load(path, weights_only=True)`
reads it without this package:

    format       "eruv_dali.backbone"
    version      1
    backbone     "c3d" | "r3d" | "r2plus1d" | "caffenet"
    width        of the network (64 in the paper)
    input        "difference"; absent where it is "rgb" (`Backbone.input`)
    state_dict   parameter and buffer names → tensors, as in `build_backbone(backbone, width=width)`
"""

from difflib import get_close_matches
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from eruv_dali.checks import whole_number
from eruv_dali.choices import BACKBONES, INPUTS
from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside
from eruv_dali.models.backbone import Backbone
from eruv_dali.models.c3d import C3D
from eruv_dali.models.caffenet import CaffeNet
from eruv_dali.models.lineage import LineageWeights, backbone_state, find_lineage_weights
from eruv_dali.models.resnet3d import R3D, R2Plus1D
from eruv_dali.models.weights_file import WANTED, read_weights

FORMAT, VERSION = "eruv_dali.backbone", 1
WIDEST = 1024  # width of a backbone; the paper's have 64, and a c3d of this one has 7 billion parameters

_CLASSES: dict[str, type[C3D] | type[R3D] | type[R2Plus1D] | type[CaffeNet]] = {
    "c3d": C3D, "r3d": R3D, "r2plus1d": R2Plus1D, "caffenet": CaffeNet}


def build_backbone(name: str, *, width: int = 64, input: str = "rgb") -> Backbone:
    """A CNN with PyTorch's default random weights: `forward` takes clips (B, 3, T, H, W) float to features (B, D).

    name: one of `BACKBONES`: three 3D networks, and `caffenet`, a 2D one that averages over the frames. width: 64 for
    the paper's networks; channels of the first convolution, of which all others are multiples (in `caffenet`, the first
    has 1.5 times as many). input: "rgb", or "difference": the network takes the same clips, but what it sees of them is
    each frame's difference from the one before (`frame_differences`); not for `caffenet`, which sees single frames.

    The network has `.name`, `.width`, `.input`, `.feature_dim` (D = 8·width; `caffenet`: 16·width) and
    `feature_maps(clips)` → (B, D, T', H', W') (`caffenet`: (B, 4·width, T, H', W')).
    Raises `EruvError` for an unknown name or input, a width that is not from 1 to `WIDEST`, and `caffenet` with
    "difference".
    """
    if name not in BACKBONES:
        near = get_close_matches(str(name).lower(), BACKBONES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise EruvError(f"unknown backbone {name!r}: choose one of {', '.join(BACKBONES)}{hint}")
    whole_number("backbone width", width, least=1, most=WIDEST)
    if input not in INPUTS:
        raise EruvError(f"backbone input {input!r} is not one of {', '.join(INPUTS)}")
    if input == "difference" and _CLASSES[name].averages_frames:
        raise EruvError(f"{name} sees single frames, which have no differences; choose a 3D backbone, or input rgb")
    backbone = _CLASSES[name](width=width)
    backbone.input = input
    return backbone


def check_clip(backbone: str, frames: int, height: int, width: int) -> None:
    """Check that the backbone of this name, one of `BACKBONES`, can take clips of this size.

    Raises:
        EruvError: they are too small.
    """
    _CLASSES[backbone].check_clip(frames, height, width)


def save_backbone(backbone: Backbone, path: str | Path) -> None:
    """Write `backbone` (from `build_backbone`) to `path`. A reader sees the old file or the whole new one."""
    if not isinstance(backbone, Backbone):
        raise EruvError(f"{type(backbone).__name__} is no backbone; give one that build_backbone or load_backbone made")
    path = Path(path)
    record = {
        "format": FORMAT,
        "version": VERSION,
        "backbone": backbone.name,
        "width": backbone.width,
        **({} if backbone.input == "rgb" else {"input": backbone.input}),
        "state_dict": {key: value.detach().cpu() for key, value in backbone.state_dict().items()},
    }
    # Through memory: torch's own writer aborts the process, or hides the cause, when a disk is full.
    content = BytesIO()
    torch.save(record, content)
    write_aside(path, lambda file: file.write(content.getbuffer()))


def load_backbone(path: str | Path) -> Backbone:
    """The backbone that `save_backbone` wrote to `path`, on the CPU and in training mode.

    Also reads what the public code of VCOP and PRP saves (see `lineage.py`): the state dict of a whole network or of a
    backbone, with or without a head, alone or within a dict. Which backbone it is, and its width, are told from it.

    Raises `EruvError` if the file is missing, damaged, not a backbone file, or does not fit the network it names.
    """
    path = Path(path)
    record = read_weights(path)
    try:
        if isinstance(record, dict) and record.get("format") == FORMAT:
            return _backbone_of_record(record)
        weights = find_lineage_weights(record)
        if weights is None:
            raise EruvError(f"is not a backbone file: {WANTED}")
        return backbone_of_lineage(weights)
    except EruvError as error:
        raise EruvError(f"{path}: {error}") from error


def backbone_of_lineage(weights: LineageWeights) -> Backbone:
    """The backbone with weights of VCOP's or PRP's public code.

    Raises `EruvError` unless every tensor of the backbone is there and every other tensor belongs to a known head.
    """
    state = backbone_state(weights, _shapes(weights.backbone, weights.width))
    return _filled(weights.backbone, weights.width, state)


def _backbone_of_record(record: dict[str, Any]) -> Backbone:
    """The backbone in the dict that `save_backbone` wrote."""
    if record.get("version") != VERSION:
        raise EruvError(
            f"has backbone format version {record.get('version')!r}, but this program reads {VERSION}: "
            "use the eruv_dali that wrote it"
        )
    told: dict[str, Any] = {"backbone": None, "width": None, "input": "rgb", "state_dict": None, **record}
    name, width, state = told["backbone"], told["width"], told["state_dict"]
    _check_fit(name, width, state)
    return _filled(name, width, state, told["input"])


def _shapes(name: Any, width: Any) -> dict[str, torch.Tensor]:
    """A backbone's state dict without memory: the file may name a width for which there is none."""
    with torch.device("meta"):
        return build_backbone(name, width=width).state_dict()


def _filled(name: str, width: int, state: dict[str, torch.Tensor], input: str = "rgb") -> Backbone:
    backbone = build_backbone(name, width=width, input=input)
    backbone.load_state_dict(state)
    return backbone


def _check_fit(name: str, width: int, state: object) -> None:
    """Raise `EruvError` naming the first tensor that is missing, unknown or has another shape."""
    expected = _shapes(name, width)
    what = f"does not hold a {name} of width {width}"
    if not isinstance(state, dict):
        raise EruvError(f"{what}: its state_dict is a {type(state).__name__}; write the file again with save_backbone")
    for key, value in expected.items():
        if key not in state:
            raise EruvError(f"{what}: {key} is missing; write the file again with save_backbone")
        if not isinstance(state[key], torch.Tensor) or state[key].shape != value.shape:
            found = tuple(getattr(state[key], "shape", ()))
            raise EruvError(f"{what}: {key} has shape {found}, not {tuple(value.shape)}; write the file again")
    for key in state:
        if key not in expected:
            raise EruvError(f"{what}: {key} is not one of its tensors; write the file again with save_backbone")
