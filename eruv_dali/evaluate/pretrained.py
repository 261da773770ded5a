"""The network that evaluation starts from: pre-trained, from any kind of checkpoint, or random."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from eruv_dali.checks import whole_number
from eruv_dali.errors import EruvError
from eruv_dali.models import Backbone, build_backbone, load_backbone
from eruv_dali.models.backbone_file import FORMAT
from eruv_dali.models.torch_file import NotLoadable, load_torch_file
from eruv_dali.train.checkpoint import load_checkpoint, parts_of
from eruv_dali.train.config import DataConfig, load_config

NONE = "none"  # instead of a checkpoint: random weights


class Pretrained(NamedTuple):
    """A backbone, and the format of the clips that it was trained on.

    Attributes:
        backbone: from `build_backbone`.
        init: "none", or the file of its weights.
        clip_length, crop, frame_size (height, width), mean, std: as in the RUN folder's config.yaml; without one, and
            for weights of VCOP and PRP, the paper's, which are those of VCOP and PRP too.
    """

    backbone: Backbone
    init: str
    clip_length: int
    crop: int
    frame_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def look(self) -> dict[str, Any]:
        """The format of its clips, as arguments of `EvenClips`, `ClipLoader` and `video_features`; for use with a
        DATASET, which has its own frame size."""
        return dict(clip_length=self.clip_length, crop=self.crop, mean=self.mean, std=self.std)


def load_pretrained(
    init: str | Path, *, backbone: str | None = None, width: int | None = None, input: str | None = None, seed: int = 0
) -> Pretrained:
    """Load a backbone from backbone.pt, best.pt or last.pt, from a RUN folder (its backbone.pt), or from what the
    public code of VCOP or PRP saved.

    Args:
        init: the file or folder; "none" for random weights.
        backbone, width, input: of the random network (default c3d, 64, rgb). A checkpoint must match them, if they are
            given.
        seed: of the random weights.

    Raises:
        EruvError: no such file, a damaged file, not a checkpoint, or another backbone, width or input than was
            requested.
    """
    whole_number("seed", seed, least=0, most=2**63 - 1)
    if str(init) == NONE:
        torch.manual_seed(seed)
        net = build_backbone(backbone or "c3d", width=64 if width is None else width, input=input or "rgb")
        return _described(net, NONE, DataConfig())
    file = Path(init)
    if file.is_dir():
        found = [file / name for name in ("backbone.pt", "best.pt", "last.pt") if (file / name).exists()]
        if not found:
            raise EruvError(f"{file}: no backbone.pt, best.pt or last.pt in this folder; init names a RUN of "
                            "pretrain, a checkpoint, or none")
        file = found[0]
    if not file.exists():
        raise EruvError(f"{file}: no such checkpoint; init names a RUN of pretrain, a checkpoint, or none")
    written_as = _format(file)
    net = load_backbone(file) if written_as in (FORMAT, None) else _from_checkpoint(file)
    for what, asked, has in (("backbone", backbone, net.name), ("width", width, net.width),
                             ("input", input, net.input)):
        if asked is not None and asked != has:
            seen = " on frame differences" if net.input == "difference" else ""
            raise EruvError(f"{file}: holds a {net.name} of width {net.width}{seen}, not {what} {asked}; leave out "
                            f"{what}, or choose another checkpoint")
    config = file.parent / "config.yaml"
    of_a_run = written_as is not None and config.exists()
    return _described(net, str(file), load_config(config).data if of_a_run else DataConfig())


def _described(backbone: Backbone, init: str, data: DataConfig) -> Pretrained:
    return Pretrained(backbone, init, data.clip_length, data.crop, data.height_and_width, tuple(data.mean),
                      tuple(data.std))


def _format(file: Path) -> object:
    """The format field of a backbone file or a checkpoint of ours; None for any other file, which `load_backbone` reads
    or refuses."""
    try:
        record = load_torch_file(file, meta=True)
    except (OSError, NotLoadable):
        return None
    return record.get("format") if isinstance(record, dict) else None


def _from_checkpoint(file: Path) -> Backbone:
    """The backbone within a checkpoint of pretrain."""
    state = load_checkpoint(file)
    with parts_of(file):
        run = state.get("fingerprint", {})
        model = state.get("model") or {key.removeprefix("model."): value for key, value in run.items()}
        weights = {key.removeprefix("backbone."): value for key, value in state.get("net", {}).items()
                   if key.startswith("backbone.")}
        if "backbone" not in model or not weights:
            if weights:
                raise EruvError(f"{file}: does not say what its backbone is, as no checkpoint of finetune does; give "
                                "the backbone.pt beside it, which finetune writes at its end")
            raise EruvError(f"{file}: no backbone in this checkpoint; give backbone.pt, best.pt or last.pt of a RUN of "
                            "pretrain")
        net = build_backbone(model["backbone"], width=model["width"], input=model.get("input", "rgb"))
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise EruvError(f"{file}: its weights do not fit a {model['backbone']} of width {model['width']} "
                        f"({str(error).splitlines()[1].strip()})") from None
    return net
