"""Faults of COCO annotations: the value that makes one unusable, and the rule it breaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import is_whole, shown

MIN_SIDE = 1.0
"""Minimum width and height of an object in pixels of the file; smaller ones are dropped, as published."""
LARGEST = 1e6
"""Largest magnitude of a pixel coordinate."""
AROUND = 200
"""Longest perimeter of a polygon, in times the image's height and width: COCO's tools take memory by its length."""
NAMED = 5
"""Maximum number of annotations that a warning names for each kind of fault."""


@dataclass(frozen=True)
class Fault:
    """value: what the file contains; expected: the rule, in the same words for all faults of a kind."""

    value: str
    expected: str


def find_fault(annotation: Mapping, size: tuple[int, int]) -> Fault | None:
    """Why an annotation of an image of `size` (height, width) is unusable, or None."""
    segmentation = annotation.get("segmentation")
    area, crowd = annotation.get("area", 1), annotation.get("iscrowd", 0)
    fault = box_fault(annotation["bbox"], size)
    if fault:
        return fault
    if not is_number(area) or area <= 0:
        return Fault(f"area {shown(area)}", "a positive number")
    if crowd not in (0, 1):
        return Fault(f"iscrowd {shown(crowd)}", "0 or 1")
    if isinstance(segmentation, Mapping):
        return _run_length_fault(segmentation, size)
    if not usable_polygons(segmentation, size):
        return Fault(
            f"segmentation {shown(segmentation)}", "run lengths or a polygon of at least 3 points in the image"
        )
    return None


def find_lost_polygons(segmentation: Any, size: tuple[int, int]) -> Fault | None:
    """Describe the unusable polygons among an object's usable ones, or return None."""
    if isinstance(segmentation, Mapping):
        return None
    good = usable_polygons(segmentation, size)
    lost = [polygon for polygon in segmentation if polygon not in good]
    if not lost:
        return None
    return Fault(
        f"{len(lost)} of {len(segmentation)} polygons, {shown(lost[0])}",
        "at least 3 points in the image in each polygon",
    )


def usable_polygons(segmentation: Any, size: tuple[int, int]) -> list[list[float]]:
    """The polygons with at least three points, all finite numbers, that overlap the image of `size`."""
    if not isinstance(segmentation, list):
        return []
    return [
        polygon
        for polygon in segmentation
        if isinstance(polygon, list)
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(map(is_number, polygon))
        and touches(min(polygon[::2]), min(polygon[1::2]), max(polygon[::2]), max(polygon[1::2]), size)
        and _length(polygon) <= AROUND * sum(size)
    ]


def _length(polygon: Sequence[float]) -> float:
    """Of a polygon's sides, in pixels along both axes."""
    values = zip(polygon, [*polygon[2:], *polygon[:2]], strict=True)
    return sum(abs(after - before) for before, after in values)


def packed_counts(text: str) -> list[int] | None:
    """Run lengths from COCO's packed form; None where it is none, in which case COCO's tools write beyond their memory.

    Each number is given in groups of five bits, the lowest first, and from the third on as what it has more than the
    one two before it.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii", "replace"):
        group = letter - 48
        if not 0 <= group < 64 or shift > 30:
            return None
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            value -= (1 << shift) if group & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts if shift == 0 else None


def touches(left: float, top: float, right: float, bottom: float, size: tuple[int, int]) -> bool:
    """Whether a rectangle overlaps the image."""
    height, width = size
    return min(right, width) > max(left, 0) and min(bottom, height) > max(top, 0)


def describe(faults: Sequence[tuple[Any, Fault]]) -> list[str]:
    """One line per kind of fault, with the first value and some of the annotation ids."""
    kinds: dict[str, list[tuple[Any, Fault]]] = {}
    for number, fault in faults:
        kinds.setdefault(fault.expected, []).append((number, fault))
    lines = []
    for expected, found in kinds.items():
        ids = ", ".join(str(number) for number, _ in found[:NAMED]) + (
            f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        )
        lines.append(f"annotation {ids}: {found[0][1].value}, expected {expected}")
    return lines


def is_number(value: Any) -> bool:
    """Whether a JSON value is a plausible pixel coordinate."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def box_fault(box: Any, size: tuple[int, int]) -> Fault | None:
    """Why a box (x, y, width, height) in an image of `size` (height, width) is unusable, or None."""
    height, width = size
    value = f"bbox {shown(box)}"
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return Fault(value, "four finite numbers")
    x, y, box_width, box_height = box
    if box_width < MIN_SIDE or box_height < MIN_SIDE:
        return Fault(value, f"a width and height of at least {MIN_SIDE:g} pixel")
    if not touches(x, y, x + box_width, y + box_height, size):
        return Fault(f"{value} in an image of {width}x{height}", "it to touch the image")
    return None


def _run_length_fault(segmentation: Mapping, size: tuple[int, int]) -> Fault | None:
    found, counts = segmentation.get("size"), segmentation.get("counts")
    if found != list(size):
        return Fault(f"run lengths of size {shown(found)} in an image of {list(size)}", "the image's height and width")
    if isinstance(counts, str) and counts:
        counts = packed_counts(counts)
    if not isinstance(counts, list) or not all(is_whole(count) and count >= 0 for count in counts):
        return Fault(f"run lengths {shown(counts)}", "a list of numbers, none of them negative, or a string")
    if sum(counts) != size[0] * size[1]:
        return Fault(f"run lengths of {sum(counts)} pixels in an image of {size[0] * size[1]}", "as many as the image")
    return None
