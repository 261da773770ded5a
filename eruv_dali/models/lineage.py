"""Weights of the public code that ERUV builds on: the names of their tensors, and which tensor here each one is.

Sources, of which only the names are used:

    VCOP   github.com/xudejing/video-clip-order-prediction, models/c3d.py, r3d.py, r21d.py, vcopn.py
    PRP    github.com/yuanyao366/PRP, models/c3d.py with net_part.py, r3d.py, r21d.py, sscn.py

Their training scripts save a bare state dict: VCOP's of the whole network (`base_network.` and the head) or of the
fine-tuned one (no prefix, and `linear`), PRP's of the same within DataParallel (`module.`). The networks are those of
`c3d.py` and `resnet3d.py` here, layer by layer.
"""

import re
from typing import NamedTuple

import torch

from eruv_dali.errors import EruvError

PREFIXES = re.compile(r"^((module|base_network)\.)+")  # of DataParallel; of the backbone within the whole network

# What comes after the backbone, by the first word of its tensors' names.
HEADS = frozenset((
    "linear",  # the classifier of fine-tuning
    "fc7", "fc8",  # VCOPN
    "lstm", "gru", "fc",  # VCOPN_RNN
    "conv6_cls", "conv6_rec", "up1", "up2", "up3", "up4_1", "outc",  # SSCN_OneClip, which has an fc8 too
))


def _c3d_modules(convolution: str, norm: str, first: str, second: str) -> dict[str, str]:
    """Modules here → there, for C3D. `first` and `second` mark the two convolutions of the stages 3 to 5."""
    places = {"conv1": "1", "conv2": "2"}
    for stage in "345":
        places |= {f"conv{stage}.0": stage + first, f"conv{stage}.1": stage + second}
    here_to_there: dict[str, str] = {}
    for here, there in places.items():
        here_to_there |= {f"{here}.0": convolution.format(there), f"{here}.1": norm.format(there)}
    return here_to_there


def _resnet_modules(convolution: dict[str, str]) -> dict[str, str]:
    """Modules here → there, for R3D and R(2+1)D. `convolution`: the parts of one convolution, here → there."""
    convolutions, norms = {"stem.0": "conv1"}, {"stem.1": "bn1"}
    for stage in range(1, 5):
        here, there = f"stage{stage}", f"conv{stage + 1}.block1"
        for number in "12":
            convolutions[f"{here}.conv{number}"] = f"{there}.conv{number}"
            norms[f"{here}.bn{number}"] = f"{there}.bn{number}"
        if stage > 1:
            convolutions[f"{here}.shortcut.0"] = f"{there}.downsampleconv"
            norms[f"{here}.shortcut.1"] = f"{there}.downsamplebn"
    parts = {here + part: f"{there}.{name}" for here, there in convolutions.items()
             for part, name in convolution.items()}
    return parts | norms


class _Kind(NamedTuple):
    """A backbone of the public code: its name here, whose it is, its modules here → there, and its first convolution
    and first BatchNorm there, by which it and its width are recognised."""

    backbone: str
    whose: str
    modules: dict[str, str]
    first: str
    first_norm: str


_KINDS = (
    _Kind("c3d", "VCOP", _c3d_modules("conv{}", "bn{}", "a", "b"), "conv1", "bn1"),
    _Kind("c3d", "PRP", _c3d_modules("conv{}.conv3d.0", "conv{}.conv3d.1", "_1", "_2"), "conv1.conv3d.0",
          "conv1.conv3d.1"),
    _Kind("r3d", "VCOP and PRP", _resnet_modules({"": "temporal_spatial_conv"}), "conv1.temporal_spatial_conv", "bn1"),
    _Kind("r2plus1d", "VCOP and PRP", _resnet_modules({".0": "spatial_conv", ".1": "bn", ".3": "temporal_conv"}),
          "conv1.spatial_conv", "bn1"),
)


class LineageWeights(NamedTuple):
    """Weights of the public code, not yet checked.

    Attributes:
        backbone: "c3d", "r3d" or "r2plus1d"; `width`: channels of its first convolution.
        whose: "VCOP", "PRP" or both, whose naming is the same.
        modules: of the backbone, here → there.
        tensors: by their names there, without `module.` and `base_network.`.
    """

    backbone: str
    width: int
    whose: str
    modules: dict[str, str]
    tensors: dict[str, torch.Tensor]


