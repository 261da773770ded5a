"""The network that is pre-trained: one backbone sees both clips of a pair, a head names their relation.

Paper: ERUV, section on relation prediction (features of the two clips concatenated, then "a fully-connected layer").
One linear layer over [f_i; f_j] is a sum of one term for each clip and cannot compare the two, so "same shot" and
"same video" stay out of its reach. The default head is therefore the lineage's two-layer one; `head="linear"` is the
paper's text to the letter.

    clips (B, 2, 3, T, H, W) ─► (2B, 3, T, H, W) ─backbone─► (2B, D) ─► [f_i; f_j] (B, 2D) ─head─► logits (B, R)
"""

import torch
from torch import nn

from eruv_dali.errors import EruvError

HEADS = ("mlp", "linear")


class RelationNet(nn.Module):
    """Pairs of clips (B, 2, 3, T, H, W) float → relation logits (B, num_relations) float.

    backbone: clips (N, 3, T, H, W) → features (N, `backbone.feature_dim`); both clips share it, in one forward pass,
              so BatchNorm sees them together.
    head:     "mlp" is Linear(2D, hidden) → ReLU → Dropout(dropout) → Linear(hidden, R), "linear" is Linear(2D, R),
              for which `hidden` and `dropout` mean nothing.
    Raises `EruvError` for another head, and for clips that are not pairs.
    """

    def __init__(
        self, backbone: nn.Module, num_relations: int, *, head: str = "mlp", hidden: int = 512, dropout: float = 0.5
    ):
        super().__init__()
        if head not in HEADS:
            raise EruvError(f"unknown head {head!r}: choose one of {', '.join(HEADS)}")
        self.backbone = backbone
        pair_dim = 2 * backbone.feature_dim
        if head == "linear":
            self.head = nn.Linear(pair_dim, num_relations)
        else:
            self.head = nn.Sequential(
                nn.Linear(pair_dim, hidden),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
                nn.Linear(hidden, num_relations),
            )

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        if clips.ndim != 6 or clips.shape[1] != 2:
            raise EruvError(f"clips of shape {tuple(clips.shape)} are not pairs: expected (B, 2, 3, T, H, W)")
        # The loader lays all first clips before all second ones, so this is a view, dense and channels_last_3d.
        x_NCTHW = clips.transpose(0, 1).flatten(0, 1)
        f_i, f_j = self.backbone(x_NCTHW).chunk(2)
        return self.head(torch.cat([f_i, f_j], dim=1))
