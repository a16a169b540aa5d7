"""Small folders of every kind that `metamixer train` takes; tables are in `tables.py`."""

import json

import numpy as np
from PIL import Image

RANDOM = np.random.RandomState(0)


def picture(side=100, colour=(200, 60, 40)):
    """A square image of a noisy color."""
    noise = RANDOM.randint(-30, 30, (side, side, 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def write_classes(root, names=("blue", "red"), count=5, side=100):
    """A folder of images for each class."""
    for i, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture(side, (200 * i, 60, 220 - 200 * i)).save(root / name / f"{number}.png")
    return root


def write_coco(root, count=5):
    """Images with a COCO file of one object each."""
    (root / "images").mkdir(parents=True)
    for i in range(count):
        picture(64).save(root / "images" / f"{i}.png")
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 64} for i in range(count)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 7, "bbox": [4, 4, 30, 30], "area": 900, "iscrowd": 0}
            | {"segmentation": [[4, 4, 34, 4, 34, 34, 4, 34]]}
            for i in range(count)
        ],
        "categories": [{"id": 7, "name": "tile"}],
    }
    (root / "all.json").write_text(json.dumps(content))
    return root


def write_masks(root, count=5):
    """Images with masks of the values 0 and 3."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i in range(count):
        picture(64).save(root / "images" / f"{i}.jpg")
        Image.fromarray(np.eye(64, dtype=np.uint8) * 3).save(root / "masks" / f"{i}.png")
    return root


def write_large(root, count=4):
    """Images that are large enough for super-resolution."""
    root.mkdir()
    for i in range(count):
        picture(100).save(root / f"{i}.png")
    return root


def write_clouds(root, count=3, **attributes):
    """Clouds of 50 points in two classes; attributes: of every point, by name."""
    root.mkdir()
    for i in range(count):
        points = RANDOM.rand(50, 3)
        more = {name: np.array([value] * 50, np.float32) for name, value in attributes.items()}
        np.savez(root / f"{i}.npz", coord=points, segment=(points[:, 2] > 0.5).astype(int), **more)
    return root
