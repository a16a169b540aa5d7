"""Progress bars on standard error, only in a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def progress_bar() -> "Progress":
    """A progress bar on standard error, with printed lines above it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal)


@contextmanager
def shown(progress: "Progress", name: str) -> Iterator[Callable[[int, int], None]]:
    """A line of the bar during some work; yields a function to call with (parts done, all parts)."""
    task = progress.add_task(name, total=None)
    try:
        yield lambda done, count: progress.update(task, completed=done, total=count)
    finally:
        progress.remove_task(task)


@contextmanager
def working(name: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for one piece of work."""
    with progress_bar() as progress, shown(progress, name) as show:
        yield show
