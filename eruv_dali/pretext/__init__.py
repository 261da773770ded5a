"""Pretexts: the self-supervised tasks on which a network learns without labels. One file each."""

from eruv_dali.errors import EruvError
from eruv_dali.pretext.eruv import Eruv
from eruv_dali.pretext.pretext import Pretext
from eruv_dali.pretext.vcop import Vcop

PRETEXTS: dict[str, type[Pretext]] = {pretext.name: pretext for pretext in (Eruv, Vcop)}


def find_pretext(name: str) -> type[Pretext]:
    """The pretext of this name.

    Raises:
        EruvError: there is no such pretext.
    """
    if name not in PRETEXTS:
        raise EruvError(f"pretext {name!r} is not one of {', '.join(PRETEXTS)}")
    return PRETEXTS[name]
