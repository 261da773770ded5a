"""One clip from a folder of JPEG frames by simplejpeg, OpenCV, torchcodec or torchvision, on one thread.

Each maker returns a function from a PeerClip to its frames, (16, 128, 171, 3) uint8.
"""

from collections.abc import Callable

import numpy as np

from peers.files import PeerClip, jpeg_name
from peers.video import Decode


def _reader(decode_one: Callable[[bytes], np.ndarray]) -> Decode:
    def decode(clip: PeerClip) -> np.ndarray:
        pictures = []
        for frame in clip.frames.tolist():
            with open(f"{clip.path}/{jpeg_name(frame)}", "rb") as file:
                pictures.append(decode_one(file.read()))
        return np.stack(pictures)

    return decode


def simplejpeg_decoder() -> Decode:
    import simplejpeg

    return _reader(lambda data: simplejpeg.decode_jpeg(data, "RGB"))


def opencv_jpeg_decoder() -> Decode:
    import cv2

    cv2.setNumThreads(1)
    return _reader(lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))


def torchcodec_jpeg_decoder() -> Decode:
    try:
        from torchcodec.decoders import decode_jpeg
    except ImportError:
        raise ImportError("torchcodec decodes images from version 0.16 on") from None
    return _reader(lambda data: decode_jpeg(data).permute(1, 2, 0).numpy())


def torchvision_jpeg_decoder() -> Decode:
    import torch
    from torchvision.io import decode_jpeg

    return _reader(lambda data: decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8))
                   .permute(1, 2, 0).numpy())
