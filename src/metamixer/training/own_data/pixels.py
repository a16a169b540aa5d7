"""Images with masks: one class per pixel."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from ...data.held_out import at_least_two
from ...data.segmentation.label_maps import IGNORED_PIXEL, read_classes, read_numbers
from ...data.segmentation.pixels import pair_files
from ...drawing.legend import distinct_colours
from ...errors import InputError
from ...models.tasks import SEGMENTATION
from ...system.files import write_text
from .images import expect_readable, images_in
from .stratified import stratified_split
from .understood import OwnData, named, place, write_split

IMAGES = ("images", "image", "img", "imgs")
MASKS = ("masks", "mask", "labels", "annotations", "segmentation")
"""Accepted names of the folders of images and masks."""

MOST_CLASSES = 64
"""Maximum number of distinct values in masks; more suggest that they are photographs."""


def mask_folders(folder: Path) -> tuple[Path, Path] | None:
    """The folders of images and masks, if both exist."""
    images, masks = (
        next((folder / name for name in names if (folder / name).is_dir() and images_in(folder / name)), None)
        for names in (IMAGES, MASKS)
    )
    return (images, masks) if images and masks else None


def has_masks(folder: Path) -> bool:
    """Whether a folder contains a folder of images and one of masks."""
    return mask_folders(folder) is not None


def numbers_in(mask: Path) -> set[int]:
    """The values that occur in a mask."""
    return set(np.unique(read_numbers(mask)[0]).tolist())


def classes_in(masks: Sequence[Path], numbers: Sequence[set[int]]) -> list[int]:
    """The values of all masks that are classes, without the ignored one."""
    found: set[int] = set()
    for mask, values in zip(masks, numbers, strict=True):
        found |= values
        if len(found) > MOST_CLASSES:
            raise InputError(
                f"{mask}: masks have more than {MOST_CLASSES} different values, expected at most that many classes"
            )
    return sorted(found - {IGNORED_PIXEL} if len(found) > 2 else found)


def prepare_masks(
    out: Path,
    *,
    folders: tuple[Path, Path],
    parts: Mapping[str, Sequence[tuple[Path, Path]]],
    described: Path | None,
    numbers: Sequence[int],
    augmentation: Mapping[str, list[int]],
) -> dict:
    """Write links to each split's images and masks, and classes.yaml: `described`, or by the masks' values.

    folders: of images and masks, below which their paths stay the same. Returns the data's options.
    """
    root = write_split(out, {kind: [image for image, _ in part] for kind, part in parts.items()})
    for kind, part in parts.items():
        for image, mask in part:
            for file, folder, split in zip((image, mask), folders, (kind, f"{kind}_labels"), strict=True):
                place(file, root / split / file.relative_to(folder))
    if described:
        place(described, root / "classes.yaml")
    else:
        entries = [
            {"name": str(number), "colour": list(distinct_colours(i + 1)[i]), "value": number}
            for i, number in enumerate(numbers)
        ]
        ignored = [] if IGNORED_PIXEL in numbers else [IGNORED_PIXEL]
        write_text(root / "classes.yaml", yaml.safe_dump({"classes": entries, "ignore_index": ignored}))
    batch_size = min(8, len(parts["train"]))
    return {"root": str(root), "batch_size": batch_size, "grey_images": True, "augmentation": dict(augmentation)}


def expect_own_masks(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Raise InputError for images of one name, such as a.jpg and a.png, which have one mask."""
    of_mask: dict[Path, Path] = {}
    for image, mask in pairs:
        if (other := of_mask.setdefault(mask, image)) != image:
            raise InputError(f"{image}: has the mask of {other}, expected a mask of its own")


def classes_of(folder: Path, masks: Sequence[Path], numbers: Sequence[set[int]]) -> tuple[list[int], list[str]]:
    """The values and names of the classes: of the folder's classes.yaml, else of the masks, with `numbers` in each."""
    if (folder / "classes.yaml").is_file():
        classes = read_classes("classes.yaml", folder)
        return list(classes.values), list(classes.names)
    values = classes_in(masks, numbers)
    return values, list(map(str, values))


def understand_masks(folder: Path, seed: int) -> OwnData:
    images, masks = mask_folders(folder)
    pairs = pair_files(images, masks)
    expect_own_masks(pairs)
    at_least_two(len(pairs), f"{folder}: images with masks")
    sizes = expect_readable([image for image, _ in pairs])
    described = folder / "classes.yaml"
    in_each = [numbers_in(mask) for _, mask in pairs]
    numbers, names = classes_of(folder, [mask for _, mask in pairs], in_each)
    if len(names) < 2:
        raise InputError(f"{masks}: one class ({named(names)}), expected at least two")
    split = stratified_split([values & set(numbers) for values in in_each], seed)
    train, val = ([pairs[i] for i in part] for part in split)
    side = max(32, min(256, min(min(size) for size in sizes)) // 32 * 32)
    prepare = partial(
        prepare_masks,
        folders=(images, masks),
        parts={"train": train, "val": val},
        described=described if described.is_file() else None,
        numbers=numbers,
        augmentation={"crop": [side, side]},
    )
    return OwnData(
        task=SEGMENTATION,
        understood=f"{len(pairs)} images with masks of {len(names)} classes ({named(names)}), {len(val)} held out for "
        "validation; trains a segmenter",
        items=len(train),
        val_items=len(val),
        network="ffnet_head_ffnet_nano",
        on_backbone=True,
        model_class="Segmentation",
        model={
            "num_classes": len(names),
            "lovasz_weight": 1.0,
            "optimization": {"lr": 2e-3, "warmup_steps": 20, "power": 0.9},
        },
        data_class="SegmentationData",
        prepare=prepare,
        trainer={"gradient_clip_val": 5.0},
    )
