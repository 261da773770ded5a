"""The networks that a picture compares, each with a short name."""

from collections.abc import Sequence
from pathlib import Path

from eruv_dali.errors import EruvError
from eruv_dali.evaluate.pretrained import NONE, Pretrained, load_pretrained
from eruv_dali.models.backbone_file import check_clip


def load_networks(
    inits: Sequence[str], *, backbone: str | None = None, width: int | None = None, crop: int | None = None,
    frame_size: tuple[int, int] | None = None, seed: int = 0,
) -> list[tuple[str, Pretrained]]:
    """(name, network) of each of `inits`: RUN folders or checkpoints of pretrain, or "none" for random weights.

    Random weights are those of `seed`, in a network like the first checkpoint's, for clips of the same format, unless
    `backbone` and `width` are given. `crop` and `frame_size` (height, width) replace every network's own.

    Raises:
        EruvError: see `load_pretrained`; a crop that does not fit into the frames, or is too small for the network.
    """
    known = {init: load_pretrained(init) for init in dict.fromkeys(inits) if init != NONE}
    if NONE in inits:
        like = next(iter(known.values()), None)
        name = backbone or (like.backbone.name if like else None)
        random = load_pretrained(NONE, backbone=name, width=like.backbone.width if width is None and like else width,
                                 input=like.backbone.input if like else None, seed=seed)
        known[NONE] = like._replace(backbone=random.backbone, init=NONE) if like else random
    elif backbone or width is not None:
        raise EruvError("backbone and width are for init none; a checkpoint has its own")
    networks = []
    for init in dict.fromkeys(inits):
        net = known[init]
        net = net._replace(crop=net.crop if crop is None else crop, frame_size=frame_size or net.frame_size)
        if not 1 <= net.crop <= min(net.frame_size):
            raise EruvError(f"{init}: a crop of {net.crop} does not fit into frames of {net.frame_size[0]}x"
                            f"{net.frame_size[1]}; give crop and frame_size")
        check_clip(net.backbone.name, net.clip_length, net.crop, net.crop)
        networks.append((_short(init), net))
    names = [name for name, _ in networks]
    return [(init if names.count(name) > 1 else name, net)
            for init, (name, net) in zip(dict.fromkeys(inits), networks, strict=True)]


def _short(init: str) -> str:
    if init == NONE:
        return "random weights"
    path = Path(init).resolve()
    return path.parent.name if path.suffix == ".pt" else path.name
