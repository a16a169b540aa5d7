"""How images are cut into tiles and their windows."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

MOST_PIXELS, MOST_WINDOW = 64, 256
"""Maximum pixels of a tile and of its window, whose matrix must fit in shared memory."""

SIDES = (1, 2, 4, 7, 8, 14, 16, 28, 32, 64)
"""Candidate sides of tiles; 7, 14 and 28 divide the feature maps of 224 px networks."""

OVERHEAD = 64
"""Fixed cost of a tile, in pixels."""


@dataclass(frozen=True)
class Cut:
    """Tiles of rows x columns, each with a window that begins top rows above and left columns before it."""

    rows: int
    columns: int
    window_rows: int
    window_columns: int
    top: int
    left: int
    tiles_y: int
    tiles_x: int

    @property
    def tiles(self) -> int:
        """Tiles per image."""
        return self.tiles_y * self.tiles_x

    @property
    def n(self) -> int:
        """Columns of the matrix: pixels of a tile, padded with zeros to a power of two."""
        return power_of_two(self.rows * self.columns)

    @property
    def k(self) -> int:
        """Rows of the matrix: pixels of a window, padded with zeros to a power of two."""
        return power_of_two(self.window_rows * self.window_columns)

    @property
    def whole(self) -> bool:
        """Whether the image is one tile and its own window."""
        return self.tiles == 1 and (self.rows, self.columns) == (self.window_rows, self.window_columns)


def power_of_two(number: int) -> int:
    """The next power of two, at least 16, as tensor cores require."""
    return max(16, 1 << (number - 1).bit_length())


@lru_cache(maxsize=1024)
def cut(height: int, width: int, kernel: tuple[int, int]) -> Cut:
    """The cut of an image with the least cost: pixels read, products and tiles."""
    candidates = [
        found
        for rows in sides(height)
        for columns in sides(width)
        if (found := make(height, width, rows, columns, kernel))
    ]
    return min(candidates, key=lambda found: found.tiles * (found.k + found.n + found.k * found.n / 128 + OVERHEAD))


def sides(length: int) -> Iterator[int]:
    """Candidate tile sides for an image's side: the smaller ones of `SIDES`, and the whole side."""
    yield from (side for side in SIDES if side < length)
    yield length


def make(height: int, width: int, rows: int, columns: int, kernel: tuple[int, int]) -> Cut | None:
    """A cut, or None if its matrix would be too large."""
    window_rows, top, tiles_y = window(height, rows, kernel[0])
    window_columns, left, tiles_x = window(width, columns, kernel[1])
    if rows * columns > MOST_PIXELS or window_rows * window_columns > MOST_WINDOW:
        return None
    return Cut(rows, columns, window_rows, window_columns, top, left, tiles_y, tiles_x)


def window(length: int, side: int, kernel: int) -> tuple[int, int, int]:
    """Length of a window, its margin before the tile, and the number of tiles."""
    if side >= length:
        return length, 0, 1
    return side + 2 * (kernel // 2), kernel // 2, -(-length // side)
