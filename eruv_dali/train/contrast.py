"""InfoNCE: two clips of one shot are to be nearer to each other than to clips of other videos.

van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, section 2.3, in the form
of Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (SimCLR), ICML 2020, equation 1:
cosine similarities over a temperature, each clip of a pair once the anchor. Here without a projection head, on the
backbone's features themselves; and only clips of other videos are negatives, so that neither other shots of the same
video nor a transformed copy are pushed away.
"""

import torch
from torch.nn import functional as F


def info_nce(
    f_B2D: torch.Tensor, positive_B: torch.Tensor, video_B2: torch.Tensor, temperature: float
) -> torch.Tensor:
    """The mean over all clips of positive pairs: -log of the share that the partner has among the partner and all clips
    of other videos; scalar float32. 0 if no pair of the batch is positive.

    Args:
        f_B2D: features of B pairs of clips.
        positive_B: bool, whether the clips of a pair are to be alike; all clips are negatives of those that are.
        video_B2: a number for the video of each clip.
        temperature: by which similarities are divided, more than 0.
    """
    unit_B2D = F.normalize(f_B2D.float(), dim=2)
    partner_B = (unit_B2D[:, 0] * unit_B2D[:, 1]).sum(1) / temperature
    # The two clips of a pair stand side by side among the N = 2B.
    unit_ND, partner_N = unit_B2D.flatten(0, 1), partner_B.repeat_interleave(2)
    video_N, anchor_N = video_B2.flatten(), positive_B.repeat_interleave(2)
    others_NN = (unit_ND @ unit_ND.T / temperature).masked_fill(video_N[:, None] == video_N[None], -torch.inf)
    loss_N = torch.cat([partner_N[:, None], others_NN], 1).logsumexp(1) - partner_N
    return torch.where(anchor_N, loss_N, 0).sum() / anchor_N.sum().clamp(min=1)
