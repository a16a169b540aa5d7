"""Conversion of pandas and polars tables, wide or long, to series, and of forecasts to tables of the same layout."""

import json
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError, InputWarning
from .dates import (
    TIME_COLUMNS,
    Dates,
    expect_same_dates,
    import_pandas,
    is_time,
    own_dates,
    stamp,
    time_column,
    to_zone,
)
from .missing import refuse_missing
from .one_frequency import expect_one_frequency
from .tables import IDENTIFIER, LongSeries, Series, numbers, to_series

if TYPE_CHECKING:
    import pandas

LONG = (IDENTIFIER, "ds", "y")
"""The columns of a long table in Nixtla's layout: series, date, value."""


@dataclass(frozen=True)
class Layout:
    """The layout of the input table, which forecasts take over.

    library: "pandas" or "polars"; long: or wide; time: the date column; zone: its time zone or None; local: whether
    the series' times are local to the zone, else UTC; days: dates without a time of day (polars.Date); unit: of the
    dates, in NumPy's notation; identifier: NumPy type of the series names.
    """

    library: str = "pandas"
    long: bool = False
    time: str = "date"
    zone: str | None = None
    local: bool = False
    days: bool = False
    unit: str = "us"
    identifier: str = "str"


def read_frame(frame: Any, *, time: str | None = None) -> tuple[Series, Layout]:
    """Read a pandas or polars table into series and its layout; missing values become NaN."""
    library = type(frame).__module__.split(".")[0]
    if type(frame).__name__ == "LazyFrame":
        raise InputError("table of type LazyFrame, expected a DataFrame: call collect()")
    if library not in ("pandas", "polars") or not hasattr(frame, "columns"):
        raise InputError(f"table of type {type(frame).__name__}, expected a pandas or polars DataFrame")
    if (levels := getattr(frame.columns, "nlevels", 1)) > 1:
        raise InputError(f"table with {levels} levels of column names, expected one level")
    for name, count in Counter(map(str, frame.columns)).items():
        if count > 1:
            raise InputError(f"column {name!r} occurs {count} times, expected every name once")
    table = from_polars(frame) if library == "polars" else index_to_columns(frame, time)
    long = set(LONG) <= set(table.columns)
    time = LONG[1] if long else time_column(table, time)
    table = table.copy(deep=False)
    table[time] = own_dates(table[time])
    series = pivot(table) if long else to_series(table, time=time)
    days = library == "polars" and str(frame.schema[time]) == "Date"
    unit = table[time].dt.unit if table[time].dtype.kind == "M" and not days else "us"
    names = table[LONG[0]] if long else table.columns.drop(time).infer_objects()
    zone, identifier = {"zone": series.zone, "local": series.local}, type_of_names(names)
    return series, Layout(library, long, time, **zone, days=days, unit=unit, identifier=identifier)


def type_of_names(names: Any) -> str:
    """NumPy type of a long table's identifiers or a wide one's column names if numeric, else "str"."""
    kind = getattr(names.dtype, "categories", names).dtype
    kind = getattr(kind, "numpy_dtype", kind)  # for Arrow and pandas extension types
    return str(kind) if kind.kind in "iuf" else "str"


def index_to_columns(frame: "pandas.DataFrame", time: str | None) -> "pandas.DataFrame":
    """Move dates and series names from the index to columns; any other index only numbers the rows."""
    result, dated = frame.reset_index(drop=True), any(is_time(name, time) for name in frame.columns)
    for level, name in enumerate(frame.index.names):
        values = frame.index.get_level_values(level)
        of_dates = values.dtype.kind == "M"
        name = TIME_COLUMNS[0] if name is None and of_dates else name
        if name in result.columns:
            if of_dates:
                expect_same_dates(values, result[name], name)
        elif of_dates or name == LONG[0] or (is_time(name, time) and not dated):
            result.insert(0, name, values)
    return result


def from_polars(frame: Any) -> "pandas.DataFrame":
    """Convert to pandas without Arrow, which polars' own conversion needs."""
    pandas = import_pandas()
    arrays = {name: frame[name].to_numpy() for name in frame.columns}
    for name, array in arrays.items():
        if array.ndim > 1:
            raise InputError(f"column {name!r} of type {frame.schema[name]}, expected one value in a row")
    columns = {name: pandas.Series(array) for name, array in arrays.items()}
    for name, kind in frame.schema.items():
        if getattr(kind, "time_zone", None):
            columns[name] = columns[name].dt.tz_localize("UTC").dt.tz_convert(kind.time_zone)
    return pandas.DataFrame(columns)


def pivot(frame: Any) -> Series:
    """Pivot a long table with rows in any order; series without a value at another's date are missing there.

    Raises InputError if they have several frequencies.
    """
    pandas = import_pandas()
    identifier, time, value = LONG
    if len(frame) == 0:
        raise InputError("table of 0 rows, expected series")
    expect_named(frame)
    warn_of_unused([str(name) for name in frame.columns if name not in LONG])
    names = frame[identifier].astype(type_of_names(frame[identifier])).to_numpy()
    dated = Dates.of(frame[time], time)
    table = pandas.DataFrame({identifier: names, time: dated.times, value: numbers(frame[value], value)})
    expect_once(frame, table[[identifier, time]], dated.times)
    wide = table.pivot(index=time, columns=identifier, values=value).sort_index()
    values, series = wide.to_numpy(dtype=np.float64), tuple(map(str, wide.columns))
    result = LongSeries(wide.index.to_numpy(), values, series, time, zone=dated.zone, local=dated.local)
    if len(table) < values.size:
        expect_one_frequency(result, wide.columns.get_indexer(names), wide.index.get_indexer(dated.times))
    return result


