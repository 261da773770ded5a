"""The moving pictures of a page: the frames that a class of its style shows one after another."""

import base64
import io
import re

import numpy as np
from PIL import Image

RULE = re.compile(r"\.(\w+) \{ background-image: url\(data:image/webp;base64,([^)]*)\); --frames: (\d+);")


def sprites(page: str) -> dict[str, np.ndarray]:
    """(T, H, W, 3) uint8 by the name of the class."""
    return {name: frames(content, int(count)) for name, content, count in RULE.findall(page)}


def frames(content: str, count: int) -> np.ndarray:
    """The `count` frames side by side in a WebP picture, given in base64."""
    whole = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
    assert whole.shape[1] % count == 0
    return np.stack(np.split(whole, count, 1))
