"""Forecasts of very many series, a few at a time: memory is bounded by the batch, not by the number of series."""

import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.series.dates import distinct, import_pandas
from ...data.series.day_order import DayOrder, iso_dates, slashed
from ...data.series.frames import LONG, bounds_of
from ...data.series.large import LargeTable, whole_series
from ...data.series.tally import WarningTally
from ...errors import InputError, first_line, naming
from ...models.ffnet_ts.zero import QUANTILES

if TYPE_CHECKING:
    import pandas

    from .forecaster import Forecaster

IDENTIFIER, TIME, VALUE = LONG

CHUNK = 256
"""Series that are forecast at once."""


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
    Each warning comes once, after the last table.
    """
    pandas = import_pandas()
    names = forecast_columns_of(forecaster)
    tally = WarningTally()

    def predict(table: "pandas.DataFrame") -> Any:
        with tally.part():
            return forecaster.predict(table)

    for table in whole_series(in_one_order(tables)):
        for some_series in alike(table):
            found = forecast_each(predict, some_series)
            parts = [pandas.DataFrame([each.row]) if isinstance(each, Failed) else each for each in found]
            yield pandas.concat(parts, ignore_index=True).reindex(columns=names)
    tally.warn()


def forecast_large(forecaster: "Forecaster", table: LargeTable) -> "Iterator[pandas.DataFrame]":
    """Forecast a large table, a few series at a time, as the whole table would be.

    Each warning comes once, after the last series.
    """
    table = table.with_missing_rows() if forecaster.fill_gaps else table
    forecaster.decide_horizon(table.axis)
    tally = WarningTally()
    for series in table.blocks(len(QUANTILES) * forecaster.horizon):
        with tally.part():
            found = forecaster.predict_series(series, table.layout)
        yield found
    tally.warn()


def in_one_order(tables: "Iterable[pandas.DataFrame]") -> "Iterator[pandas.DataFrame]":
    """The long tables, with dates such as 31/12/2016 in ISO format.

    Raises InputError if two dates disagree on the order of day and month, or for a table before any date has told it.
    """
    order = DayOrder()
    for number, table in enumerate(tables, 1):
        table = expect_long_frame(table, number)
        codes, first = distinct(table[TIME])
        dates = table[TIME].iloc[first].reset_index(drop=True)
        if dates.dtype.kind not in "mMiufb" and slashed(dates).any():
            with naming(f"table {number}"):
                order.see(dates, TIME)
                day_first = order.decided(dates, TIME)
            table = table.assign(**{TIME: iso_dates(dates, day_first=day_first).to_numpy()[codes]})
        yield table


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
    return table[list(LONG)].reset_index(drop=True)


def alike(table: "pandas.DataFrame", done: Container[str] = ()) -> "Iterator[pandas.DataFrame]":
    """The series that aren't done, in chunks of the same dates: theirs is one frequency and one future."""
    dates = import_pandas().util.hash_pandas_object(table[TIME], index=False).to_numpy()
    groups: dict[tuple[int, int], list[Any]] = {}
    rows = table.groupby(IDENTIFIER, sort=True, observed=True).indices
    for name, where in rows.items():
        if str(name) not in done:
            groups.setdefault((len(where), int(dates[where].sum())), []).append(name)
    for names in groups.values():
        for start in range(0, len(names), CHUNK):
            yield table.iloc[np.concatenate([rows[name] for name in names[start : start + CHUNK]])]


def forecast_each(predict: "Callable[[pandas.DataFrame], Any]", table: "pandas.DataFrame") -> Iterator[Any]:
    """What `predict` returns for series of the same dates, and a `Failed` for each that can't be forecast.

    To find these, series that can't be forecast together are forecast in two halves.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            found = predict(table)
    except Exception as error:
        count = table[IDENTIFIER].nunique()
        if count > 1:
            half = count // 2 * (len(table) // count)
            yield from forecast_each(predict, table.iloc[:half])
            yield from forecast_each(predict, table.iloc[half:])
            return
        said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {first_line(error)}"
        found = Failed(table[IDENTIFIER].tolist()[0], said)
    yield found


def forecast_columns_of(forecaster: "Forecaster") -> Sequence[str]:
    """The columns of the forecasts of a long table, and `error`."""
    suffixes = ["", *chain.from_iterable(map(bounds_of, forecaster.levels))]
    suffixes += [f"-q-{100 * quantile:g}" for quantile in forecaster.extra_quantiles]
    return [IDENTIFIER, TIME, *(f"{forecaster.column}{suffix}" for suffix in suffixes), "error"]