def expect_named(frame: "pandas.DataFrame") -> None:
    """Raise InputError for a row of a long table without the name of a series; its index numbers the rows from 0."""
    nameless = frame[IDENTIFIER].isna().to_numpy()
    if nameless.any():
        row = frame.index[int(nameless.argmax())] + 1
        raise InputError(f"column {IDENTIFIER!r}, row {row}: no value, expected the name of a series")


def expect_once(frame: "pandas.DataFrame", places: Any, times: np.ndarray) -> None:
    """Raise InputError for a series of a long table with two values at a date.

    places: the rows' series and dates, as a pandas table or as numbers; times: the rows' parsed dates.
    """
    repeated = places.duplicated().to_numpy()
    if repeated.any():
        i = int(repeated.argmax())
        name, row = str(frame[IDENTIFIER].iloc[i]), frame.index[i] + 1
        raise InputError(
            f"column {LONG[1]!r}, row {row}: series {name!r} has {stamp(times[i])} twice, expected every date once"
        )


def warn_of_unused(columns: Sequence[str]) -> None:
    """Warn that other columns of a long table are ignored: other tools use them as covariates."""
    if columns:
        what = "columns" if len(columns) > 1 else "column"
        warnings.warn(
            f"{what} {', '.join(map(repr, columns))}: ignored, only {', '.join(LONG)} count", InputWarning, stacklevel=2
        )


def write_frame(
    times: np.ndarray,
    columns: Mapping[str, np.ndarray],
    names: Sequence[str],
    layout: Layout,
    *,
    model: str = "ffnet_ts",
) -> Any:
    """Build a forecast table in this layout.

    columns: suffix, such as "" or "-lo-90", -> (rows, variables); model: the column of the forecast in a long table.
    """
    pandas = import_pandas()
    times = times.astype(f"datetime64[{layout.unit}]")
    if layout.long:
        data = {LONG[0]: np.repeat(np.array(names, layout.identifier), len(times)), LONG[1]: np.tile(times, len(names))}
        data |= {f"{model}{suffix}": values.T.reshape(-1) for suffix, values in columns.items()}
    else:
        data = {layout.time: times}
        for i, (name, own) in enumerate(zip(names, np.array(names, layout.identifier).tolist(), strict=True)):
            data |= {f"{name}{suffix}" if suffix else own: values[:, i] for suffix, values in columns.items()}
    table = pandas.DataFrame(data)
    if layout.zone and layout.local:
        table[layout.time] = to_zone(table[layout.time], layout.zone)
    elif layout.zone:
        table[layout.time] = table[layout.time].dt.tz_localize("UTC").dt.tz_convert(layout.zone)
    return to_polars(table, layout) if layout.library == "polars" else table


def to_polars(table: "pandas.DataFrame", layout: Layout) -> Any:
    """Convert to polars."""
    import polars

    stamps = table[layout.time].dt.tz_convert(None) if layout.zone else table[layout.time]
    stamps = polars.Series(stamps.to_numpy())
    if layout.zone:
        stamps = stamps.dt.replace_time_zone("UTC").dt.convert_time_zone(layout.zone)
    columns = {
        name: table[name].to_list() if table[name].dtype.kind == "O" else table[name].to_numpy() for name in table
    }
    return polars.DataFrame({**columns, layout.time: stamps.cast(polars.Date) if layout.days else stamps})


def plain_rows(table: "pandas.DataFrame") -> list[dict[str, Any]]:
    """The rows of a pandas table in plain values: dates in ISO format, numbers unrounded, None for missing ones."""
    rows = json.loads(table.to_json(orient="records", date_format="iso"))  # which rounds to 10 decimals
    for name in table.columns[[kind.kind == "f" for kind in table.dtypes]]:
        for row, value in zip(rows, table[name].tolist(), strict=True):
            row[str(name)] = value if math.isfinite(value) else None
    return rows


def refuse_names_of_bounds(names: Sequence[str], levels: Sequence[float]) -> None:
    """Raise InputError if a column has the name of an interval bound of another column."""
    bounds = {f"{name}{suffix}" for name in names for level in levels for suffix in bounds_of(level)}
    taken = next((name for name in names if name in bounds), None)
    if taken is not None:
        raise InputError(f"column {taken!r}: the name of an interval's bound of another column, expected another name")


def bounds_of(level: float) -> tuple[str, str]:
    """Column suffixes of an interval's bounds."""
    return f"-lo-{level:g}", f"-hi-{level:g}"


def refuse_constant(series: Series) -> None:
    """Raise InputError that names a constant column."""
    constant = np.ptp(series.values, axis=0) == 0
    if constant.any():
        i = int(constant.argmax())
        raise InputError(
            f"{series.variable(i)}: {series.values[0, i]:g} at all {len(series)} training dates, expected a "
            "series that varies: leave it out"
        )


def same_variables(series: Series, names: Sequence[str]) -> Series:
    """Reorder the columns as `names`; raises InputError if they differ."""
    places, wanted = {name: i for i, name in enumerate(series.names)}, set(names)
    missing, extra = (
        [name for name in names if name not in places],
        [name for name in series.names if name not in wanted],
    )
    if missing or extra:
        raise InputError(
            f"series {', '.join(missing) or 'none'} missing, {', '.join(extra) or 'none'} unknown, expected "
            f"{', '.join(names)}, as in the training table"
        )
    order = [places[name] for name in names]
    return replace(series, values=series.values[:, order], names=tuple(names))


def last_window(series: Series, lookback: int) -> Series:
    """The last `lookback` rows; raises InputError for too few rows or missing values."""
    if len(series) < lookback:
        raise InputError(f"table of {len(series)} dates, expected at least {lookback}, the lookback")
    window = series.rows(-lookback)
    refuse_missing(window)
    return window
