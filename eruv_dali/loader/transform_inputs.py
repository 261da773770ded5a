"""DALI's inputs for the transforms that only some loaders need: mirrored clips, permuted quarters, changed colours.

A loader whose clips ask for none of them has none of these inputs: they would cost time for every clip.
"""

from collections.abc import Callable, Collection, Sequence
from math import isfinite
from typing import Any

import numpy as np
from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode

from eruv_dali.errors import EruvError
from eruv_dali.loader.requests import ClipRequest

TRANSFORMS = ("flip", "tiles", "color")  # the names are those of ClipRequest and of clip_transform
AS_THEY_ARE = (0, 1, 2, 3)
SAME_COLOR = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)

_VALUES: dict[str, Callable[[ClipRequest], Any]] = {
    "flip": lambda request: request.flip,
    "tiles": lambda request: AS_THEY_ARE if request.tiles is None else request.tiles,
    "color": lambda request: SAME_COLOR if request.color is None else request.color,
}


def transform_nodes(transforms: Collection[str]) -> dict[str, DataNode]:
    """The pipeline's inputs, by name: `flip` int32, `tiles` int32 (4,), `color` float32 (12,)."""
    return {name: fn.external_source(name=name, ndim=int(name != "flip"),
                                     dtype=types.FLOAT if name == "color" else types.INT32)
            for name in TRANSFORMS if name in transforms}


def transform_arrays(requests: Sequence[ClipRequest], transforms: Collection[str]) -> dict[str, np.ndarray]:
    """What these inputs are fed for some clips: one row a clip."""
    return {name: np.array([_VALUES[name](request) for request in requests],
                           np.float32 if name == "color" else np.int32)
            for name in TRANSFORMS if name in transforms}


def check_transforms(requests: Sequence[ClipRequest], transforms: Collection[str]) -> None:
    """Check what clips ask for, before they are read.

    Raises:
        EruvError: a transform that is not among `transforms`, or a value that is not as ClipRequest says.
    """
    for request in requests:
        if request.flip or request.tiles is not None or request.color is not None:
            _check(request, transforms)


def _check(request: ClipRequest, transforms: Collection[str]) -> None:
    asked = {"flip": request.flip, "tiles": request.tiles is not None, "color": request.color is not None}
    for name in TRANSFORMS:
        if asked[name] and name not in transforms:
            raise EruvError(f"a clip asks for {name}={getattr(request, name)}, which this loader was not made for; "
                            f"name {name!r} in the pretext's `transforms`")
    if request.tiles is not None and not (len(request.tiles) == 4 and set(request.tiles) <= set(AS_THEY_ARE)):
        raise EruvError(f"tiles {request.tiles} of a clip must be four of the quarters 0 to 3")
    if request.color is not None and not (len(request.color) == 12 and all(map(isfinite, request.color))):
        raise EruvError(f"color {request.color} of a clip must have 12 finite numbers, a 3x4 matrix row by row")
