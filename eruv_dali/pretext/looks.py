"""How each clip of a sample is made to look different: mirrored, its colours changed, grey. The whole clip alike.

Each clip draws its own look, so that a network cannot relate two clips by their colours (Chen, Kornblith, Norouzi,
Hinton, "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, section 3); all frames of a
clip share it (Qian et al., "Spatiotemporal Contrastive Video Representation Learning", CVPR 2021). Their blur is left
out: separable, of 11 taps for a crop of 112, it takes 22 multiplications for each value in two passes, where all else
together takes at most 4 in one; and frames of 128x171 are soft already.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from eruv_dali.checks import shown
from eruv_dali.errors import EruvError
from eruv_dali.pretext.colors import color_jitter, jitter_bounds

JITTERED = ("brightness", "contrast", "saturation", "hue")


def drawn_look(random: np.random.Generator, flip: bool, jitter: Sequence[float], grey: float) -> dict[str, Any]:
    """`flip` and `color` of a ClipRequest. As much is drawn whatever is asked for.

    Args:
        flip: half of the clips are mirrored; jitter: brightness, contrast, saturation and hue, as `color_jitter` takes
            them; grey: share of the clips without colour.
    """
    mirrored, colorless = random.random() < 0.5, random.random() < grey
    brightness, contrast, saturation, hue = jitter
    # Grey is no saturation: exactly none, in place of a random one.
    color = color_jitter(random, brightness, contrast, (0.0, 0.0) if colorless else saturation, hue)
    return dict(flip=flip and mirrored, color=color if colorless or any(jitter) else None)


def check_jitter(jitter: Any) -> None:
    """Check the option `pretext.jitter`.

    Raises:
        EruvError: it is not four numbers, or one is out of range.
    """
    if not isinstance(jitter, list | tuple) or len(jitter) != len(JITTERED):
        raise EruvError(f"pretext.jitter {shown(jitter)} must be four numbers: {', '.join(JITTERED)}")
    for name, amount in zip(JITTERED, jitter, strict=True):
        try:
            jitter_bounds(name, amount)
        except EruvError as error:
            raise EruvError(f"pretext.jitter: {error}") from None

