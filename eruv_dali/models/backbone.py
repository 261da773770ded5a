"""What all backbones have in common."""

from abc import ABC, abstractmethod
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


class Backbone(nn.Module, ABC):
    """A 3D CNN: clips (B, 3, T, H, W) float → features (B, D) float.

    Attributes:
        name: "c3d", "r3d" or "r2plus1d"; `width`: channels of its first convolution.
        feature_dim: D.
    """

    name: str
    width: int
    feature_dim: int

    @abstractmethod
    def feature_maps(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        """The last convolution's output (B, D, T', H', W')."""


def channels_last(net: Net, device: torch.device) -> Net:
    """`net` on a device, its weights channels last (channels_last_3d), as convolutions like the clips best."""
    # torch's annotations leave `memory_format` out.
    return net.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
