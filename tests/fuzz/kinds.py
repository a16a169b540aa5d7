"""The kinds of files that are mutated: a small good file of each, and what reads it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path

from metamixer.errors import InputError

FAMILIES = ("images", "clouds", "tables", "descriptions", "networks", "programs")
"""Modules of `fuzz.seeds`."""


@dataclass(frozen=True)
class Kind:
    """name: of the seed file; read: what a command does with such a file; beside: other files that it needs, of the
    same name but for the suffix; slow: takes seconds, so it has a case in every fourth round only.
    """

    name: str
    read: Callable[[Path], object]
    beside: tuple[str, ...] = ()
    slow: bool = False

    @property
    def suffix(self) -> str:
        return "".join(Path(self.name).suffixes)

    def place_beside(self, path: Path, seeds: Path) -> None:
        """Copy the other files next to one of this kind."""
        for name in self.beside:
            shutil.copy(seeds / name, path.with_name(path.name.partition(".")[0] + Path(name).suffix))


def each_of(*readers: Callable[[Path], object]) -> Callable[[Path], None]:
    """A reader that calls all of them, whatever the others raise; then raises an InputError without the file's name if
    there was one, else the first InputError.
    """

    def read(path: Path) -> None:
        errors: list[InputError] = []
        for reader in readers:
            try:
                reader(path)
            except InputError as error:
                errors.append(error)
        for error in sorted(errors, key=lambda error: path.stem in str(error)):
            raise error

    return read


def in_turn(kinds: list[Kind]) -> Iterator[Kind]:
    """Kinds one after the other, round after round."""
    for number in count():
        yield from (kind for kind in kinds if not kind.slow or number % 4 == 0)


def make(folder: Path) -> list[Kind]:
    """Write the seeds into a folder; kinds whose package isn't installed are left out."""
    kinds = [kind for family in FAMILIES for kind in import_module(f"fuzz.seeds.{family}").make(folder)]
    return [kind for kind in kinds if (folder / kind.name).is_file()]
