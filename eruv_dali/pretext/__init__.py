"""Pretexts: the self-supervised tasks on which a network learns without labels. One file each."""

from eruv_dali.checks import shown
from eruv_dali.errors import EruvError
from eruv_dali.pretext.buchler import Buchler
from eruv_dali.pretext.eruv import Eruv
from eruv_dali.pretext.flow import Flow
from eruv_dali.pretext.jigsaw import Jigsaw
from eruv_dali.pretext.mas import Mas
from eruv_dali.pretext.opn import Opn
from eruv_dali.pretext.pace import Pace
from eruv_dali.pretext.pretext import Pretext
from eruv_dali.pretext.prp import Prp
from eruv_dali.pretext.puzzle3d import Puzzle3D
from eruv_dali.pretext.rotnet3d import RotNet3D
from eruv_dali.pretext.vcop import Vcop
from eruv_dali.pretext.vcp import Vcp

PRETEXTS: dict[str, type[Pretext]] = {
    pretext.name: pretext
    for pretext in (Eruv, Vcop, Vcp, RotNet3D, Puzzle3D, Prp, Pace, Mas, Flow, Opn, Jigsaw, Buchler)
}


def find_pretext(name: str) -> type[Pretext]:
    """The pretext of this name.

    Raises:
        EruvError: there is no such pretext.
    """
    if not isinstance(name, str) or name not in PRETEXTS:  # a file may hold anything
        raise EruvError(f"pretext {shown(name)} is not one of {', '.join(PRETEXTS)}")
    return PRETEXTS[name]
