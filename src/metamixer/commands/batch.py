"""Batch processing of files: those that fail are listed at the end, and the others are processed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from ..errors import InputError


class Batch:
    """`with Batch(count, out) as batch:` around all files, and `with batch.file(path):` around each one.

    On exit, failures are listed on standard error and raise InputError.
    """

    def __init__(self, count: int, out: str | Path):
        self.count = count
        self.out = out
        self.failures: list[str] = []

    def __enter__(self) -> "Batch":
        return self

    @contextmanager
    def file(self, path: Path) -> Iterator[None]:
        """Record the errors of one file, so that the others are processed."""
        try:
            yield
        except InputError as error:
            self.failures.append(str(error) if str(error).startswith(str(path)) else f"{path}: {error}")
        except Exception as error:  # a library's failure on one file must not stop the others
            self.failures.append(f"{path}: {type(error).__name__}: {error}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.count == 1 and self.failures and error is None:
            raise InputError(self.failures[0])
        for failure in self.failures:
            print(f"metamixer: failed: {failure}", file=sys.stderr)
        if self.failures and error is None:
            others = f"; the others are in {self.out}" if len(self.failures) < self.count else ""
            raise InputError(f"{len(self.failures)} of {self.count} files failed, named above{others}")
