"""A folder of images as every command reads it: folders of splits, or none, and in them a folder for each class."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from timm.utils.misc import natural_key

from ...errors import InputError, counted
from ..held_out import at_least_two, split
from .splits import NAMES, expect_same_classes, split_folders, visible_folders

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif")
"""Suffixes of the image files in a folder."""

IMAGES = ("images", "image", "img", "imgs")
MASKS = ("masks", "mask", "labels", "annotations", "segmentation")
"""Names of the folders of images and their masks."""

NO_CLASSES = {*NAMES, *IMAGES, *MASKS}
"""Folders of these names alone aren't classes."""

ClassImages = dict[str, list[Path]]
Divide = Callable[[list[Path]], tuple[list[Path], list[Path]]]


def folders_of(root: str | Path, seed: int = 0, *, divide: Divide | None = None) -> dict[str, ClassImages]:
    """The images of a folder: "train" or "validation" -> class -> images, sorted.

    divide: the images of a class -> those to train with, and to validate with, where there is no folder for validation;
    None: a random fifth by the seed is validated. Raises InputError for fewer than two classes, one without images or
    with a single one to divide, and one in only one of the splits.
    """
    folders = split_folders(root)
    classes = {part: class_images(folder) for part, folder in folders.items()}
    for part, folder in folders.items():
        expect_classes(folder, classes[part])
    if "validation" in classes:
        expect_same_classes({"training": list(classes["train"]), "validation": list(classes["validation"])})
        return classes
    divide, parts = divide or partial(split, seed=seed), {}
    for name, images in classes["train"].items():
        at_least_two(len(images), f"{folders['train'] / name}: images of class {name!r}")
        parts[name] = divide(images)
    return {part: {name: both[i] for name, both in parts.items()} for i, part in enumerate(("train", "validation"))}


def expect_classes(folder: Path, classes: Mapping[str, Sequence[Path]]) -> None:
    """Raise InputError for fewer than two classes, folders that are no classes, or a class without images."""
    if len(classes) < 2:
        inner = next((f", or {folder / name}" for name in classes if has_classes(folder / name)), "")
        found = f"one class ({next(iter(classes))!r})" if classes else f"no folders of classes{left_out(folder)}"
        raise InputError(f"{folder}: {found}, expected a folder for each of at least two{inner}")
    if {name.lower() for name in classes} <= NO_CLASSES:
        raise InputError(
            f"{folder}: folders {', '.join(classes)}, expected one for each class, or train and val, or images and "
            f"masks; found {contents(folder) or 'no files'}"
        )
    empty = next((name for name, images in classes.items() if not images), None)
    if empty is not None:
        raise InputError(
            f"{folder}: no images in class {empty!r}{left_out(folder / empty)}, expected some; remove the folder if "
            "the class isn't used"
        )


def has_classes(root: str | Path) -> bool:
    """Whether images are in folders of classes: at least two, or any in a folder of the training split."""
    folder = split_folders(root)["train"]
    classes = [each for each in visible_folders(folder) if has_images(each)]
    return len(classes) >= (2 if folder == Path(root) else 1)


def class_images(folder: Path) -> ClassImages:
    """The images of each class: those below each visible folder, sorted."""
    return {each.name: sorted(filter(is_image, visible_files(each))) for each in visible_folders(folder)}


def images_of(classes: Mapping[str, Sequence[Path]]) -> list[Path]:
    """The images of all classes, sorted."""
    return sorted(chain(*classes.values()))


def has_images(folder: Path) -> bool:
    """Whether there are images in a folder or its subfolders."""
    return any(map(is_image, visible_files(folder)))


def is_image(file: Path) -> bool:
    """Whether a file has the suffix of an image."""
    return file.suffix.lower() in IMAGE_SUFFIXES


def visible_files(folder: Path) -> Iterator[Path]:
    """The files in a folder and its subfolders, also linked ones, without hidden ones."""
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in files if not name.startswith("."))


def left_out(folder: Path, used: Iterable[Path] = ()) -> str:
    """The visible files in a folder that aren't used, in words: "; not used: 27 .heic, 3 images in test"."""
    return f"; not used: {others}" if (others := contents(folder, used)) else ""


def contents(folder: Path, used: Iterable[Path] = ()) -> str:
    """The visible files in a folder, but for `used` ones, in words: "27 .heic, 3 images in test"."""
    kinds: Counter[str] = Counter()
    for file in set(visible_files(folder)).difference(used):
        place, *inside = file.relative_to(folder).parts
        kinds[f" in {place if inside else folder}" if is_image(file) else f" {file.suffix or file.name}"] += 1
    found = kinds.most_common()
    return ", ".join(f"{counted(n, 'image') if kind.startswith(' in ') else n}{kind}" for kind, n in found)


class FolderReader:
    """Reads the images of classes as timm's readers do: in natural order, as are the classes."""

    def __init__(self, classes: Mapping[str, Sequence[Path]]):
        names = sorted((name for name, images in classes.items() if images), key=natural_key)
        self.class_to_idx = {name: index for index, name in enumerate(names)}
        samples = [(str(image), self.class_to_idx[name]) for name in names for image in classes[name]]
        self.samples = sorted(samples, key=lambda sample: natural_key(sample[0]))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[str, int]:
        return self.samples[index]

    def filename(self, index: int, **how) -> str:
        """The path of an image."""
        return self.samples[index][0]
