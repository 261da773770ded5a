"""3DRotNet: recognise by how much a clip was turned.

Jing, Yang, Liu, Tian, "Self-Supervised Spatiotemporal Feature Learning via Video Rotation Prediction", 2018.
A clip of 16 frames, every second one, perhaps mirrored, is shown turned by 0, 90, 180 and 270 degrees. As in the public
code all four are in one training step: samples 4n to 4n + 3 are the four, in a random order, so that batches of a
multiple of four hold a clip's four together (with several processes, each of the four is in another one's batch). The
public code also turns clips by up to 10 degrees before, which hides the borders of the lens; the loader cannot do that.
"""

from dataclasses import dataclass

from eruv_dali.checks import whole_number
from eruv_dali.models.heads import HeadOptions
from eruv_dali.pretext.pretext import Pretext, PretextOptions, Sample, Setting

ROTATIONS = (0, 90, 180, 270)


@dataclass
class RotNet3DOptions(PretextOptions):
    """Options of 3DRotNet."""

    name: str = "rotnet3d"
    stride: int = 2  # source frames from one frame of a clip to the next
    flip: bool = True  # half of the clips are mirrored left to right


class RotNet3D(Pretext):
    """Draws clips from segments, each in four rotations. An epoch has four samples for each segment.

    A kind is the rotation, in degrees counter-clockwise.

    Raises:
        EruvError: a bad option, or no segment long enough.
    """

    name = "rotnet3d"
    kind_word = "rotation"
    Options = RotNet3DOptions
    transforms = ("flip",)
    kinds = tuple(map(str, ROTATIONS))
    clips_per_sample = 1
    options: RotNet3DOptions

    @classmethod
    def check(cls, setting: Setting, options: RotNet3DOptions) -> None:
        super().check(setting, options)
        whole_number("pretext.stride", options.stride, least=1)

    @classmethod
    def frames_needed(cls, setting: Setting, options: RotNet3DOptions) -> int:
        return (setting.clip_length - 1) * options.stride + 1

    def __len__(self) -> int:
        return len(ROTATIONS) * len(self.segments)

    def sample(self, epoch: int, number: int, attempt: int = 0) -> Sample:
        # All four draw the same clip, also where it has to be replaced, which then happens to each of them.
        clip_number, turn = divmod(number, len(ROTATIONS))
        random = self.random(epoch, clip_number)
        label = int(random.permutation(len(ROTATIONS))[turn])
        place = self.anchor(epoch, clip_number)
        if attempt:
            random = self.random(epoch, clip_number, attempt)
            place = int(random.integers(len(self.segments)))
        flip = bool(random.integers(2)) and self.options.flip
        clip = self.clip(place, random, speed=self.options.stride, rotation=ROTATIONS[label], flip=flip)
        return Sample(self.kinds[label], label, (clip,))

    def advice(self, kind: str, head: HeadOptions) -> str:
        return "the frames may look the same at any rotation; check them with python -m eruv_dali.visualize shots"
