"""Folders of images: one folder per class, or large images only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import torch
from PIL import Image

from ...data.images.decoding import decoding
from ...data.images.reading import IMAGE_SUFFIXES
from ...data.images.splits import SPLITS
from ...errors import InputError, counted
from ...models.tasks import CLASSIFICATION, SUPER_RESOLUTION
from .understood import OwnData, at_least_two, list_split, named, place, split, write_split

SIDES = (32, 64, 96, 128)
"""Image sizes in pixels for training a classifier without a GPU; 224 is added with one."""

LEAST_LARGE = 96
"""Minimum length in pixels of an image's shorter side for training super-resolution."""


def images_in(folder: Path) -> list[Path]:
    """The images directly in a folder, sorted."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())


def class_folders(folder: Path) -> dict[str, list[Path]]:
    """Images by class folder, without hidden folders."""
    folders = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    return {each.name: images_in(each) for each in folders}


def split_folders(folder: Path) -> tuple[Path, Path] | None:
    """The folders of the training and validation splits, if both exist."""
    train, val = (next((folder / name for name in names if (folder / name).is_dir()), None) for names in SPLITS)
    return (train, val) if train and val else None


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
    """Whether images are in one folder per class, with or without folders of splits above."""
    parts = split_folders(folder)
    classes = class_folders(parts[0] if parts else folder)
    return any(classes.values()) and not (parts and images_in(parts[0]))


def expect_classes(folder: Path, classes: Mapping[str, Sequence[Path]], *, divided: bool) -> None:
    """Raise InputError for a single class, or one with too few images; divided: there are folders of splits."""
    if len(classes) < 2:
        raise InputError(f"{folder}: one class ({next(iter(classes))!r}), expected a folder for each of at least two")
    for name, images in classes.items():
        if not images:
            raise InputError(
                f"{folder}: no images in class {name!r}, expected some; remove the folder if the class isn't used"
            )
        if not divided:
            at_least_two(len(images), f"{folder / name}: images of class {name!r}")


def understand_class_folders(folder: Path, seed: int) -> OwnData:
    parts = split_folders(folder)
    classes = class_folders(parts[0]) if parts else class_folders(folder)
    expect_classes(folder, classes, divided=parts is not None)
    names = list(classes)
    images = [image for each in classes.values() for image in each]
    val_images = [image for each in class_folders(parts[1]).values() for image in each] if parts else []
    sizes = expect_readable(images)
    held = sum(len(split(each, seed)[1]) for each in classes.values())
    what = f"{counted(len(images), 'image')} in {counted(len(names), 'class', 'classes')} ({named(names)})"
    how = f"{len(val_images)} more for validation" if parts else f"{held} held out for validation"
    side = fitting_side(sizes)
    train_count = len(images) if parts else len(images) - held
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
        if parts:
            list_split(out, {"train": images, "validation": val_images})
        return {**about, "root": str(folder.resolve() if parts else divide(classes, out, seed))}

    return OwnData(
        task=CLASSIFICATION,
        understood=f"{what}, {how}; trains a classifier on {side}x{side} pixels",
        items=train_count,
        val_items=len(val_images) or held,
        network="ffnet_nano",
        model_class="Classification",
        model={
            "num_classes": len(names),
            "mixup": 0.0,
            "cutmix": 0.0,
            "optimization": {"lr": 2e-3, "warmup_epochs": 1},
        },
        data_class="ImageData",
        prepare=prepare,
    )


def divide(classes: dict[str, list[Path]], out: Path, seed: int) -> Path:
    """Split each class and write both splits into a folder in `out`; returns the folder."""
    parts = {name: split(images, seed) for name, images in classes.items()}
    folder = write_split(
        out,
        {
            kind: [image for both in parts.values() for image in both[number]]
            for number, kind in enumerate(("train", "validation"))
        },
    )
    for name, both in parts.items():
        for kind, images in zip(("train", "validation"), both, strict=True):
            for image in images:
                place(image, folder / kind / name / image.name)
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
