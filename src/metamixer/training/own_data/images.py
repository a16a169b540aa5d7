"""Folders of images: one folder per class, or large images only."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from statistics import median

import torch
from PIL import Image

from ...data.held_out import at_least_two, split
from ...data.images.decoding import decoding
from ...data.images.folders import ClassImages, folders_of, has_classes, has_images, is_image
from ...data.images.splits import split_folders
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
    images, val_images = (sorted(chain(*classes.values())) for classes in folders.values())
    divided = "validation" not in split_folders(folder)
    side = fitting_side(expect_readable(images + val_images if divided else images))
    about = {
        "batch_size": min(32, len(images)),
        "preprocessing": {"size": side, "crop_pct": 1.0},
        "augmentation": {
            "scale": [0.35, 1.0],
            "color_jitter": 0.0,
            "auto_augment": "rand-m6-mstd0.5-inc1",
            "random_erasing": 0.1,
        },
    }

    def prepare(out: Path) -> dict:
        if divided:
            return {**about, "root": str(divide(folder, folders, out))}
        list_split(out, {"train": images, "validation": val_images})
        return {**about, "root": str(folder.resolve())}

    return OwnData(
        task=CLASSIFICATION,
        understood=f"{told(folders, divided=divided)}; trains a classifier on {side}x{side} pixels",
        items=len(images),
        val_items=len(val_images),
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


def told(folders: Mapping[str, ClassImages], *, divided: bool) -> str:
    """The images and classes in words; divided: the validation images were held out."""
    train, val = (sum(map(len, classes.values())) for classes in folders.values())
    names = list(folders["train"])
    count = f"{counted(train + val if divided else train, 'image')} in {counted(len(names), 'class', 'classes')}"
    how = "held out for validation" if divided else "more for validation"
    return f"{count} ({named(names)}), {val} {how}"


def divide(root: Path, folders: Mapping[str, ClassImages], out: Path) -> Path:
    """Link the images of each split in a new folder in `out`, which is returned."""
    parts = {part: sorted(chain(*classes.values())) for part, classes in folders.items()}
    folder = write_split(out, parts)
    for part, images in parts.items():
        for image in images:
            place(image, folder / part / image.relative_to(split_folders(root)["train"]))
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
        root = write_split(out, {"train": train, "validation": val})
        for kind, files in (("train", train), ("validation", val)):
            for file in files:
                place(file, root / kind / file.name)
        return {
            "root": str(root),
            "scale": 2,
            "train": ["train"],
            "val": ["validation"],
            "patch_size": 64,
            "batch_size": 16,
            "patches_per_epoch": patches,
        }

    return OwnData(
        task=SUPER_RESOLUTION,
        understood=f"{len(images)} large images, {len(val)} held out for validation; trains an upscaler, x2",
        items=patches,
        val_items=len(val),
        network="ffnet_sr_nano",
        model_class="SuperResolution",
        model={"scale": 2, "optimization": {"name": "adam", "lr": 5e-4, "weight_decay": 0.0, "warmup_epochs": 0.5}},
        data_class="SuperResolutionData",
        prepare=prepare,
    )
