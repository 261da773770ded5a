"""What MAS and flow have in common: a network tells numbers about how one clip moves, computed from the clip itself."""

from typing import Any

import torch

from eruv_dali.errors import EruvError
from eruv_dali.pretext.pretext import Pretext, Sample, Setting

LEAST_CROP = 32  # pixels, so that every region of a frame has some at the coarsest scale of the flow


class ToldMotion(Pretext):
    """Draws clips from segments. It has no kinds: the network is scored by its loss.

    Raises:
        EruvError: a bad option, a clip or crop that is too small, or no segment long enough.
    """

    kinds = ()
    clips_per_sample = 1

    @classmethod
    def check(cls, setting: Setting, options: Any) -> None:
        super().check(setting, options)
        if setting.clip_length < 2:
            raise EruvError(f"clip_length {setting.clip_length} is too short for motion; it must be at least 2")
        if setting.crop < LEAST_CROP:
            raise EruvError(f"crop {setting.crop} is too small to say where something moves; it must be at least "
                            f"{LEAST_CROP}")

    @classmethod
    def frames_needed(cls, setting: Setting, options: Any) -> int:
        return setting.clip_length

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        _, place, random = self.draw(epoch, number, attempt)
        return Sample("", 0, (self.clip(place, random),))

    def colours(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) float32, from 0 to 1: delivered clips (B, 1, 3, T, H, W) before they were normalised."""
        # Number by number: a tensor of them would be copied to the device for every batch, which waits for it.
        return torch.stack([clips[:, 0, channel].float() * std + mean for channel, (mean, std) in
                            enumerate(zip(self.setting.mean, self.setting.std, strict=True))], 1)
