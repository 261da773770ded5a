"""The network that is pre-trained: one backbone for the K clips of a sample, then a head.

    clips (B, K, 3, T, H, W) ─► (K·B, 3, T, H, W) ─backbone─► (K·B, D) ─► (B, K, D) ─head─► output (B, R)
"""

import torch
from torch import nn

from eruv_dali.checks import shown, whole_number
from eruv_dali.errors import EruvError
from eruv_dali.models.backbone import Backbone
from eruv_dali.models.heads import HeadOptions, concatenated


def _check_backbone(backbone: object) -> None:
    """Make sure that this is a network which says how many features it gives.

    Raises:
        EruvError: it is not.
    """
    if not isinstance(backbone, nn.Module) or not hasattr(backbone, "feature_dim"):
        raise EruvError(f"backbone {shown(backbone)} is no network with a feature_dim; make one with build_backbone")


class PretextNet(nn.Module):
    """Samples of K clips (B, K, 3, T, H, W) float → the head's output.

    Args:
        backbone: clips (N, 3, T, H, W) → features (N, `backbone.feature_dim`); all clips share it, in one forward pass,
            so BatchNorm sees them together.
        head: features (B, K, D) → output.
        clips: K.

    Attributes:
        seen: how many of the K clips the backbone sees.
        features_too: in training, return (output, features (B, seen, D)) instead of the output alone.

    Raises, from forward:
        EruvError: clips of another shape.
    """

    def __init__(self, backbone: Backbone, head: nn.Module, *, clips: int) -> None:
        super().__init__()
        _check_backbone(backbone)
        self.backbone, self.head, self.clips = backbone, head, clips
        self.seen, self.features_too = clips, False

    def forward(self, clips: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        if clips.ndim != 6 or clips.shape[1] != self.clips:
            raise EruvError(f"clips of shape {tuple(clips.shape)} are not samples of {self.clips}: expected "
                            f"(B, {self.clips}, 3, T, H, W)")
        # The loader stores all first clips before all second ones, so this is a view, dense and channels_last_3d.
        x_NCTHW = clips.transpose(0, 1).flatten(0, 1)
        f_BKD = self.backbone(x_NCTHW).unflatten(0, (self.clips, -1)).transpose(0, 1)
        return self._answer(self.head(f_BKD), f_BKD)

    def _answer(self, output: torch.Tensor, f_BKD: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """What `forward` returns."""
        return (output, f_BKD) if self.training and self.features_too else output


class RelationNet(PretextNet):
    """ERUV's network: pairs of clips (B, 2, 3, T, H, W) float → relation logits (B, num_relations) float.

    The paper concatenates the two features before "a fully-connected layer". One linear layer over [f_i; f_j] is a sum
    of one term for each clip and cannot compare the two, so "same shot" and "same video" cannot be learnt. The
    default head is therefore the two-layer one of VCOP's public code, which ERUV's authors build on; `head="linear"`
    is the paper's text taken literally.

    Args:
        backbone: see `PretextNet`.
        num_relations: R.
        head: "mlp" is Linear(2D, hidden) → ReLU → Dropout(dropout) → Linear(hidden, R), "linear" is Linear(2D, R), for
            which `hidden` and `dropout` are ignored, "compare" is the mlp on |f_i - f_j| and f_i · f_j.

    Raises:
        EruvError: an unknown head; clips that are not pairs.
    """

    def __init__(
        self, backbone: Backbone, num_relations: int, *, head: str = "mlp", hidden: int = 512, dropout: float = 0.5
    ):
        _check_backbone(backbone)
        whole_number("num_relations", num_relations, least=1)
        answer = concatenated(2, backbone.feature_dim, num_relations, HeadOptions(head, hidden, dropout))
        super().__init__(backbone, answer, clips=2)
