"""How images are cut into tiles and their windows."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

MOST_PIXELS, MOST_WINDOW = 64, 256
"""Maximum pixels of a tile and of its window, whose matrix must fit in shared memory."""

MOST_TWICE = 3 * 2**13
"""Maximum elements of the matrices of two convolutions in one kernel: 96 KiB in float32."""

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


def power_of_two(number: int) -> int:
    """The next power of two, at least 16, as tensor cores require."""
    return max(16, 1 << (number - 1).bit_length())


@lru_cache(maxsize=1024)
def cut(height: int, width: int, kernel: tuple[int, int]) -> Cut:
    """The cut of an image with the least cost."""
    return min(cuts(height, width, kernel), key=cost)


def cuts(height: int, width: int, kernel: tuple[int, int]) -> list[Cut]:
    """All cuts whose matrix isn't too large."""
    made = (make(height, width, rows, columns, kernel) for rows in sides(height) for columns in sides(width))
    return [found for found in made if found]


def cost(found: Cut) -> float:
    """Pixels read and written, products, and tiles."""
    return found.tiles * (found.k + found.n + found.k * found.n / 128 + OVERHEAD)


@lru_cache(maxsize=1024)
def cut_twice(height: int, width: int, kernel: tuple[int, int]) -> tuple[Cut, Cut] | None:
    """Cuts for two convolutions in one kernel; None if it costs more than one kernel after the other.

    The second's window is the first's tile. A window's margins are computed again for each tile.
    """
    inner = cuts(height, width, kernel)
    pairs = [(outer, found) for found in inner if (outer := around(found, kernel))]
    best = min(pairs, key=cost_twice, default=None)
    return best if best and cost_twice(best) < 2 * min(map(cost, inner)) else None


def cost_twice(pair: tuple[Cut, Cut]) -> float:
    """The cost of a pair, as of a single cut."""
    outer, inner = pair
    return inner.tiles * (outer.k + inner.n + (outer.k + inner.n) * inner.k / 128 + OVERHEAD)


def around(inner: Cut, kernel: tuple[int, int]) -> Cut | None:
    """The cut whose tiles are another's windows, or None if the matrices of both would be too large."""
    top, left = (kernel[0] // 2) * (inner.tiles_y > 1), (kernel[1] // 2) * (inner.tiles_x > 1)
    rows, columns = inner.window_rows + 2 * top, inner.window_columns + 2 * left
    outer = Cut(inner.window_rows, inner.window_columns, rows, columns, top, left, inner.tiles_y, inner.tiles_x)
    fits = rows * columns <= MOST_WINDOW and inner.k * (outer.k + inner.n) <= MOST_TWICE
    return outer if fits else None


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
