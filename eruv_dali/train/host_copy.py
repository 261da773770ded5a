"""Figures that the device computes, read by the host later, so that it need not wait for the device."""

from collections.abc import Sequence

import torch


class HostCopy:
    """Copies of tensors on their way to the host. They must not be changed afterwards: on a CPU nothing is copied.

    The copies go to pinned memory, because only there does a copy from a GPU run while the host goes on.
    """

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._copies, self._arrived = list(tensors), None
        if any(tensor.is_cuda for tensor in tensors):
            self._copies = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(
                tensor, non_blocking=True) for tensor in tensors]
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    @property
    def ready(self) -> bool:
        """Whether `read` would return at once."""
        return self._arrived is None or self._arrived.query()

    def read(self) -> list[torch.Tensor]:
        """The tensors, on the CPU; waits until the device has computed and copied them."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._copies
