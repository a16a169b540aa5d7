"""Pixel classes, described by a YAML file, and label PNGs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import InputError
from ...system.yaml_files import read_yaml
from ..images.decoding import decoding, expect_whole

IGNORED_PIXEL = 255
"""Label of ignored pixels in tensors."""
CLASS_LISTS = Path(__file__).parent / "class_lists"
LABEL_MODES = ("1", "L", "P", "I", "I;16")
STRETCHED = {"L;2": 85, "L;4": 17}
"""Factor by which Pillow brightens the numbers of gray PNGs of 2 and 4 bits, by its name of the file's pixels."""


@dataclass(frozen=True)
class PixelClasses:
    """names, colours, values: name, color and value in label files of each class; ignored: values of ignored pixels."""

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    values: tuple[int, ...]
    ignored: tuple[int, ...] = (IGNORED_PIXEL,)

    def table(self) -> np.ndarray:
        """Value in a file -> label, -1 for invalid values; (65536,) int16."""
        table = np.full(2**16, -1, np.int16)
        table[list(self.ignored)] = IGNORED_PIXEL
        table[list(self.values)] = np.arange(len(self.values))
        return table


def read_classes(name: str, root: str | Path = ".") -> PixelClasses:
    """Read the classes "ade20k", "cityscapes" or "camvid", or a YAML file, searched first in `root`.

    The file has `classes`, a list of {name, colour, value} (value: by default the list index), and `ignore_index`, a
    number or a list. Raises InputError that names the file and the fault.
    """
    candidates = (CLASS_LISTS / f"{name}.yaml", Path(root, name), Path(name))
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        known = ", ".join(sorted(path.stem for path in CLASS_LISTS.glob("*.yaml")))
        raise InputError(f"classes {name!r}: no such file, expected a YAML file or one of {known}")
    try:
        content = read_yaml(path, expected="a list of classes")
        entries = content["classes"]
        values = tuple(_whole(entry.get("value", i)) for i, entry in enumerate(entries))
        names = tuple(str(entry["name"]) for entry in entries)
        colours = tuple(_colour(entry["colour"]) for entry in entries)
        ignored = content.get("ignore_index", IGNORED_PIXEL)
        ignored = tuple(_whole(value) for value in (ignored if isinstance(ignored, list) else [ignored]))
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        said = " ".join(str(error).split())
        raise InputError(
            f"{path}: {type(error).__name__} {said}, expected classes: [{{name, colour: [r, g, b]}}, ...], ignore_index"
        ) from None
    counts = Counter((*values, *ignored))
    repeated = {value for value, count in counts.items() if count > 1 or not 0 <= value < 2**16}
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: class {twice!r} twice, expected different names")
    if repeated or not 2 <= len(names) <= IGNORED_PIXEL:
        raise InputError(
            f"{path}: {len(names)} classes, values {sorted(repeated)} twice or out of range, expected 2 to 255 "
            "classes with one each"
        )
    return PixelClasses(names, colours, values, ignored)


def _colour(value: Sequence[int]) -> tuple[int, int, int]:
    red, green, blue = map(_whole, value)
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f"colour {value}")
    return red, green, blue


def _whole(value: Any) -> int:
    if int(value) != float(value):
        raise ValueError(f"value {value}, which is no whole number")
    return int(value)


def read_numbers(path: Path) -> tuple[np.ndarray, list[int] | None]:
    """Read the numbers (H, W) that a gray or palette PNG of any depth stores, and its palette [R, G, B, R, ...].

    Raises InputError that names the file if it is missing, unreadable, or of another kind.
    """
    with decoding(path), Image.open(path) as image:
        if image.mode not in LABEL_MODES:
            raise InputError(f"{path}: an image of mode {image.mode}, expected a PNG of class numbers, gray or palette")
        expect_whole(image)
        stored_as = image.tile[0].args if image.format == "PNG" else image.mode
        numbers = np.asarray(image) // STRETCHED.get(stored_as, 1)
        return numbers, image.getpalette("RGB") if image.mode == "P" else None


def read_label_map(path: Path, classes: PixelClasses, *, size: tuple[int, int]) -> np.ndarray:
    """Read a PNG as labels (H, W) uint8, with IGNORED_PIXEL for ignored pixels.

    size: (height, width) of the image. Raises InputError that names the file if it is missing, not a label map, of
    another size, has an unknown value, or a palette in which a value has the color of another class.
    """
    numbers, palette = read_numbers(path)
    expect_size(path, numbers, size)
    used = np.unique(numbers)
    if palette:
        check_palette(path, palette, used.tolist(), classes)
    known = {*classes.values, *classes.ignored}
    strange = [int(value) for value in used if int(value) not in known]
    if strange:
        wanted = f"{min(classes.values)} to {max(classes.values)}"
        raise InputError(
            f"{path}: label value {strange[0]}, expected one of the {len(classes.names)} classes ({wanted}) or "
            f"{_listed(classes.ignored)}"
        )
    return classes.table()[numbers].astype(np.uint8)


def expect_size(path: Path, numbers: np.ndarray, size: tuple[int, int]) -> None:
    """Raise InputError unless a label map has the (height, width) of its image."""
    if numbers.shape != size:
        found, wanted = (f"{width}x{height}" for height, width in (numbers.shape, size))
        raise InputError(f"{path}: {found} pixels, expected {wanted}, the size of its image after EXIF rotation")


def check_palette(path: Path, palette: Sequence[int], used: Sequence[int], classes: PixelClasses) -> None:
    """Raise InputError if a value has the color of another class: some program has renumbered the palette."""
    for value in used:
        colour = tuple(palette[3 * value : 3 * value + 3])
        own = classes.colours[classes.values.index(value)] if value in classes.values else None
        if colour != own and colour in classes.colours:
            name = classes.names[classes.colours.index(colour)]
            raise InputError(
                f"{path}: wrong palette: value {value} has the color of {name} {colour}, expected {own or 'no class'}"
            )


def _listed(values: Sequence[int]) -> str:
    return f"{values[0]} (ignored)" if len(values) == 1 else f"{len(values)} values to ignore"


def paint(labels: np.ndarray, colours: Sequence[Sequence[int]], values: Sequence[int] | None = None) -> Image.Image:
    """A palette image of labels (H, W) uint8 in the colors of the classes; 16-bit grayscale if a value needs it.

    values: the value of each label in the image; None: the labels.
    """
    values = list(range(len(colours)) if values is None else values)
    if max(values) > 255:
        return Image.fromarray(np.array(values, np.uint16)[labels])
    palette = np.zeros((max(values) + 1, 3), np.uint8)
    palette[values] = colours
    image = Image.fromarray(np.array(values, np.uint8)[labels])
    image.putpalette(palette.tobytes(), "RGB")
    return image
