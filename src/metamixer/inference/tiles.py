"""Tiles of an image, each with the margin that its result depends on."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from math import ceil

from ..errors import InputError


@dataclass(frozen=True)
class Tile:
    """A part of an image: the rows and columns of its result, and the input region with the margin."""

    rows: slice
    columns: slice
    seen: tuple[slice, slice]

    def written(self, scale: int) -> tuple[slice, slice]:
        """The region of its result in the upscaled image."""
        return tuple(slice(part.start * scale, part.stop * scale) for part in (self.rows, self.columns))

    def kept(self, scale: int) -> tuple[slice, slice]:
        """The valid region of its own result."""
        pairs = zip((self.rows, self.columns), self.seen, strict=True)
        return tuple(slice((part.start - seen.start) * scale, (part.stop - seen.start) * scale) for part, seen in pairs)


def split(height: int, width: int, *, side: int, margin: int, multiple: int = 1) -> Iterator[Tile]:
    """Cover an image with disjoint tiles of about equal size, at most `side` pixels a side.

    multiple: what is seen begins at multiples of it, and ends there or with the image.
    """
    for rows in _parts(height, side):
        for columns in _parts(width, side):
            seen = tuple(
                slice(
                    max(part.start - margin, 0) // multiple * multiple,
                    min(-(-(part.stop + margin) // multiple) * multiple, end),
                )
                for part, end in ((rows, height), (columns, width))
            )
            yield Tile(rows, columns, seen)


def split_fixed(height: int, width: int, *, size: tuple[int, int], margin: int, multiple: int = 1) -> Iterator[Tile]:
    """Cover an image with disjoint tiles, for each of which a window of one size (height, width) is seen.

    size: at most the image's, rounded up to `multiple`; windows begin at multiples of it. Raises InputError if the
    margins leave nothing of a window.
    """
    along = [_windows(length, side, margin, multiple) for length, side in zip((height, width), size, strict=True)]
    for (rows, top), (columns, left) in product(*along):
        yield Tile(rows, columns, (top, left))


def tile_side(channels: float, memory: int, *, margin: int) -> int:
    """The side of a tile in pixels, without margins, for which a network's largest layers fit `memory` MiB.

    channels: of the widest layer, for each pixel. Raises InputError if that is too little for any tile.
    """
    # The widest layer's input, output and activation, and the residual stream, in float32.
    bytes_per_pixel = 4 * 4 * channels
    side = int((max(memory, 0) * 2**20 / bytes_per_pixel) ** 0.5) - 2 * margin
    if side < 16:
        least = ceil((16 + 2 * margin) ** 2 * bytes_per_pixel / 2**20)
        raise InputError(f"memory {memory} MiB, expected at least {least} for this network")
    return side


def _parts(length: int, side: int) -> Iterator[slice]:
    count = -(-length // side)
    for i in range(count):
        yield slice(length * i // count, length * (i + 1) // count)


def _windows(length: int, side: int, margin: int, multiple: int) -> list[tuple[slice, slice]]:
    """The parts of a length, each with its window; the last window ends with the length, rounded up."""
    last = max(ceil(length / multiple) * multiple - side, 0)
    step = (side - 2 * margin) // multiple * multiple
    if last and step <= 0:
        raise InputError(
            f"image side {length}, expected at most {side}, the exported file's: margins of {margin} pixels leave "
            "nothing of its tiles; export it with a larger --shape"
        )
    starts = [*range(0, last, max(step, 1)), last]
    bounds = [0, *(start + margin for start in starts[1:]), length]
    return [
        (slice(begin, end), slice(start, min(start + side, length)))
        for (begin, end), start in zip(pairwise(bounds), starts, strict=True)
    ]
