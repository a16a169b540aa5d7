"""Atomic writing of files, checks of targets, and file names."""

import csv
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ..errors import InputError
from .locks import lock

if TYPE_CHECKING:
    import pandas

PART = ".metamixer-"
"""What the names of unfinished files begin with; they end in .part."""

REPLACED = "replaced"
"""A package in a `part_folder` that the package next to it replaces."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What text that a spreadsheet computes begins with."""


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield the path of a new, empty file next to `path`, which replaces `path` on success.

    Raises InputError if writing fails (no space, no permission); an existing file is then unchanged. Any number of
    threads and processes may write the same path: it is always one of their files, whole.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _part_in(path.parent) as part:
            yield part
            _flush(part)
            part.replace(path)
            _flush(path.parent)
    except OSError as error:
        raise InputError(
            f"{path}: can't be written ({error.strerror or error}); an existing file is unchanged"
        ) from None


@contextmanager
def part_folder(place: Path) -> Iterator[Path]:
    """Yield a new folder in `place`, from which `move_into` takes finished files; it is removed afterwards."""
    with _part_in(place) as part:
        folder = part.with_suffix("")
        try:
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def move_into(folder: Path, parts: Sequence[Path]) -> list[Path]:
    """Move files and folders of a `part_folder`, in this order, once they are on the disk; returns their new paths."""
    for path in chain(parts, *(part.rglob("*") for part in parts)):
        _flush(path)
    moved = [part.replace(folder / part.name) for part in parts]
    _flush(folder)
    return moved


def is_part(path: str) -> bool:
    """Whether a path is that of an unfinished file."""
    name = path.replace("\\", "/").rpartition("/")[2]
    return name.startswith(PART) and name.endswith(".part")


@contextmanager
def _part_in(folder: Path) -> Iterator[Path]:
    """Yield a new file, which is removed afterwards if it is still there; while its lock is held, nobody sweeps it."""
    sweep(folder)
    part, descriptor = _new_part(folder)
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        os.close(descriptor)


def _new_part(folder: Path) -> tuple[Path, int]:
    """A new file under a name that nobody can foresee, and a descriptor that holds its lock while it is written."""
    while True:
        part = folder / f"{PART}{secrets.token_hex(8)}.part"  # short, so that a name of 255 bytes has one too
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        with suppress(BlockingIOError):
            lock(descriptor)
            if part.exists():
                return part, descriptor
        os.close(descriptor)  # another process swept it before it was locked


def _flush(path: Path) -> None:
    """Have the system write a file's bytes, or a folder's names where it can, to the disk."""
    with suppress(OSError) if path.is_dir() else nullcontext():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@cache
def sweep(folder: Path) -> None:
    """Remove the unfinished files, and folders of such, that dead processes left in a folder; once a process.

    A package that was being replaced gets its place again. All stay where there are no locks: nothing tells them from
    those that a process is writing.
    """
    for part in folder.glob(f"{PART}*.part"):
        with suppress(OSError):
            descriptor = os.open(part, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                if lock(descriptor):
                    _remove_part_folder(part.with_suffix(""))
                    part.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _remove_part_folder(folder: Path) -> None:
    """Remove a `part_folder` of a dead process; its replaced package goes back unless another has taken its place."""
    if not folder.is_dir():
        return
    kept = folder / REPLACED
    for new in folder.iterdir():
        if new != kept and kept.exists() and not (place := folder.parent / new.name).exists():
            kept.rename(place)
    shutil.rmtree(folder)


def files_below(folder: str | Path, suffixes: Sequence[str]) -> list[Path]:
    """The files with these suffixes below a folder, sorted; raises InputError if there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected files such as *{suffixes[0]} in it")
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes and file.is_file())


def refuse_special(path: Path) -> None:
    """Raise InputError for a FIFO, a socket or a device, which may never begin or never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path}: is a FIFO, a socket or a device, expected a file")


def expect_file(path: Path) -> None:
    """Raise InputError unless the path is a file."""
    refuse_special(path)
    if not path.is_file():
        raise InputError(f"{path}: is a folder, expected a file" if path.is_dir() else f"{path}: no such file")


def each_once(paths: Iterable[Path]) -> list[Path]:
    """The paths in order, without duplicates."""
    first: dict[str, Path] = {}
    for path in paths:
        first.setdefault(os.path.abspath(path), path)
    return list(first.values())


def check_targets(targets: Iterable[Path], *, sources: Iterable[Path], overwrite: bool) -> None:
    """Raise InputError for targets that exist, unless `overwrite`, that are sources or that can't be written."""
    inputs, results = {os.path.realpath(source) for source in sources}, set()
    for target in targets:
        real = os.path.realpath(target)
        if real in results:
            raise InputError(f"{target}: the target of two results, expected different names")
        results.add(real)
        refuse_special(target)
        blocked = next((parent for parent in target.parents if parent.is_file()), None)
        if target.is_dir() or blocked:
            what = f"{blocked} is a file" if blocked else "it is a folder"
            raise InputError(f"{target}: can't be written, {what}, expected the name of a file in a folder")
        folder = next(parent for parent in target.absolute().parents if parent.exists())
        if not os.access(folder, os.W_OK):
            raise InputError(f"{target}: can't be written, {folder} isn't writable, expected another folder")
        if real in inputs:
            raise InputError(f"{target}: is one of the inputs, expected another folder or name for the result")
        if target.exists() and not overwrite:
            raise InputError(f"{target}: exists, expected another name or folder, or --overwrite")


def free_name(path: str | Path, *, overwrite: bool = False) -> str:
    """The first path that doesn't exist of NAME, NAME_2, NAME_3, ...; with `overwrite`, the path itself."""
    path = Path(path)
    names = chain([path], (path.with_stem(f"{path.stem}_{number}") for number in count(2)))
    return str(path if overwrite else next(name for name in names if not name.exists()))


def write_text(path: str | Path, text: str) -> None:
    """Write a text file that ends in a newline."""
    with written_whole(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def write_csv(path: str | Path, rows: Iterable[Sequence[object]]) -> None:
    """Write a table, its first row the columns' names; no cell is a formula (`plain_cell`)."""
    with written_whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([plain_cell(cell) for cell in row] for row in rows)


def plain_cell(cell: object) -> object:
    """A cell of a table that no spreadsheet takes for a formula: text that looks like one gets an apostrophe."""
    if not isinstance(cell, str) or cell[:1] not in FORMULA:
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def plain_table(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """The same without text and names of columns that a spreadsheet takes for formulas."""
    texts = [name for name in table.columns if not hasattr(table[name], "dt") and table[name].dtype.kind not in "iufM"]
    return table.assign(**{name: table[name].map(plain_cell) for name in texts}).rename(columns=plain_cell)


def write_picture(path: str | Path, picture: Image.Image) -> None:
    """Write a JPEG."""
    with written_whole(path) as part:
        picture.save(part, format="JPEG", quality=92)


def write_png(path: str | Path, picture: Image.Image) -> None:
    """Write a PNG, which is lossless."""
    with written_whole(path) as part:
        picture.save(part, format="PNG")


def unique_stems(paths: Iterable[Path]) -> list[str]:
    """A unique name without suffix for each file, also if folders have files of the same name: photo, photo_2."""
    stems: dict[str, None] = {}
    numbers: dict[str, Iterator[int]] = {}
    for path in paths:
        names = chain([path.stem], (f"{path.stem}_{number}" for number in numbers.setdefault(path.stem, count(2))))
        stems[next(name for name in names if name not in stems)] = None
    return list(stems)
