"""Conversion of colors and intensities from a file's units to those of a `Cloud`."""

import numpy as np

LIMITS = {
    "colours": (255, "0 to 255, or 0 to 1 in floating point"),
    "intensity": (1, "0 to 1, or whole percent in arrays, or up to --intensity_max"),
}
"""The maximum, and the valid range in words."""
SIXTEEN_BITS = 65535 / 255


def as_colours(values: np.ndarray) -> np.ndarray:
    """Scale colors to 0 to 255.

    Floating-point values are fractions if none is above 1; 16-bit values are scaled unless all fit 8 bits, as in many
    files.
    """
    largest = values.max(initial=0)
    if values.dtype.kind == "f":
        return values * 255 if largest <= 1 else values
    return values / SIXTEEN_BITS if values.dtype.itemsize == 2 and largest > 255 else values


def as_share(values: np.ndarray, full: float | None = None) -> np.ndarray:
    """Scale intensities to 0 to 1; full: the value that stands for 1, as larger ones do.

    None: unsigned 8-bit and 16-bit integers are divided by their type's maximum, others stay as they are.
    """
    if full is not None:
        return np.minimum(values / full, 1)
    return values / np.iinfo(values.dtype).max if values.dtype.kind == "u" and values.dtype.itemsize <= 2 else values


def outside(values: np.ndarray, kind: str) -> int | None:
    """The first row with a value out of range, or None."""
    wrong = np.argwhere((values < 0) | (values > LIMITS[kind][0]))
    return int(wrong[0, 0]) if len(wrong) else None
