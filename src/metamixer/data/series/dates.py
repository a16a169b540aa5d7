"""Dates of a table: their column, their zone, their spelling; what is wrong is said by column and row, from row 1."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError

if TYPE_CHECKING:
    import pandas

TIME_COLUMNS = ("date", "ds", "time", "timestamp", "datetime")
"""Names by which a column of dates is known, in any case."""

MOST_NAMED = 5
"""Columns or series that a message names."""


def import_pandas():
    """pandas, which only forecasting needs."""
    try:
        import pandas
    except ImportError:
        raise InputError(
            "pandas is not installed, expected it for tables: pip install 'metamixer[forecasting]'"
        ) from None
    return pandas


def time_column(frame: "pandas.DataFrame", time: str | None = None) -> str:
    """The column of dates: the one named, else the first of a usual name, else the only one that holds dates."""
    columns = list(frame.columns)
    if time is not None:
        if time not in columns:
            raise InputError(f"time column {time!r}: no such column, expected one of {some(columns)}")
        return time
    usual = [column for column in columns if str(column).lower() in TIME_COLUMNS]
    dated = [column for column in columns if frame[column].dtype.kind == "M"]
    if usual or len(dated) == 1:
        return (usual or dated)[0]
    raise InputError(f"no date column among {some(columns)}, expected one named {', '.join(TIME_COLUMNS)}, or its name")


def some(names: Sequence[Any]) -> str:
    """The first few of several, and how many more there are."""
    more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    return ", ".join([*map(str, names[:MOST_NAMED]), *more])


@dataclass(frozen=True)
class Dates:
    """A column of dates, parsed once.

    times: datetime64, the local dates where each row is another day, else in UTC; zone: the time zone, None without
    one;
    local: the times are that zone's. Text with an offset, which may change with the clock, is of UTC, or of no zone
    where the dates are local.
    """

    times: np.ndarray
    zone: str | None
    local: bool

    @classmethod
    def of(cls, column: "pandas.Series", name: Any) -> "Dates":
        """Raises InputError that names the first that is no date."""
        utc = utc_dates(column, name)
        local = local_dates(column, utc)
        times = (utc.dt.tz_convert(None) if local is None else local).to_numpy()
        if isinstance(column.dtype, import_pandas().DatetimeTZDtype):
            return cls(times, str(column.dt.tz), local is not None)
        text = isinstance(column.iloc[0], str) and re.search(r":\S*(Z|[+-]\d{2}:?\d{2})$", column.iloc[0])
        return cls(times, "UTC" if text and local is None else None, False)


def utc_dates(column: "pandas.Series", name: Any) -> "pandas.Series":
    """The dates in UTC; raises InputError that names the first that is no date."""
    pandas = import_pandas()
    if pandas.api.types.is_numeric_dtype(column):
        raise InputError(f"column {name!r}, row 1: {shown(column.iloc[0])}, expected a date such as 2016-07-01 00:00")
    days_first = (
        isinstance(column.iloc[0], str) and re.match(r"\d{1,2}\.\d{1,2}\.\d{4}", column.iloc[0]) is not None
    )  # 31.12.2016
    result = pandas.to_datetime(column, errors="coerce", utc=True, dayfirst=days_first)
    if result.isna().any():  # the format of the first row, which may leave out what others have
        result = pandas.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    if result.isna().any():
        row = int(result.isna().to_numpy().argmax())
        raise InputError(
            f"column {name!r}, row {row + 1}: {shown(column.iloc[row])}, expected a date such as 2016-07-01 00:00"
        )
    return result


def local_dates(column: "pandas.Series", utc: "pandas.Series") -> "pandas.Series | None":
    """The dates without their zone, where all have one time of day there: in UTC summer time would move it. Else
    None.
    """
    pandas = import_pandas()
    if len(utc) < 2 or (utc - utc.dt.normalize()).nunique() > 2:  # a zone has two offsets at most but for history
        return None
    if isinstance(column.dtype, pandas.DatetimeTZDtype):
        local = column.dt.tz_localize(None)
        days = local.dt.normalize()
        if (to_zone(days, column.dt.tz) == column).all():  # a midnight that the clock leaves out is one o'clock
            return days
    else:
        text = column.astype(str).str.replace(r"(:\S*?)([+-]\d{2}:?\d{2})$", r"\1", regex=True)
        local = pandas.to_datetime(text, errors="coerce")
    return local if (local - local.dt.normalize()).nunique() == 1 and local.notna().all() else None


def to_zone(local: "pandas.Series", zone: Any) -> "pandas.Series":
    """Local dates in their zone: the first of two hours of one name, the next where there is none."""
    return local.dt.tz_localize(zone, ambiguous=np.ones(len(local), bool), nonexistent="shift_forward")


def shown(value: Any) -> str:
    """A value of a table for messages."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def stamp(time: np.datetime64) -> str:
    """A time stamp for messages, to the second."""
    return str(time.astype("datetime64[s]")).replace("T", " ")


def own_dates(column: "pandas.Series") -> "pandas.Series":
    """Dates that Arrow or Python holds, as pandas' own; any other column as it is."""
    pandas = import_pandas()
    if not isinstance(column.dtype, pandas.ArrowDtype) and column.dtype != object:
        return column
    objects = column.astype(object)
    if not all(isinstance(value, date) for value in objects):
        return column
    with suppress(ValueError):  # of several zones, or none of pandas' dates
        return pandas.to_datetime(objects)
    return column


def is_time(name: Any, time: str | None) -> bool:
    """Is this the column of dates, by its name?"""
    return name == time if time is not None else str(name).lower() in TIME_COLUMNS


def expect_same_dates(index: "pandas.Index", column: "pandas.Series", name: Any) -> None:
    """Raise InputError that names the first row at which an index says another date than the column of its name."""
    ours, theirs = (Dates.of(values, name).times for values in (index.to_series(), column))
    for row in np.flatnonzero(ours != theirs)[:1]:
        raise InputError(
            f"index {name!r}, row {row + 1}: {stamp(ours[row])}, expected {stamp(theirs[row])}, as in the column "
            "of this name"
        )
