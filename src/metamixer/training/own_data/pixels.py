"""Images with masks: one class per pixel."""

import math
from collections import ChainMap, Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import yaml

from ...data.held_out import at_least_two
from ...data.images.colour import mode_of
from ...data.images.folders import IMAGES, MASKS, has_images, left_out
from ...data.images.reading import is_grey
from ...data.images.splits import folders_by_name, split_folders
from ...data.segmentation.label_maps import IGNORED_PIXEL, PixelClasses, expect_size, read_classes, read_numbers
from ...data.segmentation.pixels import pair_files
from ...drawing.legend import Colour, distinct_colours
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


@dataclass(frozen=True)
class Mask:
    """counts: the number of pixels of each value; colours: of the values in the palette, if there is one."""

    file: Path
    counts: Counter[int]
    colours: dict[int, Colour]


def read_mask(file: Path, size: tuple[int, int]) -> Mask:
    """Count the values of a mask, and look up their colors; a palette that is a gray ramp gives none.

    size: (width, height) of its image.
    """
    numbers, palette = read_numbers(file)
    expect_size(file, numbers, size[::-1])
    values, counts = (array.tolist() for array in np.unique(numbers, return_counts=True))
    palette = palette or []
    entries = dict(enumerate(zip(palette[::3], palette[1::3], palette[2::3], strict=True)))
    colours = {value: entries[value] for value in values if value in entries}
    if all(colour == (value,) * 3 for value, colour in colours.items()):
        colours = {}
    return Mask(file, Counter(dict(zip(values, counts, strict=True))), colours)


def classes_in(masks: Sequence[Mask]) -> PixelClasses:
    """The values of all masks as classes; 255 is one only if it is one of two, as in masks of black and white."""
    found: set[int] = set()
    for mask in masks:
        found.update(mask.counts)
        if len(found) > MOST_CLASSES:
            raise InputError(
                f"{mask.file}: masks have more than {MOST_CLASSES} different values, expected at most that many classes"
            )
    ignored = (IGNORED_PIXEL,) if len(found) > 2 or IGNORED_PIXEL not in found else ()
    values = tuple(sorted(found.difference(ignored)))
    return PixelClasses(tuple(map(str, values)), colours_of(values, masks), values, ignored)


def colours_of(values: Sequence[int], masks: Sequence[Mask]) -> tuple[Colour, ...]:
    """The colors that the masks' palettes give to one value only, and distinct ones for the other values."""
    found = dict(ChainMap(*(mask.colours for mask in masks)))
    times = Counter(found.values())
    own = {value: colour for value, colour in found.items() if times[colour] == 1}
    free = (colour for colour in distinct_colours(len(found) + len(values)) if colour not in times)
    return tuple(own.get(value) or next(free) for value in values)


def prepare_masks(
    out: Path,
    *,
    folders: Mapping[str, tuple[Path, Path]],
    parts: Mapping[str, Pairs],
    classes: PixelClasses,
    grey_images: bool,
    augmentation: Mapping[str, list[int]],
) -> dict:
    """Write links to each split's images and masks, and classes.yaml.

    folders: of each split's images and masks, below which their paths stay the same. Returns the data's options.
    """
    root = write_split(out, {kind: [image for image, _ in part] for kind, part in parts.items()})
    for kind, part in parts.items():
        for image, mask in part:
            for file, folder, split in zip((image, mask), folders[kind], (kind, f"{kind}_labels"), strict=True):
                place(file, root / split / file.relative_to(folder))
    entries = [
        {"name": name, "colour": list(colour), "value": value}
        for name, colour, value in zip(classes.names, classes.colours, classes.values, strict=True)
    ]
    listed = {"classes": entries, "ignore_index": list(classes.ignored)}
    write_text(root / "classes.yaml", yaml.safe_dump(listed))
    batch_size = min(8, len(parts["train"]))
    return {"root": str(root), "batch_size": batch_size, "grey_images": grey_images, "augmentation": dict(augmentation)}


def expect_own_masks(pairs: Pairs) -> None:
    """Raise InputError for images of one name, such as a.jpg and a.png, which have one mask."""
    of_mask: dict[Path, Path] = {}
    for image, mask in pairs:
        if (other := of_mask.setdefault(mask, image)) != image:
            raise InputError(f"{image}: has the mask of {other}, expected a mask of its own")


def ignored_in(masks: Sequence[Mask], classes: PixelClasses) -> str:
    """The ignored values in masks and their fraction of the pixels, in words; empty if there are none."""
    total = sum((mask.counts for mask in masks), Counter())
    found = [value for value in classes.ignored if total[value]]
    share = sum(total[value] for value in found) / total.total()
    return f", {named(list(map(str, found)))} ignored ({share:.1%} of the pixels)" if found else ""


def understand_masks(folder: Path, seed: int) -> OwnData:
    folders = mask_folders(folder)
    parts = [pair_files(*both) for both in folders.values()]
    pairs = list(chain(*parts))
    images = [image for image, _ in pairs]
    expect_own_masks(pairs)
    sizes = expect_readable(images, most=math.inf)  # as all masks are
    described = folder / "classes.yaml"
    masks = [read_mask(mask, size) for (_, mask), size in zip(pairs, sizes, strict=True)]
    classes = read_classes("classes.yaml", folder) if described.is_file() else classes_in(masks)
    names = classes.names
    if len(names) < 2:
        raise InputError(f"{folders['train'][1]}: one class ({named(names)}), expected at least two")
    if divided := len(parts) < 2:
        at_least_two(len(pairs), f"{folder}: images with masks")
        split = stratified_split([mask.counts.keys() & set(classes.values) for mask in masks], seed)
        parts = [[pairs[i] for i in part] for part in split]
    train, val = parts
    side = max(32, min(256, min(min(size) for size in sizes)) // 32 * 32)
    prepare = partial(
        prepare_masks,
        folders={"train": folders["train"], "val": folders.get("validation", folders["train"])},
        parts={"train": train, "val": val},
        classes=classes,
        grey_images=any(is_grey(mode_of(image)) for image in images),
        augmentation={"crop": [side, side]},
    )
    return OwnData(
        task=SEGMENTATION,
        understood=f"{len(pairs if divided else train)} images with masks of {len(names)} classes ({named(names)})"
        f"{ignored_in(masks, classes)}, {len(val)} {'held out' if divided else 'more'} for validation"
        f"{left_out(folder, [*chain(*pairs), described])}; trains a segmenter",
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
