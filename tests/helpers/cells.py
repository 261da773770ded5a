"""Pictures that say everywhere which frame they are and which place it is, so that any piece of one can be read.

A picture is cut into cells of 16x16 pixels. Each is 4x4 blocks, black or white: 16 bits, of which 8 are the number of
the frame, 7 that of the cell, and one makes their sum even. White differs in red, green and blue.
"""

import numpy as np

CELL, BLOCK = 16, 4
BLACK, WHITE = np.array((30.0, 30.0, 30.0)), np.array((235.0, 195.0, 155.0))


def cell_picture(number: int, height: int, width: int, shot: int = 0) -> np.ndarray:
    """(height, width, 3) uint8 of frame `number`, at most 255."""
    rows, columns = height // CELL, width // CELL
    bits = np.zeros((height // BLOCK, width // BLOCK), bool)
    for cell in range(rows * columns):
        value = number | cell << 8
        value |= (value.bit_count() & 1) << 15
        y, x = (place * CELL // BLOCK for place in divmod(cell, columns))
        bits[y : y + 4, x : x + 4] = (value >> np.arange(16) & 1).reshape(4, 4)
    bits = bits.repeat(BLOCK, 0).repeat(BLOCK, 1)
    return np.where(bits[..., None], WHITE, BLACK).astype(np.uint8)


def read_cells(picture: np.ndarray, crop: tuple[int, int], width: int, threshold: float) -> set[tuple[int, int]]:
    """(frame, how far the cell is from its place: 0) of each whole cell in an upright (h, w) piece of grey levels that
    was cropped at (top, left) of a picture of this width."""
    (top, left), found = crop, set()
    assert picture.shape[0] >= 2 * CELL - 1
    for y in range(-top % CELL, picture.shape[0] - CELL + 1, CELL):
        for x in range(-left % CELL, picture.shape[1] - CELL + 1, CELL):
            blocks = picture[y : y + CELL, x : x + CELL].reshape(4, BLOCK, 4, BLOCK)[:, 1:3, :, 1:3].mean((1, 3))
            value = int((blocks.ravel() > threshold) @ (1 << np.arange(16)))
            assert value.bit_count() % 2 == 0, "not a cell"
            place = (top + y) // CELL * (width // CELL) + (left + x) // CELL
            found.add((value & 255, (value >> 8 & 127) - place))
    return found
