"""The splits of an image folder, and whether their classes match."""

from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

from ...errors import InputError

SPLITS = (("train", "training"), ("val", "valid", "validation", "eval", "evaluation"))
"""Synonymous folder names of a split, as in timm."""


def split_folder(root: str | Path, split: str) -> Path:
    """The folder in which timm's reader finds a split: its name or a synonym, or the root if it isn't split.

    Raises InputError if the root is missing or has other splits only.
    """
    root = Path(root)
    expect_folder(root)
    names = [split, *next((synonyms for synonyms in SPLITS if split in synonyms), ())]
    found = [root / name for name in names if (root / name).is_dir()]
    others = [name for synonyms in (*SPLITS, ("test",)) for name in synonyms if (root / name).is_dir()]
    if not found and others:
        raise InputError(
            f"{root}: no folder for split {split!r}, expected {root / split}; there are {', '.join(others)}"
        )
    return found[0] if found else root


def split_folders(root: str | Path) -> dict[str, Path]:
    """The folders of "train" and "validation", if both exist; else the root is that of "train"."""
    train, val = (next((Path(root, name) for name in names if Path(root, name).is_dir()), None) for names in SPLITS)
    return {"train": train, "validation": val} if train and val else {"train": Path(root)}


def has_splits(root: str | Path) -> bool:
    """Whether there are folders of training and of validation images."""
    return "validation" in split_folders(root)


def expect_folder(folder: Path) -> None:
    """Raise InputError if there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected one with a folder for each class")


def visible_folders(folder: Path) -> list[Path]:
    """The folders directly in a folder, sorted, without hidden ones."""
    expect_folder(folder)
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def expect_two_splits(root: str, train: str, val: str) -> None:
    """Raise InputError if training and validation would use the same images, because the folder isn't split."""
    if train != val and split_folder(root, train) == split_folder(root, val):
        raise InputError(
            f"{root}: no folders for splits {train!r} and {val!r}, expected {train}/CLASS/IMAGE and {val}/CLASS/IMAGE"
        )


def expect_same_classes(classes: Mapping[str, Sequence[str]]) -> None:
    """Raise InputError for a class in only one of the splits, because class indices would differ.

    classes: the name of each split -> its classes.
    """
    for (here, names), (there, others) in permutations(classes.items(), 2):
        lone = [name for name in names if name not in others]
        if lone:
            raise InputError(
                f"class {lone[0]!r} ({len(lone)} such) of the {here} split has no images in the {there} "
                "split, expected some in both"
            )
