"""Colours and intensities as files have them, in the units of a `Cloud`."""

import numpy as np

LIMITS = {
    "colours": (255, "0 to 255, or 0 to 1 in floating point"),
    "intensity": (1, "0 to 1, or in arrays whole numbers of percent"),
}
"""The largest value, and what a file may have, in words."""
SIXTEEN_BITS = 65535 / 255


def as_colours(values: np.ndarray) -> np.ndarray:
    """From 0 to 255: floating-point numbers of which none is above 1 are shares, 16 bits are scaled unless they hold 8,
    as many do.
    """
    largest = values.max(initial=0)
    if values.dtype.kind == "f":
        return values * 255 if largest <= 1 else values
    return values / SIXTEEN_BITS if values.dtype.itemsize == 2 and largest > 255 else values


def as_share(values: np.ndarray) -> np.ndarray:
    """From 0 to 1: whole numbers of one or two bytes without sign are shares of their type's largest."""
    return values / np.iinfo(values.dtype).max if values.dtype.kind == "u" and values.dtype.itemsize <= 2 else values


def outside(values: np.ndarray, kind: str) -> int | None:
    """The first row with a value that colours or intensities can't have."""
    wrong = np.argwhere((values < 0) | (values > LIMITS[kind][0]))
    return int(wrong[0, 0]) if len(wrong) else None
