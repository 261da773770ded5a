"""For torch.hub: the backbones, with random weights or those of a run.

    backbone = torch.hub.load("path/to/eruv_dali", "c3d", source="local", weights="runs/first/backbone.pt")
    features = backbone(clips)                     # (B, 3, 16, 112, 112) float, 0 to 1 → (B, 512)
    maps = backbone.feature_maps(clips)            # → (B, 512, 2, 7, 7)

`weights` may also be what the public code of VCOP or PRP saved.
"""

from eruv_dali.errors import EruvError
from eruv_dali.models import build_backbone, load_backbone

dependencies = ["torch"]


def c3d(weights=None, *, width=64, input="rgb"):
    """C3D. weights: a backbone.pt, or None for random ones; width: channels of a random network's first convolution;
    input: "rgb" or "difference", what a random network sees of a clip."""
    return _backbone("c3d", weights, width, input)


def r3d(weights=None, *, width=64, input="rgb"):
    """R3D. weights, width, input: as in `c3d`."""
    return _backbone("r3d", weights, width, input)


def r2plus1d(weights=None, *, width=64, input="rgb"):
    """R(2+1)D. weights, width, input: as in `c3d`."""
    return _backbone("r2plus1d", weights, width, input)


def caffenet(weights=None, *, width=64):
    """CaffeNet, a 2D network that averages over the frames. weights: as in `c3d`; width: 64 for the full network."""
    return _backbone("caffenet", weights, width)


def _backbone(name, weights, width, input="rgb"):
    if weights is None:
        return build_backbone(name, width=width, input=input)
    backbone = load_backbone(weights)
    if backbone.name != name:
        raise EruvError(f"{weights}: holds a {backbone.name}, not a {name}; load it by that name")
    return backbone
