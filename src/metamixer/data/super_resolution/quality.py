"""PSNR and SSIM of a restored image, computed as in the literature: on luma only, without the border."""

import numpy as np
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

WINDOW = 11
"""Side in pixels of SSIM's Gaussian window."""


def least_side(border: int) -> int:
    """The minimum side of an image in pixels for both metrics."""
    return WINDOW + 2 * border


def luma(image: np.ndarray) -> np.ndarray:
    """image: (H, W) gray, (H, W, 1) or (H, W, 3) RGB, uint8 -> (H, W) float64.

    RGB becomes Y of YCbCr (BT.601, studio range, 16 to 235); gray is unchanged: 1.32 dB below tools that read it as
    RGB.
    """
    if image.ndim == 2 or image.shape[2] == 1:
        return image.reshape(image.shape[:2]).astype(np.float64)
    return 16 + image.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255


def psnr(restored: np.ndarray, original: np.ndarray, *, border: int) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 images on Y, without `border` pixels; inf for equal images."""
    error = np.mean((_inner(restored, border) - _inner(original, border)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssim(restored: np.ndarray, original: np.ndarray, *, border: int) -> float:
    """Structural similarity of two uint8 images on Y (Wang et al. 2004: Gaussian window of 11 pixels, std 1.5)."""
    pair = (torch.from_numpy(_inner(image, border))[None, None] for image in (restored, original))
    return structural_similarity_index_measure(*pair, sigma=1.5, kernel_size=WINDOW, data_range=255.0).item()


def _inner(image: np.ndarray, border: int) -> np.ndarray:
    brightness = luma(image)
    return brightness[border : brightness.shape[0] - border, border : brightness.shape[1] - border]


def to_pixels(image: torch.Tensor) -> np.ndarray:
    """image: (C, H, W) in about [0, 1] -> (H, W, C) uint8, rounded and clipped."""
    return (image.permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
