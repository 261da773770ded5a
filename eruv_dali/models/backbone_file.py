"""backbone.pt: a backbone's weights alone, for fine-tuning, retrieval, plots and other programs.

The file is one `torch.save` dict of plain values and tensors on the CPU, so `torch.load(path, weights_only=True)`
reads it without this package:

    format       "eruv_dali.backbone"
    version      1
    backbone     "c3d" | "r3d" | "r2plus1d"
    width        channels of the first convolution (64 in the paper)
    state_dict   parameter and buffer names → tensors, as in `build_backbone(backbone, width=width)`
"""

import pickle
import zipfile
from collections.abc import Callable
from difflib import get_close_matches
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from eruv_dali.errors import EruvError
from eruv_dali.files import write_aside
from eruv_dali.models.backbone import Backbone
from eruv_dali.models.c3d import C3D
from eruv_dali.models.resnet3d import R3D, R2Plus1D

BACKBONES = ("c3d", "r3d", "r2plus1d")
FORMAT, VERSION = "eruv_dali.backbone", 1
WANTED = "give the backbone.pt that pretraining writes in its run folder"

_CLASSES: dict[str, Callable[..., Backbone]] = {"c3d": C3D, "r3d": R3D, "r2plus1d": R2Plus1D}


def build_backbone(name: str, *, width: int = 64) -> Backbone:
    """A 3D CNN with PyTorch's default random weights: `forward` takes clips (B, 3, T, H, W) float to features (B, D).

    name: one of `BACKBONES`. width: channels of the first convolution; all others are multiples of it, and
    D = 8·width. The network has `.name`, `.width`, `.feature_dim` (D) and `feature_maps(clips)` → (B, D, T', H', W').
    Raises `EruvError` for an unknown name or a width below 1.
    """
    if name not in BACKBONES:
        near = get_close_matches(str(name).lower(), BACKBONES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise EruvError(f"unknown backbone {name!r}: choose one of {', '.join(BACKBONES)}{hint}")
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise EruvError(f"backbone width {width!r} is not a whole number of 1 or more: the paper's networks have 64")
    return _CLASSES[name](width=width)


def save_backbone(backbone: Backbone, path: str | Path) -> None:
    """Write `backbone` (from `build_backbone`) to `path`. A reader sees the old file or the whole new one."""
    path = Path(path)
    record = {
        "format": FORMAT,
        "version": VERSION,
        "backbone": backbone.name,
        "width": backbone.width,
        "state_dict": {key: value.detach().cpu() for key, value in backbone.state_dict().items()},
    }
    # Through memory: torch's own writer aborts the process, or hides the cause, when a disk is full.
    content = BytesIO()
    torch.save(record, content)
    write_aside(path, lambda file: file.write(content.getbuffer()))


def load_backbone(path: str | Path) -> Backbone:
    """The backbone that `save_backbone` wrote to `path`, on the CPU and in training mode.

    Raises `EruvError` if the file is missing, damaged, not a backbone file, or does not fit the network it names.
    """
    path = Path(path)
    record = _read(path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise EruvError(f"{path} is not a backbone file: {WANTED}")
    if record.get("version") != VERSION:
        raise EruvError(
            f"{path} has backbone format version {record.get('version')!r}, but this program reads {VERSION}: "
            "use the eruv_dali that wrote it"
        )
    try:
        told: dict[str, Any] = {"backbone": None, "width": None, **record}
        backbone = build_backbone(told["backbone"], width=told["width"])
    except EruvError as error:
        raise EruvError(f"{path}: {error}") from error
    _check_fit(path, backbone, record.get("state_dict"))
    backbone.load_state_dict(record["state_dict"])
    return backbone


def _read(path: Path) -> object:
    """What `torch.load` finds in the file; each of its many errors becomes one line."""
    if not path.is_file():
        raise EruvError(f"{path} does not exist or is not a file: {WANTED}")
    try:
        with path.open("rb") as file:
            begins_as_zip = file.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise EruvError(f"{path} cannot be read: {error.strerror}") from error
    if begins_as_zip and not zipfile.is_zipfile(path):
        raise EruvError(f"{path} is truncated or damaged ({path.stat().st_size} bytes): copy or write it again")
    if not begins_as_zip:
        raise EruvError(f"{path} is not a backbone file: {WANTED}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError) as error:
        raise EruvError(
            f"{path} is damaged or not a backbone file ({str(error).splitlines()[0]}): {WANTED}"
        ) from error


def _check_fit(path: Path, backbone: Backbone, state: object) -> None:
    """Raise `EruvError` naming the first tensor that is missing, unknown or has another shape."""
    what = f"{path} does not hold a {backbone.name} of width {backbone.width}"
    if not isinstance(state, dict):
        raise EruvError(f"{what}: its state_dict is a {type(state).__name__}; write the file again with save_backbone")
    expected = backbone.state_dict()
    for key, value in expected.items():
        if key not in state:
            raise EruvError(f"{what}: {key} is missing; write the file again with save_backbone")
        if not isinstance(state[key], torch.Tensor) or state[key].shape != value.shape:
            found = tuple(getattr(state[key], "shape", ()))
            raise EruvError(f"{what}: {key} has shape {found}, not {tuple(value.shape)}; write the file again")
    for key in state:
        if key not in expected:
            raise EruvError(f"{what}: {key} is not one of its tensors; write the file again with save_backbone")
