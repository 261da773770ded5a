"""The still part of a shot: sky, ridge, structures, ground."""

import numpy as np

from eruv_dali.demo.films import HEIGHT, WIDTH, Film, Shot
from eruv_dali.demo.paint import rgb


def scatter(cell: np.ndarray, salt: int) -> np.ndarray:
    """A fixed pseudo-random number in [0, 1) for each integer in `cell`."""
    return (np.sin(cell * 12.9898 + salt % 1000 * 78.233) * 43758.5453) % 1.0


def backdrop(film: Film, shot: Shot) -> np.ndarray:
    """Sky, ridge, the film's structures and ground as (HEIGHT, WIDTH, 3) float32 in [0, 1], four samples per pixel."""
    x = (np.arange(2 * WIDTH, dtype=np.float64)[None, :] + 0.5) / 2
    y = (np.arange(2 * HEIGHT, dtype=np.float64)[:, None] + 0.5) / 2
    side = -1.0 if shot.mirrored else 1.0
    X = shot.camera_x + side * (x - WIDTH / 2) / shot.zoom
    Y = (shot.ground_row - y) / shot.zoom
    salt = film.seed + 101 * shot.place
    tone, light, h = film.saturation, shot.light, film.hue

    height = np.clip(1 - y / shot.ground_row, 0, 1)[..., None]
    image = height * rgb(h, tone, light) + (1 - height) * rgb(h, 0.35 * tone, min(1.0, 1.15 * light))
    image = np.broadcast_to(image, (2 * HEIGHT, 2 * WIDTH, 3)).copy()

    def fill(mask: np.ndarray, colour: np.ndarray) -> None:
        image[np.broadcast_to(mask, image.shape[:2])] = colour

    ridge = 1.6 + 0.5 * np.sin(0.9 * X + salt) + 0.3 * np.sin(2.3 * X + 2 * salt)
    fill(ridge > Y, rgb(h + 0.04, 0.7 * tone, 0.75 * light))

    near, far, bright = rgb(h - 0.05, tone, 0.5 * light), rgb(h + 0.06, tone, 0.62 * light), rgb(h, 0.2, light)
    pitch = 1.5
    cell = np.floor(X / pitch)
    u = (X / pitch - cell - 0.5) * pitch  # metres from the middle of the cell
    tall = scatter(cell, salt)
    if film.backdrop == "towers":
        top = 1.2 + 2.0 * tall
        tower = (np.abs(u) < 0.55) & (top > Y)
        fill(tower, near)
        fill(tower & (np.abs(u * 4 % 1 - 0.5) < 0.25) & (np.abs(Y * 3 % 1 - 0.5) < 0.25), bright)
    elif film.backdrop == "trees":
        top = 1.2 + 0.8 * tall
        fill((np.abs(u) < 0.1) & (top > Y), near)
        crown = np.hypot(u, Y - top) < 0.5 + 0.2 * tall
        fill(crown, far)
        fill(crown & (np.sin(14 * (u + Y)) > 0.3), near)
    elif film.backdrop == "peaks":
        top = (1.4 + 1.4 * tall) * (1 - np.abs(u) / (0.5 * pitch))
        fill(top > Y, near)
        fill((top > Y) & (1.0 + 0.3 * np.abs(np.sin(9 * X)) < Y), bright)
    elif film.backdrop == "bricks":
        wall = 1.6 + 0.4 * (tall > 0.5) > Y
        row = np.floor(Y * 4)
        fill(wall, near)
        fill(wall & ((Y * 4 % 1 < 0.16) | ((X * 1.6 + 0.5 * (row % 2)) % 1 < 0.08)), bright)
    elif film.backdrop == "domes":
        top = 0.7 + 0.5 * tall
        dome = (np.abs(u) < 0.6) & (top > Y) | (np.hypot(u, Y - top) < 0.6)
        fill(dome, far)
        fill(dome & (np.sin(2 * np.pi * Y * 3) > 0.5), near)
    else:
        fill((np.abs(u) < 0.12) & (2.0 + 0.8 * tall > Y), near)
        fill((np.abs(u) < 0.12) & (2.0 + 0.8 * tall > Y) & (Y * 2 % 1 < 0.4), bright)
        fill(np.abs(Y - 1.3) < 0.08, far)

    # Ground: tiles in perspective, darker than everything above, so that up and down are obvious.
    depth = np.maximum(y - shot.ground_row, 1e-3) / HEIGHT
    tiles = (np.floor(0.9 * X * (0.4 / (0.25 + depth))) + np.floor(1.6 / (0.15 + depth))) % 2
    value = (0.3 + 0.1 * tiles) * light
    ground = rgb(film.ground_hue, tone, 1.0) * value[..., None]
    mask = np.broadcast_to(Y <= 0, image.shape[:2])
    image[mask] = ground[mask]

    image *= 1 + 0.05 * np.random.default_rng(salt).standard_normal((2 * HEIGHT, 2 * WIDTH, 1))
    image = image.reshape(HEIGHT, 2, WIDTH, 2, 3).mean(axis=(1, 3))
    return np.clip(image, 0, 1).astype(np.float32)
