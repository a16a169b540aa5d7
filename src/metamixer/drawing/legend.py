"""Colours of classes, and a picture's legend."""

import colorsys
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

GOLDEN_RATIO = 0.618034

Colour = tuple[int, int, int]


def distinct_colours(count: int) -> list[Colour]:
    """Colours for classes that have none: neighbours in number are far apart in hue and differ in brightness."""
    tones = (
        colorsys.hsv_to_rgb(i * GOLDEN_RATIO % 1, 0.85 if i % 3 else 0.5, (0.9, 0.65, 0.45)[i % 3])
        for i in range(count)
    )
    return [tuple(round(255 * part) for part in tone) for tone in tones]


def legend(entries: Sequence[tuple[str, Colour]], *, width: int | None = None, size: int = 14) -> Image.Image:
    """Colours with their names: in one column, or in as many as `width` pixels hold."""
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
    """Two pictures side by side on white."""
    picture = Image.new("RGB", (left.width + right.width, max(left.height, right.height)), "white")
    picture.paste(left, (0, 0))
    picture.paste(right, (left.width, 0))
    return picture
