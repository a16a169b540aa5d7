"""The description of a folder of data, and its split into training and validation."""

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...errors import InputError, InputWarning, counted
from ...models.tasks import TaskSpec
from ..run_folder import SPLIT, list_split

LEFT_OUT = "left_out"
"""Key of split.json for files in neither part of a split that the user gave, such as those for a test."""

Arguments = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """Data and how to train a network on it.

    task: the task; understood: a one-line description; items, val_items: numbers of training and validation items.
    network, network_args: the network and its keywords, unless training starts from weights.
    inputs_for: the info of a checkpoint, and whether the user asked for it -> keywords of the data module by which its
    network gets its inputs; None if it isn't made for this data.
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
    inputs_for: Callable[[Mapping[str, Any], bool], Arguments | None] = lambda info, requested: {}
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


def as_in_run(data: OwnData, path: str | Path, out: Path) -> OwnData:
    """The data in the split of the run in `out`; raises InputError unless the run started with these files.

    Runs of earlier versions split clouds at random where the user gave a split, and keep theirs. Those without a folder
    `data_N` listed their files in another way: they aren't compared.
    """
    if next(out.glob("data_*"), None) is None:
        return data
    with tempfile.TemporaryDirectory() as folder:
        data.prepare(Path(folder))
        now = read_split(Path(folder, SPLIT))
    started = read_split(file := out / SPLIT)
    if all(started.get(name) == part for name, part in now.items() if name != LEFT_OUT):
        return data
    earlier = LEFT_OUT in now and [*started] == ["train", "val"]
    if not (earlier and files_of(now) == files_of(started)):
        raise InputError(
            f"{path}: not the data that the run in {out} started with (its files are in {file}), expected it unchanged "
            "to resume; train without --resume"
        )
    warnings.warn(f"{out}: the run keeps its split ({file}), which {path} differs from", InputWarning, stacklevel=3)
    train, val = (len(files_of({name: files})) for name, files in started.items())
    how = f"{counted(train + val, 'file')}, {val} of them for validation ({SPLIT})"
    return replace(data, understood=how, items=train, val_items=val)


def read_split(file: Path) -> dict[str, Any]:
    """The content of a split.json; nothing if it can't be read."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def files_of(content: Mapping[str, Any]) -> set[str]:
    """The files of all parts, and those left out."""
    return {str(file) for files in content.values() if isinstance(files, list) for file in files}


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
