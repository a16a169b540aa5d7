"""Train a detector on small tables that this file draws, and find the objects on one that it has not seen.

    python examples/find_objects.py --out runs/table.jpg --minutes 6

Needs no download. Coins, buttons, leaves and screws lie on wood, in all sizes, colors and directions.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter

import metamixer
from metamixer.data.detection.coco import CocoImages
from metamixer.data.detection.coco_json import read_coco
from metamixer.system.files import write_picture
from metamixer.tasks.detection import average_precision, coco_numbers

WIDTH, HEIGHT = 768, 512
FINE = 2  # pixels drawn per pixel of the image, for smooth edges
ANGLES = np.linspace(0, 2 * np.pi, 48, endpoint=False)
CIRCLE = np.c_[np.cos(ANGLES), np.sin(ANGLES)]
COLORS = {
    "coin": [(205, 165, 80), (185, 105, 70), (190, 192, 195)],
    "button": [(180, 50, 50), (50, 95, 165), (235, 230, 215), (60, 60, 65), (60, 130, 110)],
    "leaf": [(95, 140, 55), (150, 160, 60), (200, 120, 40), (165, 60, 40)],
    "screw": [(170, 172, 178), (135, 135, 140), (200, 175, 110)],
}
CLASSES = list(COLORS)
Layers = list[tuple[np.ndarray, float]]
"""Polygons in units of the object's radius, from bottom to top, and their brightness; the first is the outline."""


def coin() -> Layers:
    rings = [(1, 0.75), (0.95, 1.15), (0.82, 0.8), (0.79, 1.0)]
    stripes = [(np.array([(-0.2, y), (0.2, y), (0.2, y + 0.14), (-0.2, y + 0.14)]), 0.75) for y in (-0.45, 0.3)]
    post = np.array([(-0.08, -0.45), (0.08, -0.45), (0.08, 0.44), (-0.08, 0.44)])
    return [(CIRCLE * radius, shade) for radius, shade in rings] + [*stripes, (post, 0.75)]


def button() -> Layers:
    holes = [(CIRCLE * 0.13 + np.array(place) * 0.24, 0.25) for place in product((-1, 1), (-1, 1))]
    return [(CIRCLE * radius, shade) for radius, shade in [(1, 0.85), (0.93, 1.2), (0.72, 0.8), (0.68, 1.0)]] + holes


def leaf() -> Layers:
    x = np.linspace(-0.8, 1, 30)
    y = 0.62 * np.sin(np.pi * (x + 0.8) / 1.8) ** 0.8 * (1 - 0.35 * x) * (1 + 0.06 * (np.arange(30) % 2))
    stem = [(-1.1, 0.03), (-1.1, -0.03)]
    outline = np.concatenate([np.c_[x, y], np.c_[x, -y][::-1], stem[::-1]])
    half, rib = np.c_[x, y * 0.96], np.array([*stem, (0.9, 0)])
    starts = product((-0.5, -0.2, 0.1, 0.4), (-0.33, 0.33))
    veins = [(np.array([(at, 0), (at + 0.3, end), (at + 0.05, 0)]), 1.3) for at, end in starts]
    return [(outline, 0.9), (half, 1.08), *veins, (rib, 1.4)]


def screw() -> Layers:
    x = np.linspace(-0.7, 0.75, 30)
    y = 0.12 + 0.05 * (np.arange(30) % 2)
    head = [(-0.7, 0.14), (-0.95, 0.36), (-1.05, 0.36), (-1.05, -0.36), (-0.95, -0.36), (-0.7, -0.14)]
    outline = np.concatenate([head[3:], np.c_[x, -y], [(1.05, 0)], np.c_[x, y][::-1], head[:3]])
    threads = [(np.array([(a, 0.17), (a - 0.08, -0.17), (a - 0.05, -0.17), (a + 0.03, 0.17)]), 0.6) for a in x[3::3]]
    shine = np.array([(-0.6, -0.06), (0.7, -0.05), (0.7, 0.0), (-0.6, 0.0)])
    return [(outline, 0.9), (np.array(head), 1.1), (shine, 1.35), *threads]


SHAPES = {"coin": coin, "button": button, "leaf": leaf, "screw": screw}


