"""eruv_dali: self-supervised video learning on untrimmed videos (ERUV), fed by DALI.

    from eruv_dali import ClipLoader, RelationLoader, RelationNet, build_backbone
"""

import importlib

_HOMES = {
    "RELATIONS": "eruv_dali.pretext.eruv",
    "ClipLoader": "eruv_dali.loader",
    "PretextLoader": "eruv_dali.pretext.loader",
    "RelationLoader": "eruv_dali.pretext.relation_loader",
    "PretextNet": "eruv_dali.models",
    "RelationNet": "eruv_dali.models",
    "build_backbone": "eruv_dali.models",
    "load_backbone": "eruv_dali.models",
    "save_backbone": "eruv_dali.models",
    "Dataset": "eruv_dali.dataset",
    "EruvError": "eruv_dali.errors",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    """Import public names on first use: DALI and PyTorch take seconds, and not every use needs both."""
    if name not in _HOMES:
        raise AttributeError(f"module 'eruv_dali' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
