"""Pictures of labeled clouds: from above and from the side, with a legend."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .legend import distinct_colours, legend

WIDTH = 1200
MARGIN = 16
ROW = 22
BACKGROUND = (255, 255, 255)


def draw_cloud(coordinates: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """coordinates: (N, 3); labels: (N,) indices of `classes`. The legend lists present classes, most frequent first."""
    colours = distinct_colours(len(classes))
    palette = np.array(colours, dtype=np.uint8)
    counts = np.bincount(labels, minlength=len(classes))
    shown = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
    top = project(coordinates[:, [0, 1, 2]], labels, palette)
    side = project(coordinates[:, [0, 2, 1]] * (1, 1, -1), labels, palette)
    names = legend(
        [(f"{classes[label]} {counts[label] / len(labels):.1%}", colours[label]) for label in shown], width=WIDTH
    )
    sheet = Image.new("RGB", (WIDTH, top.height + side.height + names.height + 3 * MARGIN + 2 * ROW), BACKGROUND)
    draw, font, y = ImageDraw.Draw(sheet), ImageFont.load_default(14), MARGIN
    for title, view in (("from above", top), ("from the side", side)):
        draw.text((MARGIN, y), title, fill="black", font=font)
        sheet.paste(view, ((WIDTH - view.width) // 2, y + ROW))
        y += view.height + ROW + MARGIN
    sheet.paste(names, (0, y))
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
    down, right = np.indices((side, side)).reshape(2, 1, -1)
    rows = np.clip(shape[0] - 1 - rows[:, None] + down, 0, shape[0] - 1)
    columns = np.clip(columns[:, None] + right, 0, shape[1] - 1)
    pixels = np.full((*shape, 3), BACKGROUND, dtype=np.uint8)
    # All pixels of a point before those of the next, nearer one: the last of several colors stays.
    pixels[rows.ravel(), columns.ravel()] = np.repeat(palette[labels[order]], side**2, axis=0)
    return Image.fromarray(pixels)
