"""A decoder: from the maps of a 3D backbone to a video of twice as many frames as the clip had.

After the decoder of PRP's public code (github.com/yuanyao366/PRP, models/sscn.py and net_part.py): four transposed
convolutions double time, height and width; a 3×3×3 convolution with BatchNorm and ReLU follows each of the first three
and halves the channels, and a last one makes RGB of them.
"""

from torch import nn


class Decoder(nn.Sequential):
    """Maps (B, channels, T', H', W') → video (B, 3, 16·T', 16·H', 16·W'), at least 0: of a clip of 16×112×112, whose
    maps are 2×7×7, a video of 32×112×112."""

    def __init__(self, channels: int) -> None:
        widths = [max(1, channels // share) for share in (1, 2, 4, 8)]
        layers: list[nn.Module] = []
        for width, narrower in zip(widths, widths[1:], strict=False):
            layers += [nn.ConvTranspose3d(width, width, 2, stride=2), *conv_norm_relu(width, narrower)]
        super().__init__(*layers, nn.ConvTranspose3d(widths[-1], widths[-1], 2, stride=2),
                         *conv_norm_relu(widths[-1], 3))


def conv_norm_relu(channels_in: int, channels_out: int) -> nn.Sequential:
    """A 3×3×3 convolution with bias, BatchNorm, ReLU; keeps T, H, W."""
    return nn.Sequential(nn.Conv3d(channels_in, channels_out, 3, padding=1), nn.BatchNorm3d(channels_out), nn.ReLU())