def find_lineage_weights(record: object) -> LineageWeights | None:
    """The weights of a backbone of the public code in `record`, a state dict or a dict that holds one; None if there
    are none. `record` is what `torch.load` read from a file.

    Raises:
        EruvError: two networks in one dict, a name that occurs with and without its prefix, or no width.
    """
    if not isinstance(record, dict):
        return None
    named = {"": record, **{str(key): value for key, value in record.items() if isinstance(value, dict)}}
    found = [(key, kind, tensors) for key, tensors in ((key, _tensors(state)) for key, state in named.items())
             for kind in _KINDS if _is_first(tensors.get(kind.first + ".weight"))]
    if not found:
        return None
    if len(found) > 1:
        raise EruvError(f"holds several networks ({', '.join(key or 'itself' for key, _, _ in found)}); save the "
                        "state dict of one of them alone")
    (key, kind, tensors), = found
    if len(tensors) < len(named[key]):
        raise EruvError("a name occurs twice, with and without module. or base_network., or not all values are "
                        "tensors; save the state dict of one network")
    norm = tensors.get(kind.first_norm + ".weight")
    if norm is None:
        raise EruvError(f"looks like {kind.whose}'s {kind.backbone}, but {kind.first_norm}.weight is missing")
    return LineageWeights(kind.backbone, norm.numel(), kind.whose, kind.modules, tensors)


def _tensors(state: dict) -> dict[str, torch.Tensor]:
    return {PREFIXES.sub("", key): value for key, value in state.items()
            if isinstance(key, str) and isinstance(value, torch.Tensor)}


def _is_first(weight: torch.Tensor | None) -> bool:
    """Whether `weight` is of a 3D convolution of RGB."""
    return weight is not None and weight.ndim == 5 and weight.shape[1] == 3


def backbone_state(weights: LineageWeights, expected: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict of a backbone here.

    Args:
        weights: from `find_lineage_weights`.
        expected: the state dict of `build_backbone(weights.backbone, width=weights.width)`: names and shapes.

    Raises:
        EruvError: a tensor is missing or has another shape, or one is left over that belongs to no known head.
    """
    what = f"does not hold {weights.whose}'s {weights.backbone} of width {weights.width}"
    # PyTorch before 0.4.1 had no counters in BatchNorm; nothing here depends on their values.
    counted = any(key.endswith("num_batches_tracked") for key in weights.tensors)
    state, used = {}, set()
    for key, value in expected.items():
        module, leaf = key.rsplit(".", 1)
        if leaf == "num_batches_tracked" and not counted:
            state[key] = torch.zeros(value.shape, dtype=value.dtype)
            continue
        name = f"{weights.modules[module]}.{leaf}"
        state[key] = tensor(weights, name, value.shape, what)
        used.add(name)
    for name in weights.tensors:
        if name not in used and name.split(".")[0] not in HEADS:
            raise EruvError(f"{what}: {name} is neither one of its tensors nor of a known head")
    return state


def vcop_head_state(weights: LineageWeights, expected: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict of `PairwiseHead` from VCOP's fc7 and fc8.

    Args:
        weights: from `find_lineage_weights`.
        expected: the state dict of the head: names and shapes.

    Raises:
        EruvError: a tensor is missing or has another shape.
    """
    there = {"pair": "fc7", "answer": "fc8"}
    return {key: tensor(weights, key.replace(module, there[module]), value.shape, "does not hold VCOP's head")
            for key, value in expected.items() for module in (key.split(".")[0],)}


def tensor(weights: LineageWeights, name: str, shape: torch.Size, what: str) -> torch.Tensor:
    """The tensor of that name there, if it has that shape.

    Raises:
        EruvError: it does not, or there is none; the message begins with `what`.
    """
    if name not in weights.tensors:
        raise EruvError(f"{what}: {name} is missing")
    found = weights.tensors[name]
    if found.shape != shape:
        raise EruvError(f"{what}: {name} has shape {tuple(found.shape)}, not {tuple(shape)}")
    return found
