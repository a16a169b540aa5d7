"""Where the splits of a folder of images are, and whether they go together."""

from collections.abc import Sequence
from pathlib import Path

from ...errors import InputError

SPLITS = (("train", "training"), ("val", "valid", "validation", "eval", "evaluation"))
"""Names of folders that stand for the same split, as timm has them."""


def split_folder(root: str | Path, split: str) -> Path:
    """Where timm's reader finds a split: a folder of its name or of a synonym; the root itself, where it is not
    divided.

    Raises InputError where there is no root, or where it is divided into other splits.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder, expected one with a folder for each class")
    names = [split, *next((synonyms for synonyms in SPLITS if split in synonyms), ())]
    found = [root / name for name in names if (root / name).is_dir()]
    others = [name for synonyms in (*SPLITS, ("test",)) for name in synonyms if (root / name).is_dir()]
    if not found and others:
        raise InputError(
            f"{root}: no folder for split {split!r}, expected {root / split}; there are {', '.join(others)}"
        )
    return found[0] if found else root


def expect_two_splits(root: str, train: str, val: str) -> None:
    """Raises InputError where a folder that is not divided would be trained on and measured with the same images."""
    if train != val and split_folder(root, train) == split_folder(root, val):
        raise InputError(
            f"{root}: no folders for splits {train!r} and {val!r}, expected {train}/CLASS/IMAGE and {val}/CLASS/IMAGE"
        )


def expect_same_classes(train: Sequence[str], val: Sequence[str]) -> None:
    """Raises InputError that names a class which only one of the splits holds: numbers would mean different classes."""
    for names, others, here, there in ((train, val, "training", "validation"), (val, train, "validation", "training")):
        lone = [name for name in names if name not in others]
        if lone:
            raise InputError(
                f"class {lone[0]!r} ({len(lone)} such) of the {here} split: no images in the {there} split, "
                "expected some in both"
            )
