"""COCO's JSON: reading, checking and mask decoding.

An invalid file (missing parts, wrong types, unknown categories or images, missing image files) is an InputError.
Unusable objects (`coco_faults.find_fault`) are dropped, with one warning that counts them. Most labeling tools write
boxes alone: the box of an object without a mask is its mask.
"""

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, InputWarning, first_line, is_whole, naming, shown
from .coco_faults import (
    LARGEST,
    Fault,
    box_fault,
    describe,
    find_fault,
    find_lost_polygons,
    packed_counts,
    usable_polygons,
)


@dataclass(frozen=True)
class CocoObject:
    """box: x1, y1, x2, y2 within the image; label: class index; segmentation: polygons or run lengths, as stored."""

    id: int
    box: tuple[float, float, float, float]
    label: int
    segmentation: Any
    area: float
    crowd: bool


@dataclass(frozen=True)
class CocoImage:
    """size: height and width in pixels."""

    id: int
    path: Path
    size: tuple[int, int]
    objects: tuple[CocoObject, ...]


@dataclass(frozen=True)
class CocoFile:
    """classes, category_ids: names and COCO's ids, in label order."""

    images: tuple[CocoImage, ...]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]


Check = tuple[Callable[[Any], bool], str]
WHOLE: Check = is_whole, "a whole number"
NAME: Check = lambda value: isinstance(value, str) and bool(value), "a name"
SIDE: Check = lambda value: is_whole(value) and 1 <= value <= LARGEST, "a whole number of pixels"
ANYTHING: Check = lambda value: True, ""
PARTS: dict[str, tuple[str, dict[str, Check]]] = {
    "images": ("image", {"id": WHOLE, "file_name": NAME, "width": SIDE, "height": SIDE}),
    "annotations": ("annotation", {"id": ANYTHING, "image_id": WHOLE, "category_id": WHOLE, "bbox": ANYTHING}),
    "categories": ("category", {"id": WHOLE, "name": NAME}),
}
"""The lists of a COCO file: the name of an entry in messages, and its required keys with their checks."""


def read_coco(path: Path, folder: Path) -> CocoFile:
    """Read the annotations `path` of the images in `folder`; raises InputError that names file, id and value."""
    with naming(path):
        return _judged(load_coco(path), path, folder)


def _judged(content: Mapping, path: Path, folder: Path) -> CocoFile:
    categories = sorted(content["categories"], key=lambda category: category["id"])
    labels = {category["id"]: label for label, category in enumerate(categories)}
    images = {image["id"]: image for image in content["images"]}
    if len(images) < len(content["images"]) or len(labels) < len(categories):
        raise InputError(f"{path}: an id occurs twice among its images or categories, expected each once")
    for part in ("annotations", "categories"):
        if not content[part]:
            raise InputError(f"{path}: no {part}, expected at least one")
    objects: dict[int, list[CocoObject]] = {number: [] for number in images}
    dropped: list[tuple[Any, Fault]] = []
    thinned: list[tuple[Any, Fault]] = []
    outlined = 0
    for annotation in content["annotations"]:
        _refuse_unknown(annotation, path, images, labels)
        image = images[annotation["image_id"]]
        _refuse_malformed(annotation, path, folder / image["file_name"])
        size = (image["height"], image["width"])
        if not annotation.get("segmentation") and not box_fault(annotation["bbox"], size):
            annotation = {**annotation, "segmentation": [outline(*annotation["bbox"])]}
            outlined += 1
        fault = find_fault(annotation, size)
        lost = None if fault else find_lost_polygons(annotation["segmentation"], size)
        if fault:
            dropped.append((annotation["id"], fault))
        else:
            objects[image["id"]].append(_object(annotation, labels[annotation["category_id"]], size))
        if lost:
            thinned.append((annotation["id"], lost))
    of_all = f"of {len(content['annotations'])} annotations"
    if dropped or thinned:
        head = f"{path}: {len(dropped)} {of_all} dropped, {len(thinned)} without some of their polygons"
        warnings.warn("\n  ".join([head, *describe(dropped), *describe(thinned)]), InputWarning, stacklevel=2)
    if outlined:
        told = f"{path}: {outlined} {of_all} have no mask: their boxes serve as masks, in the mask metrics too"
        warnings.warn(told, InputWarning, stacklevel=2)
    return CocoFile(
        tuple(_image(image, path, folder, objects[number]) for number, image in images.items()),
        tuple(category["name"] for category in categories),
        tuple(category["id"] for category in categories),
    )


