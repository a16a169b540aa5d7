"""Forecasts of very many series, a few at a time: memory is bounded by the batch, not by the number of series."""

import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..data.series.dates import import_pandas
from ..data.series.frames import LONG, bounds_of
from ..errors import InputError, first_line

if TYPE_CHECKING:
    import pandas

    from .forecaster import Forecaster

IDENTIFIER, TIME, VALUE = LONG

CHUNK = 64
"""Series that are forecast at once."""

GATHERED = 32_768
"""Minimum number of rows that are read before they are forecast, if there are so many."""


@dataclass(frozen=True)
class Failed:
    """A series that can't be forecast, and why."""

    name: Any
    error: str

    @property
    def row(self) -> dict[str, Any]:
        """Its row among the forecasts."""
        return {IDENTIFIER: self.name, "error": self.error}


def stream_forecasts(forecaster: "Forecaster", tables: "Iterable[pandas.DataFrame]") -> "Iterator[pandas.DataFrame]":
    """Forecast long tables one after the other, each series alone and after its own last date.

    tables: the rows of a series are together; it may continue in the next table. Yields the forecasts of at most
    `CHUNK` series, with a column `error`: the error of a series that can't be forecast, which has one row, else None.
    """
    pandas = import_pandas()
    names = forecast_columns_of(forecaster)
    for table in whole_series(tables):
        for frames in alike(table):
            found = forecast_each(forecaster.predict, frames)
            parts = [pandas.DataFrame([each.row]) if isinstance(each, Failed) else each for each in found]
            yield pandas.concat(parts, ignore_index=True).reindex(columns=names)


def whole_series(tables: Iterable[Any]) -> "Iterator[pandas.DataFrame]":
    """The rows of long tables in larger ones, none of which ends within a series."""
    pandas = import_pandas()
    held: list[pandas.DataFrame] = []
    for number, table in enumerate(tables, 1):
        held.append(expect_long_frame(table, number))
        if sum(map(len, held)) < GATHERED:
            continue
        gathered = pandas.concat(held, ignore_index=True)
        last = gathered[IDENTIFIER].ne(gathered[IDENTIFIER].iloc[-1]).to_numpy()
        ended = len(gathered) - int(last[::-1].argmax()) if last.any() else 0
        held = [gathered.iloc[ended:]]
        if ended:
            yield expect_together(gathered.iloc[:ended])
    if any(map(len, held)):
        yield expect_together(pandas.concat(held, ignore_index=True))


def expect_long_frame(table: Any, number: int) -> "pandas.DataFrame":
    """The three columns of a long pandas table; raises InputError for anything else."""
    if not isinstance(table, import_pandas().DataFrame):
        raise InputError(f"table {number} of type {type(table).__name__}, expected a pandas DataFrame")
    missing = [name for name in LONG if name not in table.columns]
    if missing:
        raise InputError(f"table {number}: no column {missing[0]!r}, expected {', '.join(LONG)}: a long table")
    nameless = table[IDENTIFIER].isna().to_numpy()
    if nameless.any():
        row = int(nameless.argmax()) + 1
        raise InputError(f"table {number}, column {IDENTIFIER!r}, row {row}: no value, expected the name of a series")
    return table[list(LONG)]


def expect_together(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """The table; raises InputError for a series whose rows are interrupted by those of others."""
    names = table[IDENTIFIER]
    first = table.loc[names.ne(names.shift()).to_numpy(), IDENTIFIER]
    again = first.duplicated().to_numpy()
    if again.any():
        raise InputError(
            f"series {str(first.to_numpy()[again][0])!r}: rows of other series between its own, expected the rows of "
            f"a series together: sort the table by {IDENTIFIER}"
        )
    return table


def alike(table: "pandas.DataFrame", done: Container[str] = ()) -> "Iterator[dict[Any, pandas.DataFrame]]":
    """The series that aren't done, by name, in chunks of the same dates: theirs is one frequency and one future."""
    dates = import_pandas().util.hash_pandas_object(table[TIME], index=False).to_numpy()
    groups: dict[tuple[int, int], list[Any]] = {}
    rows = table.groupby(IDENTIFIER, sort=True, observed=True).indices
    for name, where in rows.items():
        if str(name) not in done:
            groups.setdefault((len(where), int(dates[where].sum())), []).append(name)
    for names in groups.values():
        for start in range(0, len(names), CHUNK):
            yield {name: table.iloc[rows[name]] for name in names[start : start + CHUNK]}


def forecast_each(predict: "Callable[[pandas.DataFrame], Any]", frames: "dict[Any, pandas.DataFrame]") -> Iterator[Any]:
    """What `predict` returns for series of the same dates, and a `Failed` for each that can't be forecast."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield predict(import_pandas().concat(frames.values(), ignore_index=True))
    except Exception as error:
        if len(frames) > 1:
            for name, frame in frames.items():
                yield from forecast_each(predict, {name: frame})
            return
        said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {first_line(error)}"
        yield Failed(next(iter(frames.values()))[IDENTIFIER].tolist()[0], said)


def forecast_columns_of(forecaster: "Forecaster") -> Sequence[str]:
    """The columns of the forecasts of a long table, and `error`."""
    suffixes = ["", *chain.from_iterable(map(bounds_of, forecaster.levels))]
    suffixes += [f"-q-{100 * quantile:g}" for quantile in forecaster.extra_quantiles]
    return [IDENTIFIER, TIME, *(f"{forecaster.column}{suffix}" for suffix in suffixes), "error"]
