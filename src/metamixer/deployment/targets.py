"""The target of an export: checks of what may be replaced, and atomic writing of several files."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from ..system.files import PART, check_targets
from .formats import Format

MANIFEST = "Manifest.json"
"""A file that every Core ML package has, and ordinary folders don't."""


def check_out(out: Path, format: Format, *, sources: Iterable[Path] = (), overwrite: bool) -> None:
    """Raise InputError for a name of another format, a source, a folder or, unless `overwrite`, an existing file.

    The additional files of a format are checked, too.
    """
    if not _is_package(out, format):
        sides = [out.with_suffix(side) for side in format.sides if out.name]
        check_targets([out, *sides], sources=sources, overwrite=overwrite)
    elif not overwrite:
        raise InputError(f"{out}: exists, expected another name, or --overwrite")
    if out.suffix != format.suffix:
        raise InputError(f"out {str(out)!r}, expected a name that ends in {format.suffix}")


@contextmanager
def written_together(out: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; afterwards all files in its folder are moved next to `out`."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=PART, dir=out.parent))
    except OSError as error:
        raise InputError(f"{out}: can't be written ({error.strerror})") from None
    try:
        yield folder / out.name
        for part in sorted(folder.iterdir(), key=lambda part: part.suffix == out.suffix):
            target = out.with_name(part.name)
            if part.is_dir() and (target / MANIFEST).is_file():
                target.rename(folder / "replaced")
            part.replace(target)
    except OSError as error:
        raise InputError(f"{out}: can't be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_package(path: Path, format: Format) -> bool:
    return format.package and path.suffix == format.suffix and (path / MANIFEST).is_file()
