"""The splits of an image folder, and whether their classes match."""

import os
from collections.abc import Mapping, Sequence
from itertools import chain, permutations
from pathlib import Path

from ...errors import InputError

SPLITS = (("train", "training"), ("val", "valid", "validation", "eval", "evaluation"))
"""Synonymous folder names of a split, as in timm."""

NAMES = (*chain(*SPLITS), "test")


def split_folder(root: str | Path, split: str) -> Path:
    """The folder of a split: its name or a synonym, in capitals or not, or the root if it isn't split.

    Raises InputError if the root is missing or has other splits only.
    """
    root, folders = Path(root), folders_by_name(root)
    names = [split, *next((synonyms for synonyms in SPLITS if split in synonyms), ())]
    found = [place for name in names if (place := folders.get(name.lower(), root / name)).is_dir()]
    others = [folders[name].name for name in NAMES if name in folders]
    if not found and others:
        raise InputError(
            f"{root}: no folder for split {split!r}, expected {root / split}; there are {', '.join(others)}"
        )
    return found[0] if found else root


def split_folders(root: str | Path) -> dict[str, Path]:
    """The folders of "train" and, if there is one, "validation"; the root is that of "train" if it isn't split.

    It is split if it has both, or "train" and nothing but folders of splits.
    """
    folders = folders_by_name(root)
    train, val = (next((folders[name] for name in names if name in folders), None) for names in SPLITS)
    if train and val:
        return {"train": train, "validation": val}
    return {"train": train if train and folders.keys() <= set(NAMES) else Path(root)}


def has_splits(root: str | Path) -> bool:
    """Whether there are folders of training and of validation images."""
    return "validation" in split_folders(root)


def folders_by_name(root: str | Path) -> dict[str, Path]:
    """The visible folders directly in a folder, by their names in small letters."""
    return {each.name.lower(): each for each in visible_folders(Path(root))}  # of two, small letters are the last


def visible_folders(folder: Path) -> list[Path]:
    """The folders directly in a folder, sorted, without hidden ones; raises InputError if there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected one with a folder for each class")
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))


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
