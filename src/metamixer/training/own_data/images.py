"""Folders of images: one folder per class, or large images only."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
from ...data.images.orientation import SIDEWAYS, find_turn
from ...data.images.reading import read_image
from ...data.images.splits import has_splits, split_folders
from ...errors import InputError, counted
from ...models.tasks import CLASSIFICATION, SUPER_RESOLUTION
from ...system.files import refuse_special
from ..run_folder import list_split
from .understood import OwnData, named, place, write_split

SIDES = (32, 64, 96, 128)
"""Image sizes in pixels for training a classifier without a GPU; 224 is added with one."""

LEAST_LARGE = 96
"""Minimum length in pixels of an image's shorter side for training super-resolution."""

MOST_DECODED = 2**30
"""Bytes of images that are decoded before a training begins; it names an unreadable one of more when it reads it."""


def images_in(folder: Path) -> list[Path]:
    """The images directly in a folder, sorted."""
    return sorted(file for file in folder.iterdir() if is_image(file) and file.is_file())


def expect_readable(images: Sequence[Path], *, most: float = MOST_DECODED) -> list[tuple[int, int]]:
    """The sizes of images; raises InputError that names the first unreadable one.

    Images of up to `most` bytes in all are decoded, and their sizes are upright; of more, only the headers are read.
    """
    whole = sum(image.stat().st_size for image in images if image.exists()) <= most
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = list(threads.map(partial(size_of, whole=whole), images))
    faults = [fault for fault in found if isinstance(fault, InputError)]
    if faults:
        raise InputError(f"{faults[0]}; {len(faults)} of {len(images)} images can't be used, mend or remove them")
    return [size for size in found if not isinstance(size, InputError)]


def size_of(image: Path, *, whole: bool) -> tuple[int, int] | InputError:
    """The size of an image, or what is wrong with it; whole: decode it, a JPEG at an eighth of its size."""
    try:
        refuse_special(image)
        with decoding(image), Image.open(image) as opened:
            width, height = opened.size
            if not whole:
                return width, height
            opened.draft(None, (1, 1))
            read_image(opened, name=str(image))
            return (height, width) if find_turn(opened) in SIDEWAYS else (width, height)
    except InputError as error:
        return error


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
