"""Tables of users, pandas or polars, wide or long, -> series, and forecasts -> tables of the same kind."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, InputWarning
from .tables import TIME_COLUMNS, Series, dates, import_pandas, local_dates, numbers, refuse_missing, stamp, to_series, utc_dates

if TYPE_CHECKING:
    import pandas

LONG = ("unique_id", "ds", "y")
"""The columns of a long table, the layout of the Nixtla tools: which series, when, how much."""

SENTINELS = (-9999.0, -999.0, -99999.0, 99999.0)
"""Numbers that often stand for a missing value."""

FORECAST = "ffnet_ts"
"""The column of the forecast in a long table."""


@dataclass(frozen=True)
class Layout:
    """What kind of table came in, so that forecasts go out alike.

    library: "pandas" or "polars"; long: or wide; time: the column of dates; zone: its time zone, None without one; local: the series'
    times are that zone's, else UTC; days: dates without a time of day (polars.Date); identifier: numpy's type of a long table's names.
    """

    library: str = "pandas"
    long: bool = False
    time: str = "date"
    zone: str | None = None
    local: bool = False
    days: bool = False
    identifier: str = "str"


def read_frame(frame: Any, *, time: str | None = None) -> tuple[Series, Layout]:
    """The series of a pandas or polars table, and its layout; missing values are NaN."""
    library = type(frame).__module__.split(".")[0]
    if type(frame).__name__ == "LazyFrame":
        raise InputError("table of type LazyFrame, expected a DataFrame: collect() gives it")
    if library not in ("pandas", "polars") or not hasattr(frame, "columns"):
        raise InputError(f"table of type {type(frame).__name__}, expected a pandas or polars DataFrame")
    if library == "pandas" and (any(name is not None for name in frame.index.names) or frame.index.dtype.kind == "M"):
        frame = frame.reset_index(names=[name or TIME_COLUMNS[0] for name in frame.index.names])
    names = [str(name) for name in frame.columns]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"column {repeated!r}: {names.count(repeated)} of this name, expected every name once")
    table = from_polars(frame) if library == "polars" else frame
    long = set(LONG) <= set(table.columns)
    series = pivot(table) if long else to_series(table, time=time)
    zone, local = zone_of(table[series.time], series.time)
    days = library == "polars" and str(frame.schema[series.time]) == "Date"
    kind = table[LONG[0]].dtype if long else None
    identifier = str(kind) if getattr(kind, "kind", "O") in "iu" else "str"
    return series, Layout(library, long, series.time, zone=zone, local=local, days=days, identifier=identifier)


def from_polars(frame: Any) -> "pandas.DataFrame":
    """The same table in pandas, without the Arrow library that polars' own way needs."""
    pandas = import_pandas()
    columns = {name: pandas.Series(frame[name].to_numpy()) for name in frame.columns}
    for name, kind in frame.schema.items():
        if getattr(kind, "time_zone", None):
            columns[name] = columns[name].dt.tz_localize("UTC").dt.tz_convert(kind.time_zone)
    return pandas.DataFrame(columns)


def zone_of(column: "pandas.Series", name: Any) -> tuple[str | None, bool]:
    """The time zone of a column of dates, None without one, and whether `dates` gives its local dates.

    Text with an offset, which may change with the clock, is of UTC, or of no zone where the dates are local ones.
    """
    local = local_dates(column, utc_dates(column, name)) is not None
    if isinstance(column.dtype, import_pandas().DatetimeTZDtype):
        return str(column.dt.tz), local
    text = isinstance(column.iloc[0], str) and re.search(r":\S*(Z|[+-]\d{2}:?\d{2})$", column.iloc[0])
    return ("UTC" if text and not local else None), False


def pivot(frame: Any) -> Series:
    """A long table, whatever the order of its rows; a series that has no value at a date of another is missing one there."""
    pandas = import_pandas()
    identifier, time, value = LONG
    if len(frame) == 0:
        raise InputError("table of 0 rows, expected series")
    nameless = frame[identifier].isna().to_numpy()
    if nameless.any():
        raise InputError(f"column {identifier!r}, row {int(nameless.argmax()) + 1}: no value, expected the name of a series")
    table = pandas.DataFrame(
        {identifier: frame[identifier].astype(str), time: dates(frame[time], time), value: numbers(frame[value], value)}
    )
    repeated = table.duplicated([identifier, time]).to_numpy()
    if repeated.any():
        row = int(repeated.argmax())
        raise InputError(
            f"column {time!r}, row {row + 1}: series {table[identifier].iloc[row]!r} has {stamp(table[time].to_numpy()[row])} already, "
            "expected every date once"
        )
    wide = table.pivot(index=time, columns=identifier, values=value).sort_index()
    return Series(wide.index.to_numpy(), wide.to_numpy(dtype=np.float64), tuple(wide.columns), time)


