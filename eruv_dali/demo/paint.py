"""Colour and anti-aliased painting on a float image (HEIGHT, WIDTH, 3) in [0, 1]."""

import numpy as np


def rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """Hue, saturation, value in [0, 1] (hue wraps) to float32 RGB."""
    k = (np.array([5.0, 3.0, 1.0]) + 6.0 * hue) % 6.0
    return (value - value * saturation * np.clip(np.minimum(k, 4.0 - k), 0, 1)).astype(np.float32)


def paint_capsule(image: np.ndarray, a, b, radius_a: float, radius_b: float, colour, *, alpha=1.0, stripes=0.0) -> None:
    """A rounded bar from `a` to `b` (x, y pixels), radius going from `radius_a` to `radius_b`, with a dark rim.

    stripes: pixels between dark bands across the bar, 0 for none. alpha: its opacity.
    """
    (ax, ay), (bx, by) = a, b
    reach = max(radius_a, radius_b) + 1.5
    x0, x1 = max(0, int(min(ax, bx) - reach)), min(image.shape[1], int(max(ax, bx) + reach) + 2)
    y0, y1 = max(0, int(min(ay, by) - reach)), min(image.shape[0], int(max(ay, by) + reach) + 2)
    if x0 >= x1 or y0 >= y1:
        return
    x = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(ax)
    y = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(ay)
    dx, dy = np.float32(bx - ax), np.float32(by - ay)
    along = np.clip((x * dx + y * dy) / np.float32(dx * dx + dy * dy + 1e-6), 0, 1)
    radius = radius_a + (radius_b - radius_a) * along
    inside = radius - np.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2)
    cover = np.clip(inside + 0.5, 0, 1) * np.float32(alpha)
    shade = 0.55 + 0.45 * np.clip(inside / 2.5, 0, 1)
    if stripes:
        shade = shade * np.where((along * np.hypot(dx, dy) / stripes) % 1.0 < 0.5, 1.0, 0.7)
    patch = image[y0:y1, x0:x1]
    patch += cover[..., None] * (shade[..., None] * colour - patch)


def paint_disc(image: np.ndarray, centre, radius: float, colour, *, alpha=1.0, spin=0.0, squash=1.0, spokes=0) -> None:
    """A disc, flattened vertically by `squash`, whose `spokes` dark sectors have turned by `spin` radians."""
    cx, cy = centre
    rx, ry = radius / np.sqrt(squash), radius * np.sqrt(squash)
    x0, x1 = max(0, int(cx - rx - 1)), min(image.shape[1], int(cx + rx + 3))
    y0, y1 = max(0, int(cy - ry - 1)), min(image.shape[0], int(cy + ry + 3))
    if x0 >= x1 or y0 >= y1 or radius < 0.3:
        return
    x = (np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(cx)) / np.float32(rx)
    y = (np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(cy)) / np.float32(ry)
    inside = (1 - np.sqrt(x * x + y * y)) * np.float32(radius)
    shade = 0.5 + 0.5 * np.clip(inside / 2.5, 0, 1)
    if spokes:
        shade = shade * np.where(np.sin(spokes * (np.arctan2(y, x) - spin)) > 0, 1.0, 0.45)
    patch = image[y0:y1, x0:x1]
    patch += (np.clip(inside + 0.5, 0, 1) * np.float32(alpha))[..., None] * (shade[..., None] * colour - patch)
