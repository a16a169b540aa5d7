"""COCO's json: read, judged object by object, and its masks decoded.

What makes a file useless (a part missing, an unknown category or image, a picture that isn't there) is refused; an object that
nothing can be learned from (no area, outside the image, no polygon of three points) is dropped, with one warning that counts them.
"""

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError

MIN_SIDE = 1.0
"""Objects that are narrower or lower, in pixels of the file, are dropped, as published."""


@dataclass(frozen=True)
class CocoObject:
    """box: x1, y1, x2, y2 within the image; label: number of its category; segmentation: polygons or run lengths, as in the json."""

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
    """classes, category_ids: names and the json's own numbers, by label."""

    images: tuple[CocoImage, ...]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]


def read_coco(path: Path, folder: Path) -> CocoFile:
    """The annotations in `path` of the pictures in `folder`; raises InputError that names the file, the id and the value."""
    content = _load(path)
    categories = sorted(content["categories"], key=lambda category: category["id"])
    labels = {category["id"]: label for label, category in enumerate(categories)}
    images = {image["id"]: image for image in content["images"]}
    if len(images) < len(content["images"]) or len(labels) < len(categories):
        raise InputError(f"{path}: an id occurs twice among its images or categories, expected each once")
    if not content["annotations"]:
        raise InputError(f"{path}: no annotations, expected at least one")
    objects: dict[int, list[CocoObject]] = {number: [] for number in images}
    dropped: list[str] = []
    for annotation in content["annotations"]:
        number = annotation["image_id"]
        if number not in images:
            raise InputError(
                f"{path}: annotation {annotation['id']}: image_id {number}, expected the id of one of its {len(images)} images"
            )
        if annotation["category_id"] not in labels:
            raise InputError(
                f"{path}: annotation {annotation['id']}: category_id {annotation['category_id']}, "
                f"expected one of its {len(labels)} categories, such as {next(iter(labels))}"
            )
        size = (images[number]["height"], images[number]["width"])
        fault = find_fault(annotation, size)
        if fault:
            dropped.append(f"annotation {annotation['id']}: {fault}")
        else:
            objects[number].append(_object(annotation, labels[annotation["category_id"]], size))
    if dropped:
        warnings.warn(f"{path}: {len(dropped)} of {len(content['annotations'])} annotations dropped, first {dropped[0]}", stacklevel=2)
    return CocoFile(
        tuple(_image(image, path, folder, objects[number]) for number, image in images.items()),
        tuple(category["name"] for category in categories),
        tuple(category["id"] for category in categories),
    )


def find_fault(annotation: Mapping, size: tuple[int, int]) -> str | None:
    """Why nothing can be learned from an annotation of an image of `size`, or None."""
    height, width = size
    box = annotation["bbox"]
    if len(box) != 4 or not all(math.isfinite(value) for value in box):
        return f"bbox {box}, expected four finite numbers"
    x, y, box_width, box_height = box
    if box_width < MIN_SIDE or box_height < MIN_SIDE:
        return f"bbox {box}, expected a width and height of at least {MIN_SIDE:g} pixel"
    if min(x + box_width, width) - max(x, 0) <= 0 or min(y + box_height, height) - max(y, 0) <= 0:
        return f"bbox {box}, expected it to touch the image of {width}x{height}"
    if not math.isfinite(annotation.get("area", 1)) or annotation.get("area", 1) <= 0:
        return f"area {annotation['area']}, expected a positive number"
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, Mapping):
        return _run_length_fault(segmentation, size)
    if not _polygons(segmentation):
        return f"segmentation {str(segmentation)[:60]}, expected run lengths or a polygon of at least 3 points"
    return None


def decode_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Polygons or run lengths -> (height, width) uint8 of 0 and 1, as COCO's own tools draw them."""
    codec = mask_codec()
    height, width = size
    if not isinstance(segmentation, Mapping):
        return codec.decode(codec.merge(codec.frPyObjects(_polygons(segmentation), height, width)))
    packed = codec.frPyObjects(segmentation, height, width) if isinstance(segmentation["counts"], list) else segmentation
    return codec.decode(packed)


def encode_mask(mask: np.ndarray) -> dict:
    """(height, width) of 0 and 1 -> compressed run lengths, as COCO's results hold them."""
    packed = mask_codec().encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in packed["size"]], "counts": packed["counts"].decode()}


def mask_codec():
    """faster-coco-eval's mask functions; raises InputError where it is not installed."""
    try:
        from faster_coco_eval.core import mask
    except ImportError:
        raise InputError("faster-coco-eval is not installed, expected it for COCO's masks: pip install 'metamixer[detection]'") from None
    return mask


def _load(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected COCO's json") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as json ({error}): truncated, or another kind of file") from None
    fields = {
        "images": ("id", "file_name", "width", "height"),
        "annotations": ("id", "image_id", "category_id", "bbox"),
        "categories": ("id", "name"),
    }
    for part, keys in fields.items():
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise InputError(f"{path}: no list {part!r}, expected COCO's json with {', '.join(fields)}")
        for entry in content[part]:
            if not isinstance(entry, dict) or any(key not in entry for key in keys):
                raise InputError(f"{path}: {part} entry {str(entry)[:60]}, expected {', '.join(keys)} in it")
    return content


def _image(image: Mapping, path: Path, folder: Path, objects: Sequence[CocoObject]) -> CocoImage:
    file = folder / image["file_name"]
    if not file.is_file():
        raise InputError(f"{path}: image {image['id']}: {file}: no such file")
    return CocoImage(image["id"], file, (image["height"], image["width"]), tuple(objects))


def _object(annotation: Mapping, label: int, size: tuple[int, int]) -> CocoObject:
    height, width = size
    x, y, box_width, box_height = annotation["bbox"]
    box = (max(x, 0.0), max(y, 0.0), min(x + box_width, width), min(y + box_height, height))
    area = float(annotation.get("area", box_width * box_height))
    return CocoObject(annotation["id"], box, label, annotation["segmentation"], area, bool(annotation.get("iscrowd", 0)))


def _polygons(segmentation: Any) -> list[list[float]]:
    """Those of at least three points, with finite coordinates."""
    if not isinstance(segmentation, list):
        return []
    return [
        polygon
        for polygon in segmentation
        if isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0 and all(math.isfinite(value) for value in polygon)
    ]


def _run_length_fault(segmentation: Mapping, size: tuple[int, int]) -> str | None:
    if list(segmentation.get("size", ())) != list(size):
        return f"run lengths of size {segmentation.get('size')}, expected {list(size)}, the image's"
    counts = segmentation.get("counts")
    if isinstance(counts, list):
        return None if sum(counts) == size[0] * size[1] else f"run lengths of {sum(counts)} pixels, expected {size[0] * size[1]}"
    return None if isinstance(counts, str | bytes) and counts else f"run lengths {str(counts)[:60]}, expected a list or a string"
