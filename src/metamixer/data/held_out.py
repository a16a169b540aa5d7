"""What is held out for validation: by a seed, or as in an earlier run."""

import json
import random
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import InputError, first_line

HELD_BACK = 0.2
"""Fraction of each class that is held out for validation."""

Item = TypeVar("Item")


def held_back(count: int) -> int:
    """The number of items held out for validation; both splits get at least one."""
    return min(max(round(count * HELD_BACK), 1), count - 1)


def split(items: Sequence[Item], seed: int) -> tuple[list[Item], list[Item]]:
    """Items for training and items for validation, determined by the seed."""
    shuffled = list(items)
    random.Random(seed).shuffle(shuffled)
    count = held_back(len(shuffled))
    return sorted(shuffled[count:]), sorted(shuffled[:count])


def listed(file: Path) -> str:
    """A file's path as it is in the split.json of a run: the same from every working directory."""
    return str(file.parent.resolve() / file.name)


def read_held_out(path: str | Path) -> set[str]:
    """The validation images that the split.json of a run lists; raises InputError if it lists none."""
    try:
        return set(json.loads(Path(path).read_text(encoding="utf-8"))["validation"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: no list of validation images ({first_line(error)}), expected the split.json of a classifier's run"
        ) from None


def split_as_listed(files: Sequence[Path], held: Container[str]) -> tuple[list[Path], list[Path]]:
    """Files for training, and those listed as held out; raises InputError if there are none of either."""
    val = [file for file in files if listed(file) in held]
    if not 0 < len(val) < len(files):
        raise InputError(
            f"{files[0].parent}: {len(val)} of {len(files)} images are listed for validation, expected some, not all"
        )
    return [file for file in files if file not in val], val


def at_least_two(count: int, what: str) -> None:
    """Raise InputError for too few items to split into training and validation."""
    if count < 2:
        raise InputError(f"{what}: found {count}, expected at least 2: one for training, one for validation")
