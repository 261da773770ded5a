"""CaffeNet: AlexNet in Caffe's layout, a 2D network of the time of OPN, Jigsaw and Büchler et al. for single frames.

Layers, and the input of 80×80, as in OPN's public code (HsinYingLee/OPN, prototxt/train_opn.prototxt; Lee et al., ICCV
2017): convolutions 96×11² of stride 4, 256×5², 384×3², 384×3², 256×3² (the second, fourth and fifth in two groups); 3×3
max pools of stride 2, rounded up, after the first, second and fifth; then fc6 with 1024 outputs, the feature that OPN's
head compares in pairs. Its fc7 and the Dropout after fc6 belong to the head.

BatchNorm follows every convolution, as in the lineage's later code (VCOP's models/alexnet.py). OPN's has it from the
third convolution on, and local response normalisation, as CaffeNet, after the first two pools.

Frames of other sizes: a pool makes 2 rows or columns of 3 or 2, and the last pool's output is pooled again to 2×2,
its size at 80×80.

In evaluation a frame's features do not depend on the other frames; a clip's are their mean. Convolutions are 1×k×k, so
that clips, weights and maps have the layout of the 3D backbones.

Shapes: B batch, C channels, T frames, H height, W width, D feature size.
"""

import torch
from torch import nn
from torch.nn import functional as F

from eruv_dali.errors import EruvError
from eruv_dali.models.backbone import Backbone

MIN_SIDE = 15  # conv1 makes 2×2 of it


def conv_bn_relu(channels_in: int, channels_out: int, side: int, *, stride: int = 1, padding: int = 0,
                 groups: int = 1) -> nn.Sequential:
    """1×side×side convolution with bias, BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, (1, side, side), (1, stride, stride), (0, padding, padding),
                  groups=groups),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )


def pool3(x_BCTHW: torch.Tensor) -> torch.Tensor:
    """3×3 max pool of stride 2, rounded up as in Caffe; 3 or 2 rows or columns become 2 instead of 1."""
    kernel, stride = zip(*((3, 2) if side > 3 else (max(side - 1, 1), 1) for side in x_BCTHW.shape[-2:]), strict=True)
    return F.max_pool3d(x_BCTHW, (1, *kernel), (1, *stride), ceil_mode=True)


class CaffeNet(Backbone):
    """CaffeNet backbone: clips (B, 3, T, H, W) float → features (B, 16·width) float; any T, also 1.

        frame ─► conv1 96 ─pool─► conv2 256 ─pool─► conv3, 4 384 ─► conv5 256 ─pool─► fc6 1024 ─mean over T─► 1024
        80×80    18×18            9×9               4×4             4×4         2×2                       (width 64)

    `width` 64 is the full network, whose first convolution has 96 channels.
    """

    name = "caffenet"
    averages_frames = True

    def __init__(self, *, width: int = 64):
        super().__init__()
        w = width
        self.width = w
        self.feature_dim = 16 * w
        first = 2 * max(1, 3 * w // 4)  # 1.5·w, even for the two groups of conv2
        self.conv1 = conv_bn_relu(3, first, 11, stride=4)
        self.conv2 = conv_bn_relu(first, 4 * w, 5, padding=2, groups=2)
        self.conv3 = conv_bn_relu(4 * w, 6 * w, 3, padding=1)
        self.conv4 = conv_bn_relu(6 * w, 6 * w, 3, padding=1, groups=2)
        self.conv5 = conv_bn_relu(6 * w, 4 * w, 3, padding=1, groups=2)
        self.fc6 = nn.Sequential(
            nn.Conv3d(4 * w, self.feature_dim, (1, 2, 2)), nn.BatchNorm3d(self.feature_dim), nn.ReLU(inplace=True)
        )

    @classmethod
    def check_clip(cls, frames: int, height: int, width: int) -> None:
        if min(height, width) < MIN_SIDE:
            raise EruvError(f"caffenet cannot take frames of {height}x{width}: it needs at least "
                            f"{MIN_SIDE}x{MIN_SIDE}; enlarge the clip")

    def _maps(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        """conv5's output (B, 4·width, T, H', W') for every frame: 4×4 for a frame of 80×80, 6×6 for one of 112×112.

        Raises `EruvError` for frames too small for conv1.
        """
        self.check_clip(*x_BCTHW.shape[-3:])
        x_BCTHW = pool3(self.conv1(x_BCTHW))
        x_BCTHW = pool3(self.conv2(x_BCTHW))
        return self.conv5(self.conv4(self.conv3(x_BCTHW)))

    def features(self, maps_BCTHW: torch.Tensor) -> torch.Tensor:
        """fc6 of each frame's maps, averaged over the frames: (B, 4·width, T, H', W') → (B, 16·width)."""
        maps_BCTHW = pool3(maps_BCTHW)
        # Adaptive pooling to 2×2, written so that ONNX has it for odd sizes too.
        kernel, stride = zip(*((side - side // 2, side // 2) for side in maps_BCTHW.shape[-2:]), strict=True)
        pooled_BCT22 = F.max_pool3d(maps_BCTHW, (1, *kernel), (1, *stride))
        return self.fc6(pooled_BCT22).mean(dim=(2, 3, 4))