def write_frame(times: np.ndarray, columns: Mapping[str, np.ndarray], names: Sequence[str], layout: Layout) -> Any:
    """A forecast as a table of this layout.

    columns: suffix, such as "" or "-lo-90", -> (rows, variables).
    """
    pandas = import_pandas()
    times = times.astype("datetime64[us]")
    if layout.long:
        data = {LONG[0]: np.repeat(np.array(names, layout.identifier), len(times)), LONG[1]: np.tile(times, len(names))}
        data |= {f"{FORECAST}{suffix}": values.T.reshape(-1) for suffix, values in columns.items()}
    else:
        data = {layout.time: times}
        data |= {f"{name}{suffix}": values[:, i] for i, name in enumerate(names) for suffix, values in columns.items()}
    table = pandas.DataFrame(data)
    if layout.zone and layout.local:
        table[layout.time] = table[layout.time].dt.tz_localize(layout.zone, ambiguous=True, nonexistent="shift_forward")
    elif layout.zone:
        table[layout.time] = table[layout.time].dt.tz_localize("UTC").dt.tz_convert(layout.zone)
    return to_polars(table, layout) if layout.library == "polars" else table


def to_polars(table: "pandas.DataFrame", layout: Layout) -> Any:
    """The same table in polars."""
    import polars

    stamps = table[layout.time].dt.tz_convert(None) if layout.zone else table[layout.time]
    stamps = polars.Series(stamps.to_numpy().astype("datetime64[us]"))
    if layout.zone:
        stamps = stamps.dt.replace_time_zone("UTC").dt.convert_time_zone(layout.zone)
    columns = {name: table[name].to_list() if table[name].dtype.kind == "O" else table[name].to_numpy() for name in table}
    return polars.DataFrame({**columns, layout.time: stamps.cast(polars.Date) if layout.days else stamps})


def fill_missing(series: Series, *, learned: int) -> Series:
    """Missing values of the first `learned` rows on a straight line between their neighbours there, before the first and after the last
    as these; in the rows behind, where no later value may be known, as the last value before.

    Raises InputError for a column without any value to learn from.
    """
    missing = np.isnan(series.values)
    if not missing.any():
        return series
    values, rows = series.values.copy(), np.arange(len(series))
    for i, name in enumerate(series.names):
        known = ~missing[:, i]
        if not known[:learned].any():
            raise InputError(f"column {name!r}: no value in {learned} rows to learn from, expected numbers: leave it out")
        first, gaps = known & (rows < learned), ~known & (rows < learned)
        values[gaps, i] = np.interp(rows[gaps], rows[first], values[first, i])
        last_known = np.maximum.accumulate(np.where(known | (rows < learned), rows, 0))
        values[:, i] = values[last_known, i]
    return Series(series.times, values, series.names, series.time)


def refuse_constant(series: Series) -> None:
    """Raise InputError that names a column of one value only."""
    constant = np.ptp(series.values, axis=0) == 0
    if constant.any():
        i = int(constant.argmax())
        raise InputError(
            f"column {series.names[i]!r}: {series.values[0, i]:g} in all of {len(series)} training rows, expected a series that varies: "
            "leave it out"
        )


def same_variables(series: Series, names: Sequence[str]) -> Series:
    """The columns in the order of `names`; raises InputError where they aren't the same."""
    missing, extra = [name for name in names if name not in series.names], [name for name in series.names if name not in names]
    if missing or extra:
        raise InputError(
            f"columns {', '.join(missing) or 'none'} missing, {', '.join(extra) or 'none'} left over, expected {', '.join(names)}, "
            "those of the training table"
        )
    order = [series.names.index(name) for name in names]
    return Series(series.times, series.values[:, order], tuple(names), series.time)


def last_window(series: Series, lookback: int) -> Series:
    """The last rows; raises InputError where there are too few, or one has no value."""
    if len(series) < lookback:
        raise InputError(f"table of {len(series)} rows, expected at least {lookback}, the lookback")
    window = series.rows(-lookback)
    refuse_missing(window, first_row=len(series) - lookback + 1)
    return window


def warn_of_sentinels(series: Series, first_row: int = 1) -> None:
    """Warn of numbers such as -9999 that stand far outside their column and may mean a missing value; first_row: its number for users."""
    median = np.nanmedian(series.values, axis=0)
    deviation = np.nanmedian(np.abs(series.values - median), axis=0)
    far = np.abs(series.values - median) > 20 * np.maximum(deviation, 1e-9)
    for row, column in np.argwhere(far & np.isin(series.values, SENTINELS))[:1]:
        count = int((far & np.isin(series.values, SENTINELS)).sum())
        warnings.warn(
            f"column {series.names[column]!r}, row {first_row + row}: {series.values[row, column]:g} ({count} such values in the table) "
            "looks like a missing value and is taken as it stands; leave it empty where it is one (--missing_values of `forecast`)",
            InputWarning,
            stacklevel=3,
        )
