"""What is held out for validation, determined by a seed."""

import random
from collections.abc import Sequence
from typing import TypeVar

from ..errors import InputError

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


def at_least_two(count: int, what: str) -> None:
    """Raise InputError for too few items to split into training and validation."""
    if count < 2:
        raise InputError(f"{what}: found {count}, expected at least 2: one for training, one for validation")