class Table:
    """A table with objects; every seed is another."""

    def __init__(self, seed: int):
        self.random = np.random.default_rng(seed)
        self.pixels = self.wood()
        self.objects: list[tuple[str, np.ndarray]] = []  # class and outline
        places: list[tuple[np.ndarray, float]] = []
        for radius in self.random.uniform(35, 80, 30):
            place = self.random.uniform(0.9 * radius, np.array([WIDTH, HEIGHT]) - 0.9 * radius)
            if len(places) < 11 and all(np.hypot(*(place - at)) > 0.8 * (radius + size) for at, size in places):
                places.append((place, radius))
                self.lay(self.random.choice(CLASSES), place, radius)
        self.image = Image.fromarray(self.pixels.clip(0, 255).astype(np.uint8)).reduce(FINE)

    def wood(self) -> np.ndarray:
        rough = self.random.normal(0, 1, (HEIGHT // 2, 5)).cumsum(axis=1).astype(np.float32)
        grain = np.asarray(Image.fromarray(rough).resize((WIDTH * FINE, HEIGHT * FINE), Image.Resampling.BICUBIC))
        color = self.random.choice([(205, 165, 120), (150, 105, 70), (110, 78, 58), (190, 180, 165)])
        return color * (1 + 0.03 * grain + self.random.normal(0, 0.03, grain.shape))[..., None]

    def lay(self, name: str, place: np.ndarray, radius: float) -> None:
        """Draw an object and its shadow."""
        angle, stretch = self.random.uniform(0, 2 * np.pi), self.random.uniform(0.9, 1.1)
        turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
        layers = [(points * (1, stretch) @ turn * radius + place, shade) for points, shade in SHAPES[name]()]
        self.objects.append((name, layers[0][0].clip(0, (WIDTH, HEIGHT))))
        color = self.random.choice(COLORS[name]) * self.random.uniform(0.85, 1.1)
        corner = np.maximum(place - 1.6 * radius, 0).astype(int)
        left, top, right, bottom = np.r_[corner, corner + int(3.2 * radius)] * FINE
        window = self.pixels[top:bottom, left:right]  # where the object lies: a view
        shadow = filled(layers[0][0] - corner + 7, window).filter(ImageFilter.GaussianBlur(6 * FINE))
        window *= 1 - 0.55 * np.asarray(shadow)[..., None] / 255
        y, x = np.indices(window.shape[:2]) / FINE
        light = 1 - 0.18 * (x + y - (place - corner).sum()) / radius  # from the upper left
        for points, shade in layers:
            inside = np.asarray(filled(points - corner, window)) > 0
            window[inside] = np.outer(light[inside], color * shade)


def filled(points: np.ndarray, window: np.ndarray) -> Image.Image:
    """White where the polygon is in the window."""
    mask = Image.new("L", window.shape[1::-1])
    ImageDraw.Draw(mask).polygon((points * FINE).ravel().tolist(), fill=255)
    return mask


def write_coco(folder: Path, seeds: Iterable[int]) -> Path:
    """Write the tables of the seeds and a COCO file of their objects."""
    folder.mkdir(parents=True)
    images, objects = [], []
    for seed in seeds:
        table, name = Table(seed), f"{seed}.jpg"
        write_picture(folder / name, table.image)
        images.append({"id": seed, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for kind, outline in table.objects:
            low, high = outline.min(axis=0), outline.max(axis=0)
            place = {"bbox": [*low, *(high - low)], "area": np.prod(high - low), "segmentation": [[*outline.ravel()]]}
            numbers = {"id": len(objects) + 1, "image_id": seed, "category_id": CLASSES.index(kind) + 1}
            objects.append({**numbers, **place, "iscrowd": 0})
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    (folder / "coco.json").write_text(json.dumps({"images": images, "annotations": objects, "categories": categories}))
    return folder


def measure(detector: metamixer.Detector, folder: Path) -> dict[str, torch.Tensor]:
    """COCO's metrics of a detector on a folder."""
    images = CocoImages(read_coco(folder / "coco.json", folder).images, preprocessing=detector.preprocessing)
    precision = average_precision()
    for image, (_, target) in zip(images.images, images, strict=True):
        precision.update([detector(image.path)], [{**target, "masks": target["masks"].bool()}])
    return coco_numbers(precision.compute())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/table.jpg"), help="file for the picture")
    parser.add_argument("--images", type=int, default=60, help="number of tables to train and validate on")
    parser.add_argument("--minutes", type=float, default=6, help="length of the training")
    parser.add_argument("--epochs", type=int, help="length of the training in epochs, instead of minutes")
    parser.add_argument("--unseen", type=int, default=20, help="number of other tables to measure on")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tables = write_coco(Path(folder, "tables"), range(options.images))
        unseen = write_coco(Path(folder, "unseen"), range(10_000, 10_000 + options.unseen))
        run = metamixer.train(tables, out=Path(folder, "run"), minutes=options.minutes, epochs=options.epochs)
        figures = measure(run.predictor, unseen)
        write_picture(options.out, run.predictor(unseen / "10000.jpg", score_threshold=0.5).draw())
    boxes, masks = (float(figures[name]) for name in ("box_ap50", "mask_ap50"))
    print(f"AP50 of boxes {boxes:.2f}, of masks {masks:.2f} on {options.unseen} unseen tables: {options.out}")


if __name__ == "__main__":
    main()
