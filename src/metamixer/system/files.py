"""Atomic writing of files, checks of targets, and file names."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path

from PIL import Image

from ..errors import InputError


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, which replaces `path` on success.

    Raises InputError if writing fails (no space, no permission); an existing file is then unchanged.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # unique to this process
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: can't be written ({error.strerror or error}); an existing file is unchanged"
        ) from None
    finally:
        with suppress(NotADirectoryError):
            part.unlink(missing_ok=True)


def files_below(folder: str | Path, suffixes: Sequence[str]) -> list[Path]:
    """The files with these suffixes below a folder, sorted; raises InputError if there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected files such as *{suffixes[0]} in it")
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes and file.is_file())


def expect_file(path: Path) -> None:
    """Raise InputError unless the path is a file."""
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
    inputs, results = {source.resolve() for source in sources}, set()
    for target in targets:
        if target.resolve() in results:
            raise InputError(f"{target}: the target of two results, expected different names")
        results.add(target.resolve())
        blocked = next((parent for parent in target.parents if parent.is_file()), None)
        if target.is_dir() or blocked:
            what = f"{blocked} is a file" if blocked else "it is a folder"
            raise InputError(f"{target}: can't be written, {what}, expected the name of a file in a folder")
        folder = next(parent for parent in target.absolute().parents if parent.exists())
        if not os.access(folder, os.W_OK):
            raise InputError(f"{target}: can't be written, {folder} isn't writable, expected another folder")
        if target.resolve() in inputs:
            raise InputError(f"{target}: is one of the inputs, expected another folder for the results")
        if target.exists() and not overwrite:
            raise InputError(f"{target}: exists, expected another name or folder, or --overwrite")


def free_name(path: str | Path, *, overwrite: bool = False) -> str:
    """A path that nothing has yet: detected, else detected_2 and so on; forecast.csv, forecast_2.csv. With `overwrite`
    the path itself.
    """
    path = Path(path)
    names = chain([path], (path.with_stem(f"{path.stem}_{number}") for number in count(2)))
    return str(path if overwrite else next(name for name in names if not name.exists()))


def write_text(path: str | Path, text: str) -> None:
    """Write a text file that ends in a newline."""
    with written_whole(path) as part:
        part.write_text(text + "\n")


def write_csv(path: str | Path, rows: Iterable[Sequence[object]]) -> None:
    """Write a table; the first row has the column names."""
    with written_whole(path) as part, part.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


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
