"""Many files through one command: those that fail are named at the end, and the others are done."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from ..errors import InputError, first_line, printable


class Batch:
    """`with Batch(count, out) as batch:`, and in it `with batch.file(path):` around each file's work.

    Leaving it, for whatever reason, names the files that failed on standard error; raises InputError where there are
    some.
    """

    def __init__(self, count: int, out: str | Path):
        self.count = count
        self.out = out
        self.failures: list[str] = []

    def __enter__(self) -> "Batch":
        return self

    @contextmanager
    def file(self, path: Path) -> Iterator[None]:
        """Keep what goes wrong with one file from the others."""
        try:
            yield
        except InputError as error:
            self.failures.append(str(error) if str(error).startswith(str(path)) else f"{path}: {error}")
        except Exception as error:  # a library that trips over one file must not cost the others
            self.failures.append(f"{path}: {type(error).__name__}: {first_line(error)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.count == 1 and self.failures and error is None:
            raise InputError(self.failures[0])
        for failure in self.failures:
            print(f"metamixer: failed: {printable(failure)}", file=sys.stderr)
        if self.failures and error is None:
            others = f"; the others are in {self.out}" if len(self.failures) < self.count else ""
            raise InputError(f"{len(self.failures)} of {self.count} files failed, named above{others}")
