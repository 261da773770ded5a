"""Optical flow between the frames of clips that are already tensors: coarse to fine, on the device they are on.

Lucas and Kanade, "An Iterative Image Registration Technique with an Application to Stereo Vision", 1981: the
displacement of a small window is the one for which its brightness stays the same, to first order. Three scales, the
finest half the size of the frame, reach displacements of about 10 pixels a frame. Coarser than the TV-L1 flow that MAS
precomputes, but fast enough to be computed for each batch.
"""

import torch
from torch.nn import functional as F

SCALES = (8, 4, 2)  # pixels of a frame for one of the flow, from coarse to fine
STEPS = 3  # refinements at each scale
WINDOW = 7  # side, pixels at that scale
FLAT = 1e-3  # squared brightness differences (of 0 to 1) up to which a window counts as flat, where nothing moves
GREY = (0.299, 0.587, 0.114)


def clip_flow(rgb_B3THW: torch.Tensor) -> torch.Tensor:
    """The `optical_flow` of clips of colours from 0 to 1, by their brightness."""
    red, green, blue = rgb_B3THW.float().unbind(1)
    return optical_flow(GREY[0] * red + GREY[1] * green + GREY[2] * blue)


def optical_flow(grey_BTHW: torch.Tensor) -> torch.Tensor:
    """How each place moves from each frame to the next.

    Args:
        grey_BTHW: float32 brightness from 0 to 1.

    Returns:
        (B, T - 1, 2, H // 2, W // 2) float32: to the right and down, pixels of the frame; 0 where the picture is flat.
    """
    B, T, H, W = grey_BTHW.shape
    flow = grey_BTHW.new_zeros(B * (T - 1), 2, 1, 1)
    for scale in SCALES:
        size = (H // scale, W // scale)
        small = F.adaptive_avg_pool2d(grey_BTHW, size)
        first, second = (frames.reshape(-1, 1, *size) for frames in (small[:, :-1], small[:, 1:]))
        flow = F.interpolate(flow, size, mode="bilinear", align_corners=False)
        around = bands(size, flow.device)
        for _ in range(STEPS):
            flow = flow + scale * _refinement(first, second, flow / scale, around)
    return flow.unflatten(0, (B, T - 1))


def slopes(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The change to the right and down, for one pixel, of pictures (N, C, H, W), both of the same shape."""
    wide = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2, (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2


def _refinement(
    first: torch.Tensor, second: torch.Tensor, flow: torch.Tensor, around: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """What remains to be added to a flow, (N, 2, h, w), by which `second` is already brought near `first`; `around`:
    the `bands` of that size."""
    h, w = first.shape[-2:]
    y, x = torch.meshgrid(torch.arange(h, device=flow.device), torch.arange(w, device=flow.device), indexing="ij")
    # grid_sample counts from -1 to 1 between the outer edges of the first and the last pixel.
    places = torch.stack([(2 * (x + flow[:, 0]) + 1) / w - 1, (2 * (y + flow[:, 1]) + 1) / h - 1], dim=-1)
    moved = F.grid_sample(second, places, mode="bilinear", padding_mode="border", align_corners=False)
    dx, dy = slopes((first + moved) / 2)
    dt = moved - first
    xx, xy, yy, xt, yt = window_mean(torch.cat([dx * dx, dx * dy, dy * dy, dx * dt, dy * dt], 1), around).split(1, 1)
    xx, yy = xx + FLAT, yy + FLAT
    step = torch.cat([xy * yt - yy * xt, xy * xt - xx * yt], 1) / (xx * yy - xy * xy)
    return step.clamp(-1, 1)  # further than a pixel the first order says nothing


def window_mean(x: torch.Tensor, around: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """The mean over the WINDOW around each place of (..., h, w), as far as it lies in the picture.

    By two products of matrices, `around`, the `bands` of that size: on a CPU several times as fast as torch's pooling.
    """
    down, across = around
    return down @ (x @ across.T)


def bands(size: tuple[int, int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """For (h, w) two matrices, (h, h) and (w, w): row i averages the places at most WINDOW // 2 from i."""
    def band(side: int) -> torch.Tensor:
        at = torch.arange(side, device=device)
        near = ((at[:, None] - at).abs() <= WINDOW // 2).float()
        return near / near.sum(1, keepdim=True)

    return band(size[0]), band(size[1])
