"""The noise of a photograph, told from its texture by how both change with size."""

import numpy as np

BLOCK = 8
"""Side of the blocks in which noise is measured."""

LEAST_BLOCKS = 8
"""Minimum number of blocks for an estimate."""

CLIPPED = 0.1
"""Fraction of clipped pixels up to which a block is used, unless too few are."""

QUIET = 0.05
"""Fraction of the blocks that are quieter than the measured one."""

QUIET_POWER = 0.6
"""Power of that block, of the noise's variance: 0.555 for noise alone, more in photographs (a trial)."""


def noise_std(sample: np.ndarray) -> float:
    """The std of noise, of 255.

    sample: (n, rows, columns, C), white = 1. White noise has half the std at half the size. A camera's noise, smoothed
    by demosaicing, is weaker at full size, not at half size: the mean of both estimates is geometric, so that only
    what is seen at both sizes counts as such. Texture alone becomes stronger from half size to a quarter: what it adds
    there is taken off the other sizes, as if it were as much weaker from each to the next.
    """
    half = halved(sample)
    full_std, half_std, quarter_std = (quiet_std(each) for each in (sample, half, halved(half)))
    texture = min(half_std, float(np.sqrt(max(quarter_std**2 - half_std**2, 0.0))))
    fall = min(half_std / quarter_std, 1.0) if quarter_std else 0.0
    fine = float(np.sqrt(max(full_std**2 - (texture * fall) ** 2, 0.0)))
    coarse = float(np.sqrt(half_std**2 - texture**2))
    return max(fine, coarse, float(np.sqrt(fine * 2 * coarse)))


def quiet_std(sample: np.ndarray) -> float:
    """The std of white noise, of 255, in the quietest blocks, mean of the channels; 0 for too small an image.

    Source of the mask: Immerkaer, Fast noise variance estimation, CVIU 1996.
    """
    inner = sample[:, 1:-1, 1:-1]
    if inner.shape[0] * (inner.shape[1] // BLOCK) * (inner.shape[2] // BLOCK) < LEAST_BLOCKS:
        return 0.0
    clipped = blocks((inner == 0) | (inner == 1)).mean(axis=(2, 4, 5))
    usable = clipped <= max(CLIPPED, np.quantile(clipped, 2 * QUIET))
    response = np.diff(np.diff(sample, n=2, axis=1), n=2, axis=2) / 6
    power = blocks(np.square(response)).mean(axis=(2, 4))[usable]
    return 255 * float(np.sqrt(np.quantile(power, QUIET, axis=0) / QUIET_POWER).mean())


def halved(sample: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels: (n, H, W, C) -> (n, H // 2, W // 2, C)."""
    n, rows, columns, channels = sample.shape
    even = sample[:, : rows // 2 * 2, : columns // 2 * 2]
    return even.reshape(n, rows // 2, 2, columns // 2, 2, channels).mean(axis=(2, 4))


def blocks(values: np.ndarray) -> np.ndarray:
    """(n, H, W, C) -> (n, H // 8, 8, W // 8, 8, C)."""
    n, height, width, channels = values.shape
    whole = values[:, : height // BLOCK * BLOCK, : width // BLOCK * BLOCK]
    return whole.reshape(n, height // BLOCK, BLOCK, width // BLOCK, BLOCK, channels)
