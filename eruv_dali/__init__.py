"""eruv_dali: self-supervised video learning on untrimmed videos (ERUV), fed by DALI.

    from eruv_dali import ClipLoader, RelationLoader, RelationNet, build_backbone
"""

import importlib
import sys
from typing import TYPE_CHECKING

from eruv_dali.errors import one_line_while_importing

__version__ = "0.1.0"  # setup.cfg takes it from here

__all__ = [
    "RELATIONS",
    "ClipLoader",
    "Dataset",
    "EruvError",
    "PretextLoader",
    "PretextNet",
    "RelationLoader",
    "RelationNet",
    "build_backbone",
    "load_backbone",
    "load_vcop",
    "save_backbone",
]

if TYPE_CHECKING:  # for type checkers and editors, which do not run `__getattr__`; a test compares the two lists
    from eruv_dali.dataset import Dataset
    from eruv_dali.errors import EruvError
    from eruv_dali.loader import ClipLoader
    from eruv_dali.models import PretextNet, RelationNet, build_backbone, load_backbone, load_vcop, save_backbone
    from eruv_dali.pretext.eruv import RELATIONS
    from eruv_dali.pretext.loader import PretextLoader
    from eruv_dali.pretext.relation_loader import RelationLoader
else:
    _HOMES = {
        "RELATIONS": "eruv_dali.pretext.eruv",
        "ClipLoader": "eruv_dali.loader",
        "PretextLoader": "eruv_dali.pretext.loader",
        "RelationLoader": "eruv_dali.pretext.relation_loader",
        "PretextNet": "eruv_dali.models",
        "RelationNet": "eruv_dali.models",
        "build_backbone": "eruv_dali.models",
        "load_backbone": "eruv_dali.models",
        "load_vcop": "eruv_dali.models",
        "save_backbone": "eruv_dali.models",
        "Dataset": "eruv_dali.dataset",
        "EruvError": "eruv_dali.errors",
    }

    def __getattr__(name: str) -> object:
        """Import public names when first asked for: DALI and PyTorch take seconds, and not every use needs both."""
        if name not in _HOMES:
            raise AttributeError(f"module 'eruv_dali' has no attribute {name!r}")
        try:
            home = importlib.import_module(_HOMES[name])
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in ("nvidia", "cupy"):
                raise
            raise ImportError(f"{name} needs NVIDIA DALI and CuPy, which are not installed ({error.name} is missing); "
                              "pip install eruv_dali brings them; the networks (build_backbone, load_backbone) work "
                              "without", name=error.name) from None
        return getattr(home, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


# `python -m eruv_dali.PROGRAM`, before the program is found: what it imports takes seconds.
if sys.argv[:1] == ["-m"] and any(word.startswith("eruv_dali") for word in sys.orig_argv):
    one_line_while_importing()
