"""The description of a folder of data, and its split into training and validation."""

import filecmp
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...models.tasks import TaskSpec
from ..run_folder import SPLIT, list_split

Arguments = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """Data and how to train a network on it.

    task: the task; understood: a one-line description; items, val_items: numbers of training and validation items.
    network, network_args: the network and its keywords, unless training starts from weights.
    on_backbone: the network has a backbone with packaged weights, from which it starts if it has none of its own.
    model_class, model: the task's class and keywords; data_class: the data module; trainer: Lightning's keywords.
    prepare: a new folder -> keywords of the data module; it lists the files of each split in split.json there, and
    writes only into that folder.
    most_epochs: maximum number of epochs.
    for_epochs: number of epochs -> keywords of the optimization that follow from it.
    """

    task: TaskSpec
    understood: str
    items: int
    val_items: int
    network: str
    network_args: Arguments = field(default_factory=dict)
    on_backbone: bool = False
    model_class: str
    model: Arguments
    data_class: str
    prepare: Callable[[Path], Arguments]
    trainer: Arguments = field(default_factory=dict)
    most_epochs: int = 100
    for_epochs: Callable[[int], Arguments] = lambda epochs: {}


def write_split(out: Path, parts: Mapping[str, Sequence[Path]]) -> Path:
    """List the files of each split; returns a new, empty folder in `out` for them, as an absolute path."""
    list_split(out, parts)
    folder = out.resolve() / "split"
    folder.mkdir()
    return folder


def expect_split_of(data: OwnData, path: str | Path, out: Path) -> None:
    """Raise InputError unless the data has the files of the run in `out`, in the same splits.

    Runs of earlier versions, which have no folder `data_N`, listed their files in another way: they aren't compared.
    """
    if next(out.glob("data_*"), None) is None:
        return
    file = out / SPLIT
    with tempfile.TemporaryDirectory() as folder:
        data.prepare(Path(folder))
        same = file.is_file() and filecmp.cmp(Path(folder, SPLIT), file, shallow=False)
    if not same:
        raise InputError(
            f"{path}: not the data that the run in {out} started with (its files are in {file}), expected it unchanged "
            "to resume; train without --resume"
        )


def place(file: Path, target: Path) -> None:
    """Add a file to the split: as a link, or as a copy if the system doesn't support links.

    Raises InputError if the target exists: a copy would be written through a link, into the user's file.
    """
    if os.path.lexists(target):
        raise InputError(f"{file}: {target} exists, expected different names of files")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.symlink(file.resolve(), target)
    except OSError:
        shutil.copyfile(file, target)


def named(names: Sequence[str], most: int = 5) -> str:
    """The first names, separated by commas."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
