"""Images in any accepted form: a path, a URL, a Pillow image, an array, a tensor, a folder, or a list of these."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ...errors import InputError
from ...system.web import fetch, is_url
from ..given import each_of
from .decoding import decoding
from .lossless import PictureFile
from .reading import Picture, images_below

EXPECTED = "a path, a URL, a Pillow image, an array (height, width, 3) or a tensor (3, height, width)"
CHANNELS = (1, 3, 4)


def pictures_of(given: Any) -> Picture | list[Picture]:
    """A path or Pillow image; a list of them for a folder, a batch of pixels, or several inputs.

    Raises InputError for other types and for no images.
    """
    if isinstance(given, Image.Image):
        return given
    if isinstance(given, str | os.PathLike):
        return named_pictures(given)
    if isinstance(given, np.ndarray | Tensor):
        pixels = as_array(given)
        return [picture_of(image) for image in pixels] if pixels.ndim == 4 else picture_of(pixels)
    return each_of(given, pictures_of, what="image", expected=EXPECTED)


def named_pictures(given: str | os.PathLike) -> Picture | list[Picture]:
    """The image of a path or URL, or the images of a folder."""
    if is_url(given):
        return fetch_picture(str(given))
    path = Path(given)
    return list(images_below(path)) if path.is_dir() else path


def fetch_picture(url: str) -> Image.Image:
    """The image at a URL; its `filename` is the URL."""
    content = fetch(url)
    with decoding(url):
        picture = Image.open(io.BytesIO(content))
        picture.load()
    picture.filename = url
    return picture


def name_of(picture: Picture) -> str:
    """The name of an image in messages and results."""
    return getattr(picture, "filename", "") or "image" if isinstance(picture, Image.Image) else str(picture)


def as_array(pixels: np.ndarray | Tensor) -> np.ndarray:
    """Pixels as an array with channels last; tensors have the layout (..., channels, height, width)."""
    if isinstance(pixels, np.ndarray):
        return np.asarray(pixels)
    pixels = pixels.detach().cpu()
    pixels = pixels.float() if pixels.is_floating_point() else pixels  # NumPy doesn't support bfloat16
    return np.asarray(pixels.movedim(-3, -1).numpy() if pixels.ndim > 2 else pixels.numpy())


def picture_of(pixels: np.ndarray) -> Image.Image:
    """A Pillow image of an array (H, W) or (H, W, 1, 3 or 4): uint8, uint16, bool, or floating point from 0 to 1."""
    _expect_image(pixels)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    elif np.issubdtype(pixels.dtype, np.floating):
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            low, high = pixels.min(), pixels.max()
            raise InputError(f"image with values from {low:g} to {high:g}, expected 0 to 1 in floating point, or uint8")
        pixels = (pixels * 255).round().astype(np.uint8)
    elif pixels.dtype != np.uint8:
        raise InputError(f"image of type {pixels.dtype}, expected uint8, uint16 or floating point")
    gray = pixels.ndim == 3 and pixels.shape[2] == 1
    return Image.fromarray(pixels[:, :, 0] if gray else np.ascontiguousarray(pixels))


def deep_file_of(pixels: np.ndarray) -> PictureFile:
    """The PNG file of 16 bits of an array (H, W) or (H, W, 1, 3 or 4) of uint16."""
    _expect_image(pixels)
    return PictureFile.of(pixels.astype(np.uint16, copy=False), format="PNG")


def _expect_image(pixels: np.ndarray) -> None:
    shape = pixels.shape
    if pixels.ndim not in (2, 3) or 0 in shape or (pixels.ndim == 3 and shape[2] not in CHANNELS):
        raise InputError(f"image of shape {list(shape)}, expected (height, width) or (height, width, 3), channels last")
