"""The groups of the race: forms that videos are kept in, and which of our packs reads each."""

from dataclasses import dataclass

from eruv_dali.dataset.pack import PACK_KINDS
from eruv_dali.errors import EruvError


@dataclass(frozen=True)
class Group:
    """One form: ours and the peers that read it are compared with each other, and with nobody else.

    Attributes:
        title: as the table says it; `pack`: the kind of pack that holds this form.
        times: clips in a run, in multiples of --clips.
        video: the form is video, where clips of one group of pictures may share a decode: so the order counts.
    """

    title: str
    pack: str
    times: int
    video: bool


GROUPS = {
    "originals": Group("original files", "none", 1, True),
    "copies": Group("small H.264 copies", "video", 8, True),
    "jpeg": Group("JPEG frames", "jpeg", 8, False),
    "raw": Group("raw frames", "raw", 16, False),
}


def group_of(pack: str) -> str:
    """The group that a pack of this kind races in."""
    for name, group in GROUPS.items():
        if group.pack == pack:
            return name
    raise EruvError(f"pack {pack!r} has no group in benchmarks/race/groups.py")


def packs_of(groups: list[str]) -> list[str]:
    """The kinds of pack that `prepare` can write for these groups."""
    return [kind for kind in PACK_KINDS if group_of(kind) in groups]


def our_name(pack: str) -> str:
    return "ours, direct" if pack == "none" else f"ours, {pack} pack"
