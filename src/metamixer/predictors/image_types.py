"""Images of every type: their pixels changed by one function, in an image of the same type."""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.images.lossless import PictureFile, kept_mode, metadata_of
from ..data.images.transparency import extend_color
from ..errors import InputError

Change = Callable[[np.ndarray], np.ndarray]
"""(H, W, 1 or 3) -> (scale * H, scale * W, 1 or 3), of the same type."""

FULL = {"uint8": 255, "uint16": 65535}
"""The value of white in integer types; in floating point it is 1."""

COLOUR_MODES = ("L", "RGB", "I;16")
"""Pillow's modes that a network takes directly; LA and RGBA are one of them plus alpha."""


BANDS = (1, 3, 4)
"""Channels of arrays and tensors: gray, color, or color and alpha."""


def changed_tensor(image: Tensor, change: Change, *, scale: int) -> Tensor:
    """image: (3, H, W), (1, H, W), or with alpha (4, H, W)."""
    if not image.numel():
        raise InputError(f"tensor of shape {list(image.shape)}, expected pixels in it")
    if image.dtype == torch.bfloat16:  # which NumPy doesn't support
        return changed_tensor(image.float(), change, scale=scale).to(image.dtype)
    if image.ndim != 3 or image.shape[0] not in BANDS:
        raise InputError(
            f"tensor of shape {list(image.shape)}, expected (3, height, width) or (batch, 3, height, width)"
        )
    pixels = changed_array(image.detach().cpu().permute(1, 2, 0).numpy(), change, scale=scale)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().to(image.device)


def changed_array(image: np.ndarray, change: Change, *, scale: int) -> np.ndarray:
    """image: (H, W), (H, W, 1), (H, W, 3), or with alpha (H, W, 4)."""
    if image.ndim == 2:
        return change(image[:, :, None])[:, :, 0]
    if image.ndim != 3 or image.shape[2] != 4 or not image.size:
        return change(image)
    check_pixels(image[:, :, -1:], limit=1)
    color, alpha = image[:, :, :-1], image[:, :, -1]
    return np.dstack([change(extend_color(color, alpha)), enlarge_alpha(alpha, scale)])


def changed_file(file: PictureFile, change: Change, *, scale: int) -> PictureFile:
    """Change a file's color, and resize its transparency; everything else is unchanged."""
    if file.alpha is None:
        return file.with_pixels(change(file.colour), None)
    return file.with_pixels(change(extend_color(file.colour, file.alpha)), enlarge_alpha(file.alpha, scale))


def changed_picture(image: Image.Image, change: Change, *, scale: int) -> Image.Image:
    """Change the color of a Pillow image, and resize its alpha; keep its metadata, and its mode but for a palette."""
    changed = _changed_bands(image.convert(kept_mode(image)), change, scale=scale)
    changed.info.update(metadata_of(image))
    return changed


def _changed_bands(image: Image.Image, change: Change, *, scale: int) -> Image.Image:
    if image.mode in ("LA", "RGBA"):
        pixels = np.asarray(image)
        alpha = pixels[:, :, -1]
        extended = extend_color(pixels[:, :, :-1], alpha)
        opaque = Image.fromarray(extended[:, :, 0] if extended.shape[2] == 1 else extended)
        colour = _changed_bands(opaque, change, scale=scale)
        colour.putalpha(Image.fromarray(enlarge_alpha(alpha, scale)))
        return colour
    if image.mode not in COLOUR_MODES:
        raise InputError(f"image mode {image.mode!r}, expected L, LA, RGB, RGBA, P or I;16")
    pixels = np.asarray(image)
    changed = change(pixels.reshape(*pixels.shape[:2], -1))
    return Image.fromarray(changed[:, :, 0] if changed.shape[2] == 1 else changed)


def check_pixels(pixels: np.ndarray, *, limit: float) -> None:
    """Raise InputError unless the array is a valid image; limit: of the absolute values in floating point."""
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise InputError(f"image of shape {list(pixels.shape)}, expected (height, width, 1, 3 or 4) with pixels in it")
    if pixels.dtype.name not in FULL and not np.issubdtype(pixels.dtype, np.floating):
        raise InputError(f"image of type {pixels.dtype}, expected uint8, uint16 or floating point")
    if np.issubdtype(pixels.dtype, np.floating):
        if not np.isfinite(pixels).all():
            raise InputError("image with NaN or infinite values, expected values in [0, 1]")
        if np.abs(pixels).max() > limit:
            raise InputError(f"image with values from {pixels.min():g} to {pixels.max():g}, expected values in [0, 1]")


def as_network_input(pixels: np.ndarray, channels: int = 3) -> Tensor:
    """(H, W, 1 or 3) -> (B, channels, H, W) float32, white = 1; the colors are a batch for a network of one channel."""
    image = torch.from_numpy(pixels.astype(np.float32) / FULL.get(pixels.dtype.name, 1)).permute(2, 0, 1)
    batch = image[:, None] if channels == 1 else image.expand(channels, -1, -1)[None]
    return batch.contiguous(memory_format=torch.channels_last)


def as_pixels(image: Tensor, dtype: np.dtype) -> np.ndarray:
    """(C, H, W), white = 1 -> (H, W, C) of `dtype`; integers are rounded and clipped, floating point isn't."""
    pixels = image.permute(1, 2, 0).numpy()
    full = FULL.get(dtype.name)
    return (pixels * full).round().clip(0, full).astype(dtype) if full else pixels.astype(dtype)


def enlarge_alpha(alpha: np.ndarray, scale: int) -> np.ndarray:
    """alpha: (H, W) -> (scale * H, scale * W) of the same type, by bicubic: the networks aren't trained on alpha."""
    height, width = alpha.shape
    smooth = Image.fromarray(alpha.astype(np.float32)).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    full = FULL.get(alpha.dtype.name)
    return (np.asarray(smooth).round().clip(0, full) if full else np.asarray(smooth).clip(0, 1)).astype(alpha.dtype)
