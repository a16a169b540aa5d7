"""How noisy a photograph is and how strongly JPEG compressed it, estimated from its pixels."""

from dataclasses import dataclass

import numpy as np

from ..images.jpeg import luminance_table
from .noise import BLOCK, blocks, noise_std

SAMPLE = 2**20
"""Pixels of a large image that are looked at."""

ROWS = 128
"""Rows of each band of a large image."""

CLEAN_NOISE, NOISY = 1.5, 4.0
"""Std of noise, of 255, up to which a photograph is left unchanged, and from which it is fully restored."""

FINE_QUALITY, COARSE_QUALITY = 95, 80
"""JPEG quality from which a photograph is left unchanged, and up to which it is fully restored."""

SPOILED = 0.5
"""Strength from which an image is restored before it is enlarged."""

BRIGHT = 0.99
"""Fraction of the pixels that are darker than the bright ones."""

DARK, DIM = 0.25, 0.5
"""Brightness, of white, below which noise doesn't count more, and below which an image is called dark."""

QUALITIES = range(1, 93)
"""Qualities that leave traces in the pixels."""


COMPARED = 2048
"""Blocks whose coefficients are compared with quantization tables."""

COMPARED_PLACES = tuple(np.array([(u, v) for u in range(BLOCK) for v in range(BLOCK) if 1 <= u + v <= 5]).T)
"""Of the low frequencies, without the mean, whose coefficients are often not 0."""

FINEST_STEP = 3
"""Smallest step of quantization that rounding to 8 bits doesn't hide."""


@dataclass(frozen=True)
class Estimate:
    """noise: std of 255; quality: of the JPEG file, None without traces of one; bright: the bright pixels, of white."""

    noise: float
    quality: int | None = None
    bright: float = 1.0

    @property
    def strength(self) -> float:
        """How much of the restoration the photograph needs: 0 for a clean one, up to 1."""
        artifacts = 0.0 if self.quality is None else smooth_step(self.quality, FINE_QUALITY, COARSE_QUALITY)
        return max(smooth_step(self.visible_noise, CLEAN_NOISE, NOISY), artifacts)

    @property
    def visible_noise(self) -> float:
        """The noise, as visible as in a photograph with white pixels: a dark one will be shown brightened."""
        return self.noise / min(max(self.bright, DARK), 1.0)

    def __str__(self) -> str:
        quality = f", JPEG quality about {self.quality}" if self.quality else ""
        dark = f" (as visible as {self.visible_noise:.1f}: a dark image)" if self.bright < DIM else ""
        return f"noise {self.noise:.1f}{dark}{quality}"


def smooth_step(value: float, start: float, end: float) -> float:
    """0 up to `start`, 1 from `end` on, and smooth between them; `end` may be the smaller one."""
    place = min(max((value - start) / (end - start), 0.0), 1.0)
    return place * place * (3 - 2 * place)


def estimate(pixels: np.ndarray, *, white: float = 1, quality: int | None = None) -> Estimate:
    """pixels: (H, W, 1 or 3), not necessarily clipped; white: its value.

    quality: of the file, if known; traces of a lower one win, as in a JPEG file that was saved again.
    """
    sample = bands(pixels) / np.float32(white)
    known = [each for each in (quality, jpeg_quality(sample)) if each is not None]
    return Estimate(noise_std(sample), min(known, default=None), brightness(sample))


def brightness(sample: np.ndarray) -> float:
    """The bright pixels of an image, of white."""
    return float(np.quantile(sample.mean(axis=3), BRIGHT))


def bands(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (n, rows, columns, C) float32: all of it, or evenly spaced bands of about `SAMPLE` pixels."""
    height, width, _ = pixels.shape
    if height * width <= SAMPLE or height <= ROWS:
        return pixels[None, : max(SAMPLE // width, BLOCK), : SAMPLE // BLOCK].astype(np.float32)
    count = max(SAMPLE // (ROWS * min(width, SAMPLE // ROWS)), 1)
    starts = np.linspace(0, height - ROWS, count).astype(int) // BLOCK * BLOCK
    return np.stack([pixels[start : start + ROWS, : SAMPLE // ROWS] for start in starts]).astype(np.float32)


def jpeg_quality(sample: np.ndarray) -> int | None:
    """The quality of the JPEG file that an image was in, by the steps of its blocks' coefficients; None: no traces.

    sample: (n, rows, columns, C), white = 1.
    """
    gray = sample @ np.float32([76.245, 149.685, 29.07]) if sample.shape[3] == 3 else 255 * sample[:, :, :, 0]
    if min(gray.shape[1:]) < 2 * BLOCK:
        return None
    fits = [
        (_fit(coefficients, quality), quality)
        for top, left in {(0, 0), (_grid(gray, 1), _grid(gray, 2))}
        for coefficients in [_coefficients(gray[:, top:, left:])]
        for quality in QUALITIES
    ]
    best, quality = max(fits)
    return quality if best > 0.5 else None


def _coefficients(gray: np.ndarray) -> np.ndarray:
    """The cosine transforms (n, 8, 8) of the blocks with the largest differences, `COMPARED` at most."""
    squares = blocks(gray[..., None])[..., 0].transpose(0, 1, 3, 2, 4).reshape(-1, BLOCK, BLOCK)
    squares = squares[np.argsort(squares.var(axis=(1, 2)))[-COMPARED:]]
    frequency, place = np.mgrid[:BLOCK, :BLOCK]
    basis = np.cos(np.pi * (2 * place + 1) * frequency / (2 * BLOCK)) / 2
    basis[0] /= np.sqrt(2)
    basis = basis.astype(np.float32)
    return basis @ squares @ basis.T


def _fit(coefficients: np.ndarray, quality: int) -> float:
    """How well coefficients are multiples of a table's steps: 1 if all are, about 0 if unrelated."""
    steps = luminance_table(quality)[COMPARED_PLACES]
    values = coefficients[:, *COMPARED_PLACES]
    used = (np.abs(values) > steps / 2) & (steps >= FINEST_STEP)
    if used.sum() < 30:
        return 0.0
    return float(np.cos((2 * np.pi * values / steps)[used]).mean())


def _grid(gray: np.ndarray, axis: int) -> int:
    """Where the first block begins along an axis: the place, of 8, with the largest differences across it."""
    steps = np.abs(np.diff(gray, axis=axis))
    difference = np.minimum(steps, 2 * steps.mean()).mean(axis=tuple({0, 1, 2} - {axis}))  # edges of objects count less
    curve = np.convolve(difference, [-0.5, 1, -0.5], mode="same")
    whole = curve[: len(curve) // BLOCK * BLOCK].reshape(-1, BLOCK).mean(axis=0)
    return (int(whole.argmax()) + 1) % BLOCK
