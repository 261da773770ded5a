"""Grids of square cells in a frame, of which puzzles take their pieces.

    ┌──────┬──────┐   A piece is a square of `crop` pixels at a random place in a cell of crop + jitter pixels, so that
    │ ┌──┐ │┌──┐  │   there are gaps of random width between pieces: neighbours cannot be told by lines that go on from
    │ └──┘ │└──┘  │   one to the other.
    ├──────┼──────┤
    │┌──┐  │      │   The grid itself is at a random place in the frame.
    │└──┘  │ …    │
    └──────┴──────┘
"""

import numpy as np

from eruv_dali.checks import whole_number
from eruv_dali.errors import EruvError
from eruv_dali.pretext.pretext import Setting


def check_grid(setting: Setting, side: int, jitter: int) -> None:
    """Check that a grid of side × side cells of crop + jitter pixels fits into the frame.

    Raises:
        EruvError: it does not, or `jitter` is not a whole number, at least 0.
    """
    whole_number("pretext.jitter", jitter, least=0)
    height, width = setting.frame_size
    if side * (setting.crop + jitter) > min(height, width):
        raise EruvError(f"{side}x{side} pieces of {setting.crop} + {jitter} pixels (data.crop + pretext.jitter) do not "
                        f"fit into frames of {height}x{width}; lower the former or prepare larger frames")


def drawn_cells(random: np.random.Generator, setting: Setting, side: int, jitter: int) -> list[tuple[int, int]]:
    """A grid at a random place: (top, left) of its side × side cells, pixels, row by row."""
    cell = setting.crop + jitter
    top, left = (int(random.integers(edge - side * cell + 1)) for edge in setting.frame_size)
    return [(top + row * cell, left + column * cell) for row in range(side) for column in range(side)]


def drawn_crop(random: np.random.Generator, cell: tuple[int, int], jitter: int) -> tuple[int, int]:
    """(top, left) of a piece, pixels, at a random place in its cell."""
    return cell[0] + int(random.integers(jitter + 1)), cell[1] + int(random.integers(jitter + 1))
