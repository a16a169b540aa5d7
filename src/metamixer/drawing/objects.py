"""Images with objects drawn in: masks, boxes and text labels."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .legend import distinct_colours

OPACITY = 0.45
"""Opacity of a mask."""

LIGHT = 140
"""Minimum brightness of a label's background for black text."""


def draw_objects(
    image: Image.Image, *, boxes: np.ndarray, masks: np.ndarray, labels: Sequence[int], texts: Sequence[str]
) -> Image.Image:
    """image: RGB; boxes: (N, 4) corners in pixels; masks: (N, H, W) bool; labels: class
    indices, which determine the colors; texts: of the labels. The first object is drawn on top.
    """
    pixels = np.asarray(image).copy()
    palette = distinct_colours(max(labels, default=-1) + 1)
    colours = [palette[label] for label in labels]
    for mask, colour in reversed([*zip(masks, colours, strict=True)]):
        pixels[mask] = ((1 - OPACITY) * pixels[mask] + OPACITY * np.array(colour)).astype(np.uint8)
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    size = min(max(round(min(image.size) / 40), 11), 28)
    font = ImageFont.load_default(size)
    width = max(round(size / 6), 2)
    for box, colour in reversed([*zip(boxes.tolist(), colours, strict=True)]):
        left, top, right, bottom = box
        pen.rectangle((left, top, max(right, left), max(bottom, top)), outline=colour, width=width)
    for box, colour, text in reversed([*zip(boxes.tolist(), colours, texts, strict=True)]):
        _plate(pen, text, box, colour, font=font, size=image.size)
    return image


def _plate(pen: ImageDraw.ImageDraw, text: str, box: Sequence[float], colour, *, font, size: tuple[int, int]) -> None:
    """Text on a background of the object's color, above the box if there is room, else inside."""
    _, _, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right + 6, bottom + 4
    x = min(max(box[0], 0), max(size[0] - width, 0))
    y = box[1] - height if box[1] >= height else box[1]
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    ink = "black" if np.dot(colour, (0.299, 0.587, 0.114)) > LIGHT else "white"
    pen.text((x + 3, y + 1), text, font=font, fill=ink)
