"""PRP's generative half: reconstruct the clip that was seen, at twice its rate.

Yao et al., CVPR 2020, section 3.3; what the paper leaves open is as in the public code (yuanyao366/PRP, sscn.py,
train_predict.py and patch_region.py). Of a clip of every s-th frame, T of them, 2T frames are reconstructed:

    seen       0       s       2s      3s    …        every s-th frame
    wanted     0  s/2  s  3s/2 2s …                   every s/2-th frame, over the same time
    s = 1      0       1       2       3     …        there are no frames between: the other outputs do not count

The squared error is weighted by a motion mask, from 0.8 where least moves to 2 where most does (`motion_mask`).
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from eruv_dali.errors import EruvError
from eruv_dali.models.backbone import Backbone
from eruv_dali.models.decoder import Decoder, conv_norm_relu
from eruv_dali.models.pretext_net import PretextNet

LEAST, MOST = 0.8, 2.0  # weights of the mask
LOOKS = 4  # frames of a chunk that are compared
PATCHES, STEPS = 4, 16  # a patch's side is a 4th of the picture's; patches begin at every 16th of it
TINY = 1e-6  # against a division by zero


class ReconstructingNet(PretextNet):
    """Samples (B, 2, 3, T, H, W) float → (B, 2R) float: R logits, and for each of the R dilations the reconstruction
    error that the sample has if that is its dilation. (The network does not know which it is; the loss does.)

    The first clip is the one that is seen. The second, which only the error is computed from, shows the frames halfway
    between its frames. Each half has its own 3×3×3 convolution after the backbone, as in the public code.

    Args:
        backbone: a 3D one; T is a multiple of 8, H and W of 16.
        head: features (B, 1, D) → logits (B, R).
        dilations: R, those that clips are sampled with: 1 or even.
        mean, std: of red, green and blue; clips are delivered as (x - mean) / std, x from 0 to 1, and x is wanted.

    Raises:
        EruvError: a 2D backbone; from forward: clips of another shape.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, backbone: Backbone, head: nn.Module, *, dilations: Sequence[int], mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__(backbone, head, clips=2)
        self.seen = 1
        if backbone.averages_frames:
            raise EruvError(f"{backbone.name} cannot reconstruct a clip: its maps are of single frames; choose a 3D "
                            "backbone, or pretext.reconstruct=false")
        channels = backbone.feature_dim
        self.dilations = tuple(dilations)
        self.recognise, self.reconstruct = conv_norm_relu(channels, channels), conv_norm_relu(channels, channels)
        self.decoder = Decoder(channels)
        for name, three in (("mean", mean), ("std", std)):  # not persistent: a setting, no weights
            self.register_buffer(name, torch.tensor(three).view(1, 1, 3, 1, 1, 1), persistent=False)

    def forward(self, clips: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        if clips.ndim != 6 or clips.shape[1] != 2:
            raise EruvError(f"clips of shape {tuple(clips.shape)} are not samples of a clip and the frames between: "
                            "expected (B, 2, 3, T, H, W)")
        maps = self.backbone.feature_maps(clips[:, 0])
        logits_BR = self.head(self.backbone.features(self.recognise(maps))[:, None])
        video_B3THW = self.decoder(self.reconstruct(maps)).float()
        wanted_B3THW = wanted(clips.float() * self.std + self.mean)
        squares_B3THW = (video_B3THW - wanted_B3THW).square()
        errors = [error(squares_B3THW, wanted_B3THW, dilation) for dilation in self.dilations]
        output = torch.cat([logits_BR.float(), torch.stack(errors, 1)], 1)
        return self._answer(output, self.backbone.features(maps)[:, None]) if self.features_too else output


def wanted(clips: torch.Tensor) -> torch.Tensor:
    """The video (B, 3, 2T, H, W) that is to be reconstructed: a clip and the frames between, (B, 2, 3, T, H, W), in
    turns."""
    return torch.stack([clips[:, 0], clips[:, 1]], 3).flatten(2, 3)


def error(squares_B3THW: torch.Tensor, wanted_B3THW: torch.Tensor, dilation: int) -> torch.Tensor:
    """(B,): the mean of each sample's squared errors, weighted by the motion mask, if its clip was sampled with this
    dilation."""
    if dilation == 1:
        squares_B3THW = squares_B3THW[:, :, ::2]
    chunks = squares_B3THW.unflatten(2, (dilation, -1)).mean(3)
    return (chunks * motion_mask(wanted_B3THW, dilation)).mean((1, 2, 3, 4))


@torch.no_grad()
def motion_mask(wanted_B3THW: torch.Tensor, dilation: int) -> torch.Tensor:
    """(B, 3, s, H, W): the weight of each pixel, for red, green and blue, in each of s chunks of the video, s being the
    dilation: a chunk spans as many source frames as the clip has.

    Four frames of a chunk, evenly spread, are compared, each with the next. The squared differences are averaged over
    the three pairs and over patches of a fourth of the picture's side, brought to 0.8 … 2.0 over the picture, and
    interpolated to its size. Where nothing moves at all, the weight is 1. (The public code takes the source frames 0,
    5, 10 and 15 of each chunk of 16. So does this with dilations of 1 and 2; with others, only wanted frames are
    loaded, and it takes those nearest to an even spread: 0, 4, 10, 14 with 4, and 0, 4, 8, 12 with 8.)
    """
    if dilation == 1:
        wanted_B3THW = wanted_B3THW[:, :, ::2]
    chunks = wanted_B3THW.unflatten(2, (dilation, -1))  # (B, 3, s, frames, H, W)
    last = chunks.shape[3] - 1
    looks = chunks[:, :, :, [round(look * last / (LOOKS - 1)) for look in range(LOOKS)]]
    moved = looks.diff(dim=3).square().mean(3)  # (B, 3, s, H, W)
    height, width = moved.shape[-2:]
    patches = F.avg_pool2d(moved.flatten(0, 2), (height // PATCHES, width // PATCHES),
                           (height // STEPS, width // STEPS)).unflatten(0, moved.shape[:3])
    least, most = patches.amin((-2, -1), keepdim=True), patches.amax((-2, -1), keepdim=True)
    weight = LEAST + (MOST - LEAST) * (patches - least + TINY) / (most - least + TINY)
    still = (most <= least).all(1, keepdim=True)  # in all three colours
    weight = torch.where(still, 1.0, weight)
    return F.interpolate(weight.flatten(0, 1), (height, width), mode="bilinear").unflatten(0, weight.shape[:2])
