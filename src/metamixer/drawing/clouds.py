"""Pictures of labeled clouds: from above and from the side, with a legend."""

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH = 1200
MARGIN = 16
ROW = 22
BACKGROUND = (255, 255, 255)


@lru_cache
def colours(count: int) -> np.ndarray:
    """(count, 3) uint8 colours, each as far as it can be from those before and from the background."""
    tones = product(np.arange(36) / 36, (0.45, 0.75, 1.0), (0.35, 0.6, 0.8, 0.95))
    candidates = np.array([colorsys.hsv_to_rgb(*tone) for tone in tones])
    nearest = _distance(candidates, np.array(BACKGROUND) / 255)
    chosen: list[int] = []
    for _ in range(count):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, _distance(candidates, candidates[chosen[-1]]))
    return np.round(candidates[chosen].reshape(-1, 3) * 255).astype(np.uint8)


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How different colours look, by the weights that red, green and blue have in brightness and hue ("redmean")."""
    red, green, blue = np.moveaxis((one - other) ** 2, -1, 0)
    mean = (one[..., 0] + other[..., 0]) / 2
    return np.sqrt((2 + mean) * red + 4 * green + (3 - mean) * blue)


def draw_cloud(coordinates: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """coordinates: (N, 3); labels: (N,) indices of `classes`. The legend lists present classes, most frequent first."""
    palette = colours(len(classes))
    counts = np.bincount(labels, minlength=len(classes))
    shown = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
    top = project(coordinates[:, [0, 1, 2]], labels, palette)
    side = project(coordinates[:, [0, 2, 1]] * (1, 1, -1), labels, palette)
    columns = max((WIDTH - MARGIN) // 240, 1)
    legend = -(-len(shown) // columns) * ROW + MARGIN
    sheet = Image.new("RGB", (WIDTH, top.height + side.height + legend + 4 * MARGIN + 2 * ROW), BACKGROUND)
    draw, font, y = ImageDraw.Draw(sheet), ImageFont.load_default(14), MARGIN
    for title, view in (("from above", top), ("from the side", side)):
        draw.text((MARGIN, y), title, fill="black", font=font)
        sheet.paste(view, ((WIDTH - view.width) // 2, y + ROW))
        y += view.height + ROW + MARGIN
    for i, label in enumerate(shown):
        x, row = MARGIN + i % columns * 240, y + i // columns * ROW
        draw.rectangle((x, row, x + 14, row + 14), fill=tuple(palette[label].tolist()))
        draw.text((x + 20, row - 1), f"{classes[label]} {counts[label] / len(labels):.1%}", fill="black", font=font)
    return sheet


def project(points: np.ndarray, labels: np.ndarray, palette: np.ndarray) -> Image.Image:
    """points: (N, 3) right, up and towards the viewer; the nearest point of a pixel is visible."""
    low, size = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-9)
    width, height = WIDTH - 2 * MARGIN, 700
    scale = min((width - 1) / size[0], (height - 1) / size[1])
    shape = int(size[1] * scale) + 1, int(size[0] * scale) + 1
    side = max(1, round((shape[0] * shape[1] / len(points)) ** 0.5 * 0.7))
    side = min(side, 4)
    order = np.argsort(points[:, 2], kind="stable")
    columns, rows = ((points[order, :2] - low[:2]) * scale).astype(int).T
    pixels = np.full((*shape, 3), BACKGROUND, dtype=np.uint8)
    for dy in range(side):
        for dx in range(side):
            at = np.clip(shape[0] - 1 - rows + dy, 0, shape[0] - 1), np.clip(columns + dx, 0, shape[1] - 1)
            pixels[at] = palette[labels[order]]
    return Image.fromarray(pixels)
