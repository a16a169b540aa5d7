"""Annotations, lists of classes, descriptions of data, recipes, and what is kept of runs and trials."""

import json
import os
from pathlib import Path
from unittest.mock import patch

import numpy as np
import yaml
from PIL import Image

from metamixer.checkpoints.reached import data_of
from metamixer.data.detection.coco import objects_target, whole_target
from metamixer.data.detection.coco_json import encode_mask, read_coco
from metamixer.data.held_out import read_held_out
from metamixer.data.points.description import read_description
from metamixer.data.segmentation.label_maps import read_classes
from metamixer.deployment.fastest import read_trials
from metamixer.ops.kernels.measured import gpu, read_sizes
from metamixer.predictors.own_data.tuning_run import digest, read_tuning_run
from metamixer.training.horizon import expand_horizon
from metamixer.training.own_data.kinds import understand
from metamixer.training.own_data.tables import reading_of
from metamixer.training.own_data.understood import files_of, read_split
from metamixer.training.recipe_checks import check_recipes
from metamixer.training.run_sheet import load_data

from ..kinds import Kind, each_of

PACKED = encode_mask(np.eye(24, 32))["counts"]
ANNOTATIONS = [
    {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [2, 2, 10, 10],
        "area": 100,
        "iscrowd": 0,
        "segmentation": [[2, 2, 12, 2, 12, 12, 2, 12]],
    },
    {
        "id": 2,
        "image_id": 1,
        "category_id": 2,
        "bbox": [0, 0, 32, 24],
        "area": 100,
        "iscrowd": 1,
        "segmentation": {"size": [24, 32], "counts": [100, 68, 600]},
    },
    {
        "id": 3,
        "image_id": 2,
        "category_id": 2,
        "bbox": [0, 0, 32, 24],
        "segmentation": {"size": [24, 32], "counts": PACKED},
    },
]
IMAGES = [
    {"id": number, "file_name": f"image_{number}.png", "width": 32, "height": 24, "license": 1} for number in (1, 2, 3)
]
CATEGORIES = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
CLASSES = {"classes": [{"name": "a", "colour": [1, 2, 3]}, {"name": "b", "colour": [4, 5, 6]}], "ignore_index": 9}
CLOUDS = {"classes": {1: "a", 2: "b"}, "ignored": [0], "train": ["a.ply"], "val": "b.ply"}
RECIPE = {"model": {"class_path": "Classification"}, "trainer": {"max_epochs": 1}, "data": "DigitsData"}
CONFIG = {"data": {"class_path": "DigitsData", "init_args": {"batch_size": 8, "num_workers": 0}}}
READING = {"missing_values": [-9999.0], "time": "when", "horizon": 12}
SPLIT = {"rows": 300, "train": 240, "validation": 30, "test": 30, "reading": READING}
TUNING = {"table": "1f" * 32, "steps": 60, "seed": 0, "initial": "runs/a/best.safetensors", "reading": READING}
TRIALS = {"a1": {"backend": "onnxruntime", "precision": "fp32"}, "b2": {"backend": "eager", "precision": "fp32"}}

KERNELS = {
    "gpu": gpu(),
    "sizes": [
        {
            "kernel": [7, 7],
            "image": [8, 8],
            "PyTorch": {"windows": 1.5},
            "windows": {name: {"ms": 0.1, "numbers": {"num_warps": 4}} for name in ("convolve", "correlate")},
        }
    ],
}
DATA = {"data": "flowers", "about": "10 images in 2 classes (blue, red), 2 held out for validation"}

HELD_OUT = {"training": ["/data/a.png"], "validation": ["/data/b.png"]}

SPLIT = {"train": ["/data/a.ply", "/data/b.ply"], "val": ["/data/c.ply"], "left_out": []}


def make(folder: Path) -> list[Kind]:
    pictures = folder / "pictures"
    pictures.mkdir()
    for image in IMAGES:
        Image.new("RGB", (image["width"], image["height"])).save(pictures / image["file_name"])
    coco = {"info": {}, "images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES}
    plain = {"coco": coco, "trials": TRIALS, "data": DATA, "kernels": KERNELS, "split": SPLIT, "held_out": HELD_OUT}
    for name, content in plain.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    described = {"classes": CLASSES, "clouds": CLOUDS, "recipe": RECIPE, "config": CONFIG, "tuning": TUNING}
    for name, content in described.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return [
        Kind("coco.json", each_of(lambda path: read_objects(path, pictures), lambda path: train_on(path, pictures))),
        Kind("classes.yaml", lambda path: read_classes(str(path))),
        Kind("clouds.yaml", read_description),
        Kind("recipe.yaml", read_recipe),
        Kind("config.yaml", load_data),
        Kind("tuning.yaml", each_of(digest, read_tuning_run)),
        Kind("trials.json", read_kept_trials),
        Kind("data.json", data_of),
        Kind("kernels.json", read_sizes),
        Kind("held_out.json", read_held_out),
        Kind("split.json", each_of(reading_of, lambda path: files_of(read_split(path)))),
    ]


def read_objects(path: Path, pictures: Path) -> None:
    for image in read_coco(path, pictures).images:
        if image.size == (24, 32):
            whole_target(image)
            objects_target(image, crowds=False)


def train_on(path: Path, pictures: Path) -> None:
    """As `metamixer train FOLDER` does."""
    root = path.with_name(f"{path.stem}_data")
    root.mkdir()
    (root / "images").symlink_to(pictures, target_is_directory=True)
    (root / "a.json").write_bytes(path.read_bytes())
    understand(root).prepare(root / "run")


def read_recipe(path: Path) -> None:
    arguments = ["fit", "--config", str(path)]
    check_recipes(arguments)
    expand_horizon(arguments)


def read_kept_trials(path: Path) -> None:
    """The cache of `deploy`, which a broken file leaves empty."""
    (path.parent / "metamixer").mkdir()
    path.rename(path.parent / "metamixer/fastest.json")
    with patch.dict(os.environ, XDG_CACHE_HOME=str(path.parent)):
        read_trials()
