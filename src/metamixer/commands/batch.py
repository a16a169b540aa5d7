"""Batch processing of files: planned before anything is loaded; a failed file doesn't stop the others."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ..errors import InputError, first_line, printable
from ..system.files import check_targets, unique_stems
from .downloads import with_urls
from .output import Output


@dataclass(frozen=True)
class Job:
    """A file and the path of its results, to which each result adds its ending."""

    source: Path
    target: Path

    def named(self, ending: str) -> Path:
        """The path of the result with this ending, such as _labels.png."""
        return self.target.with_name(self.target.name + ending)


def plan(
    sources: Sequence[Path],
    out: str | Path,
    *,
    endings: Callable[[Path], Iterable[str]],
    tables: Iterable[str] = (),
    files: Callable[[Path], Iterable[Path]] = lambda source: [source],
    json: str | None,
    overwrite: bool,
) -> tuple[list[Job], Output]:
    """A job for each source, with results in the folder `out`, and the command's output.

    Raises InputError if a result is an input or another result, or exists.

    endings: of a source's results; tables: names of the files about all sources; files: the files that a source
    consists of; json: of `Output`.
    """
    jobs = [Job(source, Path(out, stem)) for source, stem in zip(sources, unique_stems(sources), strict=True)]
    results = [job.named(ending) for job in jobs for ending in endings(job.source)]
    results += [Path(out, name) for name in tables]
    inputs = [file for source in sources for file in files(source)]
    check_targets(results, sources=inputs, overwrite=overwrite)
    return jobs, Output(json, sources=inputs, results=results, overwrite=overwrite)


AnyJob = TypeVar("AnyJob", bound=Job)


def run_jobs(
    jobs: Sequence[AnyJob], out: str | Path, work: Callable[[AnyJob], Any], finish: Callable[[list[Any]], object]
) -> None:
    """Do the work of each job, then finish with the results of those that succeeded; raises as `Batch` does."""
    done = []
    with Batch(len(jobs), out) as batch:
        for job in jobs:
            with batch.file(job.source):
                done.append(work(job))
        if done:
            finish(done)


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
        except BrokenPipeError:  # standard output is closed: no fault of the file
            raise
        except InputError as error:
            self.failures.append(str(error) if str(error).startswith(str(path)) else f"{path}: {error}")
        except Exception as error:  # a library's failure on one file must not stop the others
            self.failures.append(f"{path}: {type(error).__name__}: {first_line(error)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.count == 1 and self.failures and error is None:
            raise InputError(self.failures[0])
        for failure in self.failures:
            print(f"metamixer: failed: {printable(with_urls(failure))}", file=sys.stderr)
        if self.failures and error is None:
            others = f"; the others are in {self.out}" if len(self.failures) < self.count else ""
            raise InputError(f"{len(self.failures)} of {self.count} files failed, named above{others}")
