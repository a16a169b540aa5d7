"""The kinds of data that `metamixer train` accepts, and how each is recognized."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...data.images.folders import contents
from ...errors import InputError
from .clouds import has_clouds, understand_clouds
from .images import has_class_folders, has_large_images, understand_class_folders, understand_large_images
from .objects import coco_files, understand_objects
from .pixels import mask_folders, understand_masks
from .tables import has_tables, understand_table
from .understood import OwnData


@dataclass(frozen=True)
class Kind:
    """A kind of data.

    what: a short description; recognizes: whether a folder is of this kind; understand: describes the data, split by a
    seed, raises InputError if it can't be used; sure: recognition is unambiguous, so two sure kinds in one folder are
    an error.
    """

    what: str
    recognizes: Callable[[Path], object]
    understand: Callable[[Path, int], OwnData]
    sure: bool = True


TABLE = Kind("a table of time series", has_tables, understand_table, sure=False)
KINDS = (
    Kind("images with a COCO JSON file", coco_files, understand_objects),
    Kind("images with masks (folders images and masks)", mask_folders, understand_masks),
    Kind("labeled point clouds", has_clouds, understand_clouds),
    Kind("a folder of images for each class", has_class_folders, understand_class_folders, sure=False),
    Kind("large images", has_large_images, understand_large_images, sure=False),
    TABLE,
)
"""From the most specific to the least specific."""


def understand(path: str | Path, seed: int = 0) -> OwnData:
    """Describe the data in a folder or table file; raises InputError unless it is exactly one of `KINDS`."""
    return kind_of(path).understand(Path(path), seed)


def kind_of(path: str | Path) -> Kind:
    """The kind of the data in a folder or table file; raises InputError unless it is exactly one of `KINDS`."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder, expected data to train on")
    kinds = [kind for kind in KINDS if kind.recognizes(path)] if path.is_dir() else []
    if path.is_file():
        kinds = [TABLE] if has_tables(path) else []
    if not kinds:
        expected = "; ".join(kind.what for kind in KINDS)
        found = f"; found {contents(path) or 'no files'}" if path.is_dir() else ""
        raise InputError(f"{path}: nothing to train on, expected one of: {expected}{found}")
    sure = [kind for kind in kinds if kind.sure]
    if len(sure) > 1:
        raise InputError(f"{path}: {' and '.join(kind.what for kind in sure)}, expected only one of them")
    return kinds[0]
