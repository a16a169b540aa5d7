"""A small COCO data set of drawn boxes, discs and triangles, as polygons, run lengths and a crowd; a small detector."""

import json
import math
from pathlib import Path

from PIL import Image, ImageDraw

from metamixer.data import DetectionPreprocessing

CATEGORIES = [{"id": 3, "name": "box"}, {"id": 7, "name": "disc"}, {"id": 20, "name": "triangle"}]
COLOURS = {3: "crimson", 7: "royalblue", 20: "gold"}

NARROW = {
    "backbone_args": {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64), "stem_dim": 8},
    "channels": 16,
    "hidden_dim": 32,
}
"""Arguments of a small detector."""
PREPROCESSING = DetectionPreprocessing(short_side=64, long_side=96)


def outline(category: int, x: float, y: float, side: float) -> list[float]:
    """The polygon of a shape with a bounding box of `side` by `side` pixels."""
    if category == 3:
        points = [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]
    elif category == 20:
        points = [(x + side / 2, y), (x + side, y + side), (x, y + side)]
    else:
        angles = [2 * math.pi * i / 24 for i in range(24)]
        points = [(x + side / 2 * (1 + math.cos(angle)), y + side / 2 * (1 + math.sin(angle))) for angle in angles]
    return [coordinate for point in points for coordinate in point]


def content(count: int = 4, size: tuple[int, int] = (64, 96)) -> dict:
    """The json: two objects per image. The last image has none, the first also has a crowd as run lengths."""
    height, width = size
    images = [{"id": 10 + i, "file_name": f"{i:012d}.png", "width": width, "height": height} for i in range(count)]
    annotations = []
    for i, image in enumerate(images[:-1]):
        for j in range(2):
            category, side = CATEGORIES[(i + j) % 3]["id"], 24 + 6 * j
            x, y = 6 + 40 * j + 3 * i, 8 + 5 * i
            annotations.append(
                {
                    "id": 100 + 2 * i + j,
                    "image_id": image["id"],
                    "category_id": category,
                    "bbox": [x, y, side, side],
                    "area": side * side * (0.5 if category == 20 else 0.785 if category == 7 else 1.0),
                    "iscrowd": 0,
                    "segmentation": [outline(category, x, y, side)],
                }
            )
    # COCO's run lengths are column-major: all of the last ten columns.
    crowd = {"size": [height, width], "counts": [height * (width - 10), height * 10]}
    box = [width - 10, 0, 10, height]
    crowded = {
        "id": 99,
        "image_id": 10,
        "category_id": 3,
        "bbox": box,
        "area": 10.0 * height,
        "iscrowd": 1,
        "segmentation": crowd,
    }
    return {"images": images, "annotations": [*annotations, crowded], "categories": CATEGORIES}


def write(folder: Path, told: dict | None = None) -> Path:
    """Write images to folder/images and folder/objects.json; return the path of the json."""
    told = told or content()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for image in told["images"]:
        picture = Image.new("RGB", (image["width"], image["height"]), "darkslategray")
        draw = ImageDraw.Draw(picture)
        for annotation in told["annotations"]:
            if annotation["image_id"] == image["id"] and isinstance(annotation["segmentation"], list):
                draw.polygon(annotation["segmentation"][0], fill=COLOURS[annotation["category_id"]])
        picture.save(folder / "images" / image["file_name"])
    path = folder / "objects.json"
    path.write_text(json.dumps(told))
    return path


def files() -> dict[str, str]:
    """The paths that `write` uses, as arguments of CocoData."""
    return {
        f"{split}_{what}": name
        for split in ("train", "val")
        for what, name in (("images", "images"), ("annotations", "objects.json"))
    }
