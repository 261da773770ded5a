"""R3D and R(2+1)D: 3D residual networks with one residual block per stage.

Paper: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018 (R3D and R(2+1)D).
The ERUV paper and VCOP's public code use the ten-layer form: a 3×7×7 stem and four stages of one basic block, with a
convolution on each shortcut that changes shape. At width 64: R3D 14.36 M parameters, R(2+1)D 14.37 M. No convolution
has a bias, because a BatchNorm follows each.

R(2+1)D is R3D with every convolution, including those on the shortcuts, split in two: 1×k×k in space to M channels,
BatchNorm, ReLU, then k_t×1×1 in time. M keeps the parameter count (`factorised_channels`).

Shapes: B batch, C channels, T frames, H height, W width, D feature size.
"""

from collections.abc import Callable

import torch
from torch import nn

from eruv_dali.models.backbone import Backbone

Triple = tuple[int, int, int]
MakeConv = Callable[[int, int, Triple, Triple], nn.Module]  # (channels in, channels out, kernel, stride)


def conv3d(channels_in: int, channels_out: int, kernel: Triple, stride: Triple) -> nn.Conv3d:
    """A full 3D convolution that pads by half its kernel."""
    k_t, k_h, k_w = kernel
    return nn.Conv3d(channels_in, channels_out, kernel, stride, (k_t // 2, k_h // 2, k_w // 2), bias=False)


def factorised_channels(channels_in: int, channels_out: int, kernel: Triple) -> int:
    """Channels M between the two halves of a (2+1)D convolution: as many as need no more weights than the 3D one.

    The 3D convolution has k_t·k_h·k_w·i·o weights, the pair M·(k_h·k_w·i + k_t·o), so
    M = ⌊k_t·k_h·k_w·i·o / (k_h·k_w·i + k_t·o)⌋ (R(2+1)D paper, section 3.5); at least 1, for very narrow networks.
    """
    k_t, k_h, k_w = kernel
    area = k_h * k_w
    return max(1, k_t * area * channels_in * channels_out // (area * channels_in + k_t * channels_out))


def conv2plus1d(channels_in: int, channels_out: int, kernel: Triple, stride: Triple) -> nn.Sequential:
    """`conv3d` split into a spatial convolution, BatchNorm, ReLU and a temporal convolution."""
    middle = factorised_channels(channels_in, channels_out, kernel)
    (k_t, k_h, k_w), (s_t, s_h, s_w) = kernel, stride
    return nn.Sequential(
        conv3d(channels_in, middle, (1, k_h, k_w), (1, s_h, s_w)),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        conv3d(middle, channels_out, (k_t, 1, 1), (s_t, 1, 1)),
    )


class BasicBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)); the shortcut is a 1×1×1 convolution where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, make_conv: MakeConv):
        super().__init__()
        k, s = (3, 3, 3), (stride, stride, stride)
        self.conv1 = make_conv(channels_in, channels_out, k, s)
        self.bn1 = nn.BatchNorm3d(channels_out)
        self.conv2 = make_conv(channels_out, channels_out, k, (1, 1, 1))
        self.bn2 = nn.BatchNorm3d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        if stride == 1 and channels_in == channels_out:
            self.shortcut: nn.Module = nn.Identity()
        else:
            self.shortcut = nn.Sequential(
                make_conv(channels_in, channels_out, (1, 1, 1), s), nn.BatchNorm3d(channels_out)
            )

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        y_BCTHW = self.relu(self.bn1(self.conv1(x_BCTHW)))
        y_BCTHW = self.bn2(self.conv2(y_BCTHW))
        return self.relu(y_BCTHW + self.shortcut(x_BCTHW))


class ResNet3D(Backbone):
    """Residual backbone: clips (B, 3, T, H, W) float → features (B, 8·width) float. Use `R3D` or `R2Plus1D`.

                16×112×112             16×56×56      8×28×28       4×14×14       2×7×7    (width 64)
        clip ─► stem 3×7×7, (1,2,2) ─► stage1 64 ─► stage2 128 ─► stage3 256 ─► stage4 512 ─mean─► 512
    """

    def __init__(self, make_conv: MakeConv, *, width: int = 64):
        super().__init__()
        w = width
        self.width = w
        self.feature_dim = 8 * w
        self.stem = nn.Sequential(make_conv(3, w, (3, 7, 7), (1, 2, 2)), nn.BatchNorm3d(w), nn.ReLU(inplace=True))
        self.stage1 = BasicBlock(w, w, 1, make_conv)
        self.stage2 = BasicBlock(w, 2 * w, 2, make_conv)
        self.stage3 = BasicBlock(2 * w, 4 * w, 2, make_conv)
        self.stage4 = BasicBlock(4 * w, 8 * w, 2, make_conv)

    def _maps(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        """The last stage's output (B, 8·width, T/8, H/16, W/16), rounded up: 2×7×7 for a 16×112×112 clip."""
        x_BCTHW = self.stage1(self.stem(x_BCTHW))
        return self.stage4(self.stage3(self.stage2(x_BCTHW)))


class R3D(ResNet3D):
    """`ResNet3D` with full 3D convolutions."""

    name = "r3d"

    def __init__(self, *, width: int = 64):
        super().__init__(conv3d, width=width)


class R2Plus1D(ResNet3D):
    """`ResNet3D` with every convolution split into space and time."""

    name = "r2plus1d"

    def __init__(self, *, width: int = 64):
        super().__init__(conv2plus1d, width=width)
