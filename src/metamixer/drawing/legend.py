"""Colors of classes, and legends."""

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]


@lru_cache
def distinct_colours(count: int) -> list[Colour]:
    """Colors for classes without one, each as far as it can be from those before and from white."""
    tones = product(np.arange(36) / 36, (0.45, 0.75, 1.0), (0.35, 0.6, 0.8, 0.95))
    candidates = np.array([colorsys.hsv_to_rgb(*tone) for tone in tones])
    nearest = _distance(candidates, np.ones(3))
    chosen: list[int] = []
    for _ in range(count):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, _distance(candidates, candidates[chosen[-1]]))
    return [tuple(color) for color in np.round(candidates[chosen].reshape(-1, 3) * 255).astype(int).tolist()]


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How different colours look, by the weights that red, green and blue have in brightness and hue ("redmean")."""
    red, green, blue = np.moveaxis((one - other) ** 2, -1, 0)
    mean = (one[..., 0] + other[..., 0]) / 2
    return np.sqrt((2 + mean) * red + 4 * green + (3 - mean) * blue)


def legend(entries: Sequence[tuple[str, Colour]], *, width: int | None = None, size: int = 14) -> Image.Image:
    """Colors with their names, in one column or in as many as fit into `width` pixels."""
    font = ImageFont.load_default(size)
    line = round(size * 1.5)
    column = max(round(font.getlength(text)) for text, _ in entries) + 2 * line
    columns = 1 if width is None else max(width // column, 1)
    rows = -(-len(entries) // columns)
    picture = Image.new("RGB", (width or column, line * rows + line), "white")
    pen = ImageDraw.Draw(picture)
    for i, (text, colour) in enumerate(entries):
        left, top = i % columns * column + line // 2, i // columns * line + line // 2
        pen.rectangle((left, top + 2, left + size, top + 2 + size), fill=colour, outline="black")
        pen.text((left + size + 6, top), text, font=font, fill="black")
    return picture


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two images side by side on white."""
    picture = Image.new("RGB", (left.width + right.width, max(left.height, right.height)), "white")
    picture.paste(left, (0, 0))
    picture.paste(right, (left.width, 0))
    return picture


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Images below each other on white."""
    sheet = Image.new("RGB", (max(each.width for each in pictures), sum(each.height for each in pictures)), "white")
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet
