"""Folders of images: one folder per class, or large images only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import torch
from PIL import Image

from ...data.held_out import at_least_two, split
from ...data.images.decoding import decoding
from ...data.images.folders import (
    ClassImages,
    folders_of,
    has_classes,
    has_images,
    images_of,
    is_image,
    left_out,
)
from ...data.images.splits import has_splits, split_folders
from ...errors import InputError, counted
from ...models.tasks import CLASSIFICATION, SUPER_RESOLUTION
from .understood import OwnData, list_split, named, place, write_split

SIDES = (32, 64, 96, 128)
"""Image sizes in pixels for training a classifier without a GPU; 224 is added with one."""

LEAST_LARGE = 96
"""Minimum length in pixels of an image's shorter side for training super-resolution."""


def images_in(folder: Path) -> list[Path]:
    """The images directly in a folder, sorted."""
    return sorted(file for file in folder.iterdir() if is_image(file) and file.is_file())


def expect_readable(images: Sequence[Path]) -> list[tuple[int, int]]:
    """The sizes of images; raises InputError that names the first unreadable one."""
    sizes, faults = [], []
    for image in images:
        try:
            with decoding(image), Image.open(image) as opened:
                sizes.append(opened.size)
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError(f"{faults[0]}; {len(faults)} of {len(images)} images are unreadable, remove them")
    return sizes


def has_class_folders(folder: Path) -> bool:
    """Whether images are in one folder per class, with or without folders of splits above; or all in one folder."""
    return has_classes(folder) or (not images_in(folder) and has_images(folder))


def understand_class_folders(folder: Path, seed: int) -> OwnData:
    folders = folders_of(folder, seed)
    parts = {part: images_of(classes) for part, classes in folders.items()}
    train_count, val_count = map(len, parts.values())
    side = fitting_side(expect_readable([*parts["train"], *parts["validation"]]))
    about = {
        "batch_size": min(32, train_count),
        "preprocessing": {"size": side, "crop_pct": 1.0},
        "augmentation": {
            "scale": [0.35, 1.0],
            "color_jitter": 0.0,
            "auto_augment": "rand-m6-mstd0.5-inc1",
            "random_erasing": 0.1,
        },
    }

    def prepare(out: Path) -> dict:
        if not has_splits(folder):
            return {**about, "root": str(divide(split_folders(folder)["train"], parts, out))}
        list_split(out, parts)
        return {**about, "root": str(folder.resolve())}

    return OwnData(
        task=CLASSIFICATION,
        understood=f"{told(folder, folders)}; trains a classifier on {side}x{side} pixels",
        items=train_count,
        val_items=val_count,
        network="ffnet_nano",
        model_class="Classification",
        model={
            "num_classes": len(folders["train"]),
            "mixup": 0.0,
            "cutmix": 0.0,
            "optimization": {"lr": 2e-3, "warmup_epochs": 1},
        },
        data_class="ImageData",
        prepare=prepare,
    )


def told(root: Path, folders: Mapping[str, ClassImages]) -> str:
    """The images and classes that `folders_of` found, and what isn't used, in words."""
    train, val = map(images_of, folders.values())
    count, how = (len(train), "more") if has_splits(root) else (len(train + val), "held out")
    classes = f"{counted(len(folders['train']), 'class', 'classes')} ({named(list(folders['train']))})"
    return f"{counted(count, 'image')} in {classes}, {len(val)} {how} for validation{left_out(root, train + val)}"


def divide(root: Path, parts: Mapping[str, Sequence[Path]], out: Path) -> Path:
    """Link the images of each split, by their paths below `root`, in a new folder in `out`, which is returned."""
    folder = write_split(out, parts)
    for part, images in parts.items():
        for image in images:
            place(image, folder / part / image.relative_to(root))
    return folder


def fitting_side(sizes: Sequence[tuple[int, int]]) -> int:
    """The largest training size that is at most the median shorter side of the images."""
    short = median(min(size) for size in sizes)
    sides = (*SIDES, 224) if torch.cuda.is_available() else SIDES
    return max((side for side in sides if side <= short), default=sides[0])


def has_large_images(folder: Path) -> bool:
    """Whether a folder contains images."""
    return bool(images_in(folder))


def understand_large_images(folder: Path, seed: int) -> OwnData:
    images = images_in(folder)
    sizes = expect_readable(images)
    small = next((image for image, size in zip(images, sizes, strict=True) if min(size) < LEAST_LARGE), None)
    if small:
        raise InputError(
            f"{small}: a side below {LEAST_LARGE} pixels, expected larger images for super-resolution, or class folders"
        )
    at_least_two(len(images), f"{folder}: images")
    train, val = split(images, seed)
    patches = max(256, min(8000, 16 * len(train)))

    def prepare(out: Path) -> dict:
        return {
            "root": str(divide(folder, {"train": train, "validation": val}, out)),
            "scale": 2,
            "train": ["train"],
            "val": ["validation"],
            "patch_size": 64,
            "batch_size": 16,
            "patches_per_epoch": patches,
        }

    return OwnData(
        task=SUPER_RESOLUTION,
        understood=f"{len(images)} large images, {len(val)} held out for validation"
        f"{left_out(folder, images)}; trains an upscaler, x2",
        items=patches,
        val_items=len(val),
        network="ffnet_sr_nano",
        model_class="SuperResolution",
        model={"scale": 2, "optimization": {"name": "adam", "lr": 5e-4, "weight_decay": 0.0, "warmup_epochs": 0.5}},
        data_class="SuperResolutionData",
        prepare=prepare,
    )
