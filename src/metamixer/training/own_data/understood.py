"""What a folder of somebody's data was understood to be, and the split of its parts."""

import json
import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ...errors import InputError
from ...models.tasks import TaskSpec
from ...system.files import write_text

HELD_BACK = 0.2
"""The part of each class that is kept for validation."""

Item = TypeVar("Item")
Arguments = dict[str, Any]


@dataclass(frozen=True)
class OwnData:
    """A folder and how a network learns from it.

    task: what it is for; understood: that in a line; items: what an epoch goes through, val_items: what is validated.
    model: keywords of the task's class; data: the data module's class; trainer: keywords of Lightning's.
    prepare: (the run's folder, seed) -> keywords of the data module; what it writes is below that folder.
    most_epochs: more are of no use.
    """

    task: TaskSpec
    understood: str
    items: int
    val_items: int
    model_class: str
    model: Arguments
    data_class: str
    prepare: Callable[[Path, int], Arguments]
    trainer: Arguments = field(default_factory=dict)
    most_epochs: int = 100


def held_back(count: int) -> int:
    """How many of several are kept for validation; at least one on either side."""
    return min(max(round(count * HELD_BACK), 1), count - 1)


def split(items: Sequence[Item], seed: int) -> tuple[list[Item], list[Item]]:
    """Those to train on and those to validate on, the same for the same seed."""
    shuffled = list(items)
    random.Random(seed).shuffle(shuffled)
    count = held_back(len(shuffled))
    return sorted(shuffled[count:]), sorted(shuffled[:count])


def write_split(out: Path, parts: Mapping[str, Sequence[str]]) -> Path:
    """Write down in the run which file is in which part; gives the folder of the split, empty."""
    folder = out / "split"
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_text(out / "split.json", json.dumps({name: list(files) for name, files in parts.items()}, indent=1))
    return folder


def place(file: Path, target: Path) -> None:
    """Let a file stand in the split as well: by a link, or a copy where the system has none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.symlink(file.resolve(), target)
    except OSError:
        shutil.copyfile(file, target)


def counted(count: int, one: str, several: str | None = None) -> str:
    """A number with its noun: 1 class, 2 classes."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def named(names: Sequence[str], most: int = 5) -> str:
    """Some names for a line."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def at_least_two(count: int, what: str) -> None:
    """Refuse what can't be divided into training and validation."""
    if count < 2:
        raise InputError(f"{what}: {count} of them, expected at least 2: one to learn from, one to validate on")