def outline(x: float, y: float, width: float, height: float) -> list[float]:
    """A box as a polygon."""
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def decode_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Polygons or run lengths -> (height, width) uint8 of 0 and 1, equal to COCO's own tools."""
    codec = mask_codec()
    height, width = size
    if not isinstance(segmentation, Mapping):
        return codec.decode(codec.merge(codec.frPyObjects(segmentation, height, width)))
    packed = (
        codec.frPyObjects(segmentation, height, width) if isinstance(segmentation["counts"], list) else segmentation
    )
    return codec.decode(packed)


def encode_mask(mask: np.ndarray) -> dict:
    """(height, width) of 0 and 1 -> compressed run lengths, as in COCO results."""
    packed = mask_codec().encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in packed["size"]], "counts": packed["counts"].decode()}


def mask_codec():
    """The mask functions of faster-coco-eval; raises InputError if it isn't installed."""
    try:
        from faster_coco_eval.core import mask
    except ImportError:
        raise InputError("COCO masks need faster-coco-eval: pip install 'metamixer[detection]'") from None
    return mask


def load_coco(path: Path) -> dict:
    """The parsed JSON, whose entries pass all checks of PARTS."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a COCO JSON file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not readable as JSON ({first_line(error)}): truncated, or another kind of file"
        ) from None
    for part, (name, checks) in PARTS.items():
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise InputError(f"{path}: no list {part!r}, expected a COCO JSON file with {', '.join(PARTS)}")
        for entry in content[part]:
            if not isinstance(entry, dict) or any(key not in entry for key in checks):
                raise InputError(f"{path}: {part} entry {str(entry)[:60]}, expected an object with {', '.join(checks)}")
            for key, (holds, expected) in checks.items():
                if not holds(entry[key]):
                    raise InputError(
                        f"{path}: {name} {shown(entry['id'])}: {key} {shown(entry[key])}, expected {expected}"
                    )
    return content


def _refuse_unknown(annotation: Mapping, path: Path, images: Mapping[int, Mapping], labels: Mapping[int, int]) -> None:
    """Raise InputError for an annotation of an unknown image or category."""
    name, number, category = f"{path}: annotation {annotation['id']}", annotation["image_id"], annotation["category_id"]
    if number not in images:
        raise InputError(f"{name}: image_id {number}, expected the id of one of its {len(images)} images")
    if category not in labels:
        raise InputError(
            f"{name}: category_id {category}, expected one of its {len(labels)} categories, such as "
            f"{next(iter(labels))}"
        )


def _refuse_malformed(annotation: Mapping, path: Path, image: Path) -> None:
    """Raise InputError for packed run lengths that are none."""
    segmentation = annotation.get("segmentation")
    counts = segmentation.get("counts") if isinstance(segmentation, Mapping) else None
    if isinstance(counts, str) and counts and packed_counts(counts) is None:
        raise InputError(
            f"{path}: {image}: annotation {annotation['id']}: its mask can't be decoded (RLE string is malformed: "
            f"{shown(counts)})"
        )


def _image(image: Mapping, path: Path, folder: Path, objects: Sequence[CocoObject]) -> CocoImage:
    file = folder / image["file_name"]
    if not os.path.isfile(file):  # unlike Path.is_file, False for a name that is too long
        raise InputError(f"{path}: image {image['id']}: {file}: no such file")
    return CocoImage(image["id"], file, (image["height"], image["width"]), tuple(objects))


def _object(annotation: Mapping, label: int, size: tuple[int, int]) -> CocoObject:
    height, width = size
    x, y, box_width, box_height = annotation["bbox"]
    box = (max(x, 0.0), max(y, 0.0), min(x + box_width, width), min(y + box_height, height))
    segmentation = annotation["segmentation"]
    if not isinstance(segmentation, Mapping):
        segmentation = usable_polygons(segmentation, size)
    area = float(annotation.get("area", box_width * box_height))
    return CocoObject(annotation["id"], box, label, segmentation, area, bool(annotation.get("iscrowd", 0)))
