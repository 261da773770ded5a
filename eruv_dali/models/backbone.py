"""What all backbones have in common."""

from abc import ABC, abstractmethod
from typing import TypeVar

import torch
from torch import nn

from eruv_dali.errors import EruvError
from eruv_dali.models.differences import frame_differences

Net = TypeVar("Net", bound=nn.Module)


class Backbone(nn.Module, ABC):
    """A CNN: clips (B, 3, T, H, W) float → features (B, D) float. A subclass defines `_maps`.

    Attributes:
        name: "c3d", "r3d", "r2plus1d" or "caffenet"; `width`: its size, 64 for the paper's networks.
        feature_dim: D.
        input: "rgb", or "difference": it sees `frame_differences` of the clips that it is given.
        averages_frames: whether it is a 2D network: T' is T, and a clip's features are the mean of its frames'.
    """

    name: str
    width: int
    feature_dim: int
    input: str = "rgb"
    averages_frames: bool = False

    @classmethod
    def check_clip(cls, frames: int, height: int, width: int) -> None:
        """Check that it can take clips of this size.

        Raises:
            EruvError: they are too small.
        """

    def feature_maps(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        """The last convolution's output (B, C, T', H', W'); C is D in the 3D networks.

        Raises:
            EruvError: no clips of floats with 3 channels; those that `check_clip` refuses, from c3d and caffenet.
        """
        if x_BCTHW.ndim != 5 or x_BCTHW.shape[1] != 3 or not x_BCTHW.is_floating_point():
            raise EruvError(f"clips of shape {tuple(x_BCTHW.shape)}, {x_BCTHW.dtype}: expected (B, 3, T, H, W) of "
                            "floats, values as in training (0 to 1)")
        return self._maps(frame_differences(x_BCTHW) if self.input == "difference" else x_BCTHW)

    @abstractmethod
    def _maps(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        """`feature_maps` of what the network sees, (B, 3, T, H, W)."""

    def features(self, maps_BCTHW: torch.Tensor) -> torch.Tensor:
        """Features (B, D) from what `feature_maps` returned: the mean over time and space."""
        return maps_BCTHW.mean(dim=(2, 3, 4))

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        """One feature vector per clip, (B, D)."""
        return self.features(self.feature_maps(x_BCTHW))


def channels_last(net: Net, device: torch.device) -> Net:
    """`net` on a device, its weights channels last (channels_last_3d), as convolutions like the clips best."""
    # torch's annotations leave `memory_format` out.
    return net.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
