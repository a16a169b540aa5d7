"""Warnings about several series, which add up over the parts of a table."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from ...errors import InputWarning
from .dates import MOST_NAMED, some


class SeriesWarning(InputWarning):
    """What was found of some series, and what follows from it.

    found: of the first few series, such as "series 'a' has 3 values"; count: number of all these series; follows: the
    same for all series, and for all warnings of this kind.
    """

    def __init__(self, found: Sequence[str], count: int, follows: str):
        super().__init__(f"{some(found, count)}; {follows}")
        self.found, self.count, self.follows = found[:MOST_NAMED], count, follows

    def __add__(self, later: Self) -> "SeriesWarning":
        return SeriesWarning([*self.found, *later.found], self.count + later.count, self.follows)


class WarningTally:
    """The warnings about the parts of a table, which become one of each kind."""

    def __init__(self):
        self.kinds: dict[str, Warning] = {}

    @contextmanager
    def part(self) -> Iterator[None]:
        """Hold the warnings of some work; those of work that fails are dropped."""
        with warnings.catch_warnings(record=True, action="always") as caught:
            yield
        for warning in caught:
            self._add(warning.message)

    def _add(self, warning: Warning | str) -> None:
        if isinstance(warning, SeriesWarning):
            earlier = self.kinds.get(warning.follows)
            self.kinds[warning.follows] = earlier + warning if isinstance(earlier, SeriesWarning) else warning
        elif isinstance(warning, Warning):
            self.kinds[str(warning)] = warning

    def warn(self) -> None:
        """Give the warnings."""
        for warning in self.kinds.values():
            warnings.warn(warning, stacklevel=2)
