"""Images with masks: one class per pixel."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import yaml

from ...data.held_out import at_least_two
from ...data.images.folders import IMAGES, MASKS, has_images, left_out
from ...data.images.splits import folders_by_name, split_folders
from ...data.segmentation.label_maps import IGNORED_PIXEL, read_classes, read_numbers
from ...data.segmentation.pixels import pair_files
from ...drawing.legend import distinct_colours
from ...errors import InputError
from ...models.tasks import SEGMENTATION
from ...system.files import write_text
from .images import expect_readable
from .stratified import stratified_split
from .understood import OwnData, named, place, write_split

MOST_CLASSES = 64
"""Maximum number of distinct values in masks; more suggest that they are photographs."""


Pairs = Sequence[tuple[Path, Path]]


def mask_folders(folder: Path) -> dict[str, tuple[Path, Path]]:
    """The folders of images and of masks, of "train" and, if there is a split, "validation"; empty without masks.

    The folders of the splits are in those of images and masks, or above them.
    """
    parts = split_folders(folder)
    found = {part: both for part, place in parts.items() if (both := images_and_masks(place))}
    if len(found) < len(parts):
        return {}
    if len(found) > 1:
        return found
    images, masks = map(split_folders, found["train"])
    return {part: (images[part], masks[part]) for part in images if part in masks}


def images_and_masks(folder: Path) -> tuple[Path, Path] | None:
    """The folders of images and masks directly in a folder, if there are both."""
    folders = {name: each for name, each in folders_by_name(folder).items() if has_images(each)}
    images, masks = (next((folders[name] for name in names if name in folders), None) for names in (IMAGES, MASKS))
    return (images, masks) if images and masks else None


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
    folders: Mapping[str, tuple[Path, Path]],
    parts: Mapping[str, Pairs],
    described: Path | None,
    numbers: Sequence[int],
    augmentation: Mapping[str, list[int]],
) -> dict:
    """Write links to each split's images and masks, and classes.yaml: `described`, or by the masks' values.

    folders: of each split's images and masks, below which their paths stay the same. Returns the data's options.
    """
    root = write_split(out, {kind: [image for image, _ in part] for kind, part in parts.items()})
    for kind, part in parts.items():
        for image, mask in part:
            for file, folder, split in zip((image, mask), folders[kind], (kind, f"{kind}_labels"), strict=True):
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


def expect_own_masks(pairs: Pairs) -> None:
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
    folders = mask_folders(folder)
    parts = [pair_files(*both) for both in folders.values()]
    pairs = list(chain(*parts))
    images, masks = zip(*pairs, strict=True)
    expect_own_masks(pairs)
    sizes = expect_readable(images)
    described = folder / "classes.yaml"
    in_each = [numbers_in(mask) for mask in masks]
    numbers, names = classes_of(folder, masks, in_each)
    if len(names) < 2:
        raise InputError(f"{folders['train'][1]}: one class ({named(names)}), expected at least two")
    if divided := len(parts) < 2:
        at_least_two(len(pairs), f"{folder}: images with masks")
        split = stratified_split([values & set(numbers) for values in in_each], seed)
        parts = [[pairs[i] for i in part] for part in split]
    train, val = parts
    side = max(32, min(256, min(min(size) for size in sizes)) // 32 * 32)
    prepare = partial(
        prepare_masks,
        folders={"train": folders["train"], "val": folders.get("validation", folders["train"])},
        parts={"train": train, "val": val},
        described=described if described.is_file() else None,
        numbers=numbers,
        augmentation={"crop": [side, side]},
    )
    return OwnData(
        task=SEGMENTATION,
        understood=f"{len(pairs if divided else train)} images with masks of {len(names)} classes ({named(names)}), "
        f"{len(val)} {'held out' if divided else 'more'} for validation"
        f"{left_out(folder, [*images, *masks, described])}; trains a segmenter",
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
