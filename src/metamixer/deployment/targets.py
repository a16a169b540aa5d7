"""The target of an export: checks of what may be replaced, and atomic writing of several files."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from ..system.files import REPLACED, check_targets, move_into, part_folder, sweep
from .formats import Format

MANIFEST = "Manifest.json"
"""A file that every Core ML package has, and ordinary folders don't."""


def check_out(out: Path, format: Format, *, sources: Iterable[Path] = (), overwrite: bool) -> None:
    """Raise InputError for a name of another format, a source, a folder or, unless `overwrite`, an existing file.

    The additional files of a format are checked, too.
    """
    sweep(out.parent)  # which may put a package back
    if not _is_package(out, format):
        sides = [out.with_suffix(side) for side in format.sides if out.name]
        check_targets([out, *sides], sources=sources, overwrite=overwrite)
    elif not overwrite:
        raise InputError(f"{out}: exists, expected another name, or --overwrite")
    if out.suffix != format.suffix:
        raise InputError(f"out {str(out)!r}, expected a name that ends in {format.suffix}")


@contextmanager
def written_together(out: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; afterwards all files in its folder are moved next to `out`.

    No rename replaces a package, which is a folder. It waits next to the new one in between; if the process is killed
    then, `sweep` puts it back.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with part_folder(out.parent) as folder:
            yield folder / out.name
            parts = sorted(folder.iterdir(), key=lambda part: part.suffix == out.suffix)
            with _moved_aside(out, folder / REPLACED):
                move_into(out.parent, parts)
    except OSError as error:
        raise InputError(f"{out}: can't be written ({error.strerror or error})") from None


@contextmanager
def _moved_aside(package: Path, place: Path) -> Iterator[None]:
    """Move an existing package to `place`, and back unless another has taken its place."""
    try:
        if (package / MANIFEST).is_file():
            package.rename(place)
        yield
    finally:
        if place.exists() and not package.exists():
            place.rename(package)


def _is_package(path: Path, format: Format) -> bool:
    return format.package and path.suffix == format.suffix and (path / MANIFEST).is_file()
