"""Colors of classes, and legends."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

GOLDEN_RATIO = 0.618034


def legend(entries: Sequence[tuple[str, tuple[int, int, int]]], *, size: int = 14) -> Image.Image:
    """A column of colors with their names."""
    font = ImageFont.load_default(size)
    line = round(size * 1.5)
    width = max(round(font.getlength(text)) for text, _ in entries) + 2 * line
    picture = Image.new("RGB", (width, line * len(entries) + line), "white")
    pen = ImageDraw.Draw(picture)
    for i, (text, colour) in enumerate(entries):
        top = line * i + line // 2
        pen.rectangle((line // 2, top + 2, line // 2 + size, top + 2 + size), fill=colour, outline="black")
        pen.text((line // 2 + size + 6, top), text, font=font, fill="black")
    return picture


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two images side by side on white."""
    picture = Image.new("RGB", (left.width + right.width, max(left.height, right.height)), "white")
    picture.paste(left, (0, 0))
    picture.paste(right, (left.width, 0))
    return picture


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures one below the other on white."""
    sheet = Image.new("RGB", (max(each.width for each in pictures), sum(each.height for each in pictures)), "white")
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def distinct_colour(label: int) -> tuple[int, int, int]:
    """A color for a class without one; consecutive labels differ strongly in hue."""
    hue = int(255 * (label * GOLDEN_RATIO % 1))
    return Image.new("HSV", (1, 1), (hue, 180, 220)).convert("RGB").getpixel((0, 0))
