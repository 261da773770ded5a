"""C3D: a plain stack of eight 3×3×3 convolutions, here with batch normalisation.

Paper: Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015. As in VCOP's
public code, every convolution is followed by BatchNorm, and a global average replaces pool5 and the fully-connected
layers. 27.66 M parameters at width 64.

Shapes: B batch, C channels, T frames, H height, W width, D feature size.
"""

import torch
from torch import nn

from eruv_dali.errors import EruvError
from eruv_dali.models.backbone import Backbone

MIN_FRAMES, MIN_SIDE = 8, 16  # four pools halve height and width, three of them halve time


def conv_bn_relu(channels_in: int, channels_out: int) -> nn.Sequential:
    """3×3×3 convolution with bias, BatchNorm, ReLU; keeps T, H, W."""
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, kernel_size=3, padding=1),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )


class C3D(Backbone):
    """C3D backbone: clips (B, 3, T, H, W) float → features (B, 8·width) float.

                 16×112×112        16×56×56      8×28×28            4×14×14            2×7×7   (width 64)
        clip ─► conv1 64 ─(1,2,2)─► conv2 128 ─2³─► conv3 256×2 ─2³─► conv4 512×2 ─2³─► conv5 512×2 ─mean─► 512
    """

    name = "c3d"

    def __init__(self, *, width: int = 64):
        super().__init__()
        w = width
        self.width = w
        self.feature_dim = 8 * w
        self.conv1 = conv_bn_relu(3, w)
        self.pool1 = nn.MaxPool3d((1, 2, 2))
        self.conv2 = conv_bn_relu(w, 2 * w)
        self.pool2 = nn.MaxPool3d(2)
        self.conv3 = nn.Sequential(conv_bn_relu(2 * w, 4 * w), conv_bn_relu(4 * w, 4 * w))
        self.pool3 = nn.MaxPool3d(2)
        self.conv4 = nn.Sequential(conv_bn_relu(4 * w, 8 * w), conv_bn_relu(8 * w, 8 * w))
        self.pool4 = nn.MaxPool3d(2)
        self.conv5 = nn.Sequential(conv_bn_relu(8 * w, 8 * w), conv_bn_relu(8 * w, 8 * w))

    @classmethod
    def check_clip(cls, frames: int, height: int, width: int) -> None:
        if frames < MIN_FRAMES or min(height, width) < MIN_SIDE:
            raise EruvError(
                f"c3d cannot take a clip of {frames} frames of {height}x{width}: "
                f"it needs at least {MIN_FRAMES} frames of {MIN_SIDE}x{MIN_SIDE}; enlarge the clip or use r3d"
            )

    def _maps(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        """The last convolution's output (B, 8·width, T/8, H/16, W/16), rounded down: 2×7×7 for a 16×112×112 clip.

        Raises `EruvError` for a clip too small for the four pools.
        """
        self.check_clip(*x_BCTHW.shape[-3:])
        x_BCTHW = self.pool1(self.conv1(x_BCTHW))
        x_BCTHW = self.pool2(self.conv2(x_BCTHW))
        x_BCTHW = self.pool3(self.conv3(x_BCTHW))
        x_BCTHW = self.pool4(self.conv4(x_BCTHW))
        return self.conv5(x_BCTHW)
