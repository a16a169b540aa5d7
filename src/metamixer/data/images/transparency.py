"""Colors where an image is transparent: often black there, which a network would draw into the visible edge."""

import numpy as np


def extend_color(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Give transparent pixels the mean color of the visible ones near them.

    color: (H, W, C); alpha: (H, W), 0 where transparent -> (H, W, C) of the same type; visible pixels stay.
    """
    visible = alpha > 0
    if visible.all():
        return color
    filled = _filled(color.astype(np.float32), visible)
    if np.issubdtype(color.dtype, np.integer):
        filled = filled.round()
    return np.where(visible[:, :, None], color, filled.astype(color.dtype))


def _filled(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """values: (H, W, C); known: (H, W) -> the values, unknown ones from the smallest block that knows some."""
    height, width = known.shape
    if known.all() or not known.any():
        return values
    margin = ((0, height % 2), (0, width % 2))
    weights = np.pad(known, margin).astype(np.float32)[:, :, None]
    sums = _blocks(np.pad(values, (*margin, (0, 0))) * weights)
    counts = _blocks(weights)
    coarse = _filled(sums / np.maximum(counts, 1), counts[:, :, 0] > 0)
    spread = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(known[:, :, None], values, spread)


def _blocks(values: np.ndarray) -> np.ndarray:
    """The sums of blocks of 2 x 2 pixels."""
    height, width, channels = values.shape
    return values.reshape(height // 2, 2, width // 2, 2, channels).sum(axis=(1, 3))
