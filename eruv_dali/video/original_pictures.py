"""What DALI decodes from a slice of an original video, made into pictures as libav would show them (see `frames`)."""

from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode


def original_pictures(
    frames: DataNode, shown: DataNode, correction: DataNode, *sizes: tuple[int, int]
) -> tuple[DataNode, ...]:
    """Crop, scale and correct decoded frames; call it inside a pipeline definition.

    Args:
        frames: uint8 (F, H, W, 3), RGB by BT.601; samples may differ in F, H and W.
        shown: int32 (4,) on the CPU, the rectangle of them that the video shows: top, left, bottom, right.
        correction: float32 (3, 3) on the CPU, shown RGB = correction · decoded RGB (see `colour`).
        sizes: (height, width) of the pictures.

    Returns uint8 (F, height, width, 3) of each size.
    """
    # Not the resize operator's own region of interest: its filter reads the pixels around that, up to 40 levels off.
    frames = fn.slice(frames, start=shown[:2], end=shown[2:], axes=(1, 2))
    scaled = (fn.resize(frames, size=size, interp_type=types.INTERP_LINEAR, antialias=True) for size in sizes)
    return tuple(fn.coord_transform(pictures, M=correction, dtype=types.UINT8) for pictures in scaled)
