"""VCOP's whole network from a checkpoint of its public code."""

from math import comb, factorial
from pathlib import Path

import torch

from eruv_dali.errors import EruvError
from eruv_dali.models.backbone_file import backbone_of_lineage
from eruv_dali.models.heads import HeadOptions, PairwiseHead
from eruv_dali.models.lineage import find_lineage_weights, vcop_head_state
from eruv_dali.models.pretext_net import PretextNet
from eruv_dali.models.weights_file import read_weights


def load_vcop(path: str | Path) -> PretextNet:
    """The network that VCOP's public code (VCOPN) saved to `path`, backbone and head, on the CPU and in training mode.

    The number of clips K is told from the head. Samples (B, K, 3, T, H, W) float, 0 to 1 → logits (B, K!) of the order
    in which the clips are shown, numbered as in the pretext `vcop`.

    Raises:
        EruvError: the file is missing or damaged, or does not hold exactly this network.
    """
    record = read_weights(Path(path))
    try:
        weights = find_lineage_weights(record)
        if weights is None or not {"fc7.weight", "fc8.weight"} <= weights.tensors.keys():
            raise EruvError("holds no VCOPN: a backbone of VCOP's, fc7 and fc8")
        backbone = backbone_of_lineage(weights)
        hidden = torch.atleast_2d(weights.tensors["fc7.weight"]).shape[0]
        inputs = torch.atleast_2d(weights.tensors["fc8.weight"]).shape[1]
        clips = next((k for k in range(2, 6) if comb(k, 2) * hidden == inputs), None)
        if clips is None:
            raise EruvError(f"fc8 has {inputs} inputs, not the {hidden} of fc7 for each pair of 2 to 5 clips")
        head = PairwiseHead(clips, backbone.feature_dim, factorial(clips), HeadOptions(hidden=hidden))
        head.load_state_dict(vcop_head_state(weights, head.state_dict()))
    except EruvError as error:
        raise EruvError(f"{path}: {error}") from error
    return PretextNet(backbone, head, clips=clips)
