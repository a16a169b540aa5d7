"""What commands do with `--engine`: the same predictions of very many inputs, by one process or by many machines."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from ..errors import InputError, printable, shown

PACKAGES = {"local": ("pyarrow", "fsspec"), "ray": ("ray", "pyarrow", "fsspec")}
"""What the engines need, all in the extra `ray`."""

NOTHING: Mapping[str, Any] = {}


def done_by_engine(
    engine: str | None,
    task: str,
    inputs: Sequence[str],
    out: str | None,
    *,
    load: Mapping[str, Any],
    options: Mapping[str, Any] = NOTHING,
    refused: Mapping[str, Any] = NOTHING,
    pictures: bool,
    overwrite: bool,
    **how: Any,
) -> bool:
    """Whether --engine is given, which then predicts the images or clouds; without it, the command does.

    load: the predictor's, options: of each prediction, refused: options of the command that an engine doesn't have,
    how: of `engine.files.Files`.
    """
    if not engine:
        refuse_without_engine(pictures=pictures)
        return False
    refuse_with_engine(engine, **refused)
    expect_engine(engine, out)
    from ..engine.files import Files

    source = load.get("source")
    load = {**load, "source": os.path.abspath(source) if source and os.path.exists(source) else source}
    _run(engine, Files(task, inputs, load, options, pictures=pictures, **how), out, overwrite=overwrite)
    return True


def forecast_tables(
    engine: str, tables: Sequence[str], out: str | None, *, horizon: int | None, overwrite: bool, **how: Any
) -> None:
    """Forecast long tables of very many series; how: of `engine.series.Tables`."""
    expect_engine(engine, out)
    from ..engine.series import Tables

    _run(engine, Tables.of(tables, horizon=96 if horizon is None else horizon, **how), out, overwrite=overwrite)


def expect_engine(engine: str, out: str | None) -> None:
    """Raise InputError where there is no such engine, or no folder for its results."""
    if not re.fullmatch("local|ray(:[1-9][0-9]{0,4})?", engine):
        raise InputError(f"engine {shown(engine)}, expected local, ray, or ray:ACTORS such as ray:4")
    name = engine.partition(":")[0]
    missing = [package for package in PACKAGES[name] if find_spec(package) is None]
    if missing:
        raise InputError(f"--engine {name} needs {', '.join(missing)}: pip install 'metamixer[ray]'")
    if not out:
        raise InputError(f"engine {name} without --out, expected a folder for its results")


def refuse_with_engine(engine: str, **options: Any) -> None:
    """Raise InputError for an option that jobs don't have."""
    for name, value in options.items():
        if value not in (None, False, ()):
            raise InputError(f"{name} {value!r} with --engine {engine}, expected it without --engine")


def refuse_without_engine(**options: Any) -> None:
    """Raise InputError for an option that only jobs have."""
    for name, value in options.items():
        if value not in (None, False):
            raise InputError(f"{name} {value!r} without --engine, expected it with --engine local or ray")


def _run(engine: str, work: Any, out: str, *, overwrite: bool) -> None:
    import sys

    from ..engine.folder import Folder
    from ..engine.job import Job
    from ..engine.shard import PREDICTIONS
    from ..engine.sources import absolute

    shown = sys.stderr.isatty()

    def on_shard(tally: Any, count: int) -> None:
        if shown:
            line = f"\r{tally.shards} of {count} shards, {tally.inputs} {work.about}"
            print(line, end="\n" if tally.shards == count else "", file=sys.stderr, flush=True)

    job = Job(work, Folder(absolute(out)))
    try:
        tally = _runner(engine)(job, overwrite=overwrite, on_shard=on_shard)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on where it was") from None
    for error in tally.errors:
        print(f"metamixer: failed: {printable(error)}", file=sys.stderr)
    failed = f"{tally.failed} with an error in place of a result"
    print(printable(f"{out}/{PREDICTIONS}: {tally.inputs} {work.about}, {failed}"))


def _runner(engine: str) -> Callable[..., Any]:
    """The function that does a job on an engine."""
    name, _, actors = engine.partition(":")
    if name == "local":
        from ..engine.local import run

        return run
    from ..engine.ray import run as run_on_ray

    return partial(run_on_ray, actors=int(actors) if actors else None)
