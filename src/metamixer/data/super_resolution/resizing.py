"""Bicubic resizing like MATLAB's `imresize`, the standard for small images and baselines in the literature.

Pillow and PyTorch use the same kernel but treat the border differently.
"""

from functools import lru_cache

import numpy as np


def imresize(image: np.ndarray, scale: float) -> np.ndarray:
    """image: (H, W) or (H, W, C), uint8 -> each side times `scale`, rounded up, uint8; antialiased if smaller."""
    for axis in (0, 1):
        resized = np.tensordot(_weights(image.shape[axis], scale), image.astype(np.float64), axes=(1, axis))
        # MATLAB rounds to the image's type between the two axes.
        image = np.clip(np.floor(np.moveaxis(resized, 0, axis) + 0.5), 0, 255).astype(np.uint8)
    return image


def crop_to_multiple(image: np.ndarray, factor: int) -> np.ndarray:
    """image: (H, W, ...) -> its top left part with sides that are multiples of `factor`."""
    height, width = (size - size % factor for size in image.shape[:2])
    return image[:height, :width]


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5."""
    x = np.abs(x)
    inner = 1.5 * x**3 - 2.5 * x**2 + 1
    outer = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0))


@lru_cache(maxsize=4)  # both sides, for there and back; a large photograph's take 100 MiB each
def _weights(size: int, scale: float) -> np.ndarray:
    """The matrix (new size, size) that resizes one axis; the border is replicated."""
    new_size = int(np.ceil(size * scale - 1e-9))
    stretch = min(scale, 1.0)
    centres = (np.arange(new_size) + 0.5) / scale - 0.5
    taps = int(np.ceil(4 / stretch)) + 2
    positions = np.floor(centres - 2 / stretch).astype(int)[:, None] + np.arange(taps)
    weights = _cubic((centres[:, None] - positions) * stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((new_size, size))
    np.add.at(matrix, (np.arange(new_size)[:, None], positions.clip(0, size - 1)), weights)
    return matrix
