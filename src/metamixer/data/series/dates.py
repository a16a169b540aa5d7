"""Dates of a table: column, time zone, format; errors name the column and the row, counted from 1."""

import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from .day_order import year_first

if TYPE_CHECKING:
    import pandas

TIME_COLUMNS = ("date", "ds", "time", "timestamp", "datetime")
"""Names of a date column, in upper or lower case."""

WRITTEN = r"(\d{4}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})\b"
"""How a date begins in a column without a usual name."""

TIME_OF_DAY = r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?(\s*[+-]\d{2}:?\d{2})?"
"""With the offset of its zone."""

MONTH_AND_YEAR = r"[A-Za-z]{3}-\d{2}"
"""Dates such as Jan-24, as Excel writes months."""

YEARS = range(1800, 2200)
"""Numbers that are years."""

SECONDS = 10**8
"""Numbers from this count the seconds, or parts of them, since 1970."""

MOST_NAMED = 5
"""Maximum number of columns or series named in a message."""


def import_pandas():
    """Import pandas, which only forecasting needs."""
    try:
        import pandas
    except ImportError:
        raise InputError("reading tables needs pandas: pip install 'metamixer[forecasting]'") from None
    return pandas


def time_column(frame: "pandas.DataFrame", time: str | None = None) -> str:
    """Find the date column: `time`, else one with a usual name, the only one of dates, or a first column of dates."""
    columns = list(frame.columns)
    if time is not None:
        if time not in columns:
            raise InputError(f"time column {time!r}: no such column, expected one of {some(columns)}")
        return time
    usual = [column for column in columns if str(column).lower() in TIME_COLUMNS]
    dated = [column for column in columns if frame[column].dtype.kind == "M"]
    written = [column for column in columns[:1] if is_written_date(frame[column])]
    if written and re.match(WRITTEN, str(columns[0])):
        raise InputError(f"first line {some(columns)}, expected the names of the columns, such as date and load")
    if usual or len(dated) == 1 or written:
        return (usual or (dated if len(dated) == 1 else written))[0]
    raise InputError(
        f"no date column among {some(columns)}, expected one named {', '.join(TIME_COLUMNS)}, or its name in --time "
        "(time= in Python)"
    )


def is_written_date(column: "pandas.Series") -> bool:
    """Whether a column of text begins with a date, such as 2024-01-31, 31.01.2024 or 2024-01."""
    first = column.iloc[0] if len(column) else None
    return isinstance(first, str) and re.match(WRITTEN, first) is not None


def some(names: Sequence[Any], count: int | None = None) -> str:
    """The first few names, and the number of the others; count: of all, if `names` are only the first."""
    others = (len(names) if count is None else count) - len(names[:MOST_NAMED])
    more = [f"{others:,} more"] if others else []
    return ", ".join([*map(str, names[:MOST_NAMED]), *more])


@dataclass(frozen=True)
class Dates:
    """A parsed date column.

    times: datetime64, local for daily dates and those that are regular only so, else UTC; zone: the time zone or None;
    local: whether the times are local to the zone. Text with an offset, which may change with daylight saving time, has
    zone UTC, or none if local.
    """

    times: np.ndarray
    zone: str | None
    local: bool

    @classmethod
    def of(cls, column: "pandas.Series", name: Any) -> "Dates":
        """Parse a column, whose index numbers the rows from 0; raises InputError that names the first invalid date."""
        codes, first = distinct(column)
        if len(first) < len(column):  # a long table, which repeats its dates: each is parsed once
            once = cls.of(column.iloc[first], name)
            return replace(once, times=once.times[codes])
        written = column
        if import_pandas().api.types.is_numeric_dtype(column):
            column = numbered_dates(column, name)
        column = with_years(year_first(months_of_years(column), name))
        utc = utc_dates(column)
        if utc.isna().any():
            raise invalid_date(written, name, int(utc.isna().to_numpy().argmax()))
        local = local_dates(column, utc)
        times = (utc.dt.tz_convert(None) if local is None else local).to_numpy()
        if isinstance(column.dtype, import_pandas().DatetimeTZDtype):
            return cls(times, str(column.dt.tz), local is not None)
        text = isinstance(column.iloc[0], str) and re.search(r":\S*(Z|[+-]\d{2}:?\d{2})$", column.iloc[0])
        return cls(times, "UTC" if text and local is None else None, False)


def distinct(column: "pandas.Series") -> tuple[np.ndarray, np.ndarray]:
    """The number of each row's value among the distinct ones, and the row where each of these is first."""
    try:
        codes, _ = import_pandas().factorize(column, use_na_sentinel=False)
    except TypeError:  # of unhashable values, which are no dates
        codes = np.arange(len(column))
    return codes, np.unique(codes, return_index=True)[1]


def numbered_dates(column: "pandas.Series", name: Any) -> "pandas.Series":
    """Dates for years such as 2016 and days such as 20160701; raises InputError that names the first other number."""
    numbers = column.astype("float64")
    years, days = numbers.isin(YEARS), numbers.between(10**7, 10**8 - 1) & (numbers % 1 == 0)
    wrong = numbers.notna() & ~(years if years.any() else days)
    if wrong.any() or numbers.isna().all():
        raise invalid_date(column, name, int(wrong.to_numpy().argmax()))
    text = numbers.dropna().astype("int64").astype(str)
    format = "%Y" if years.any() else "%Y%m%d"
    return import_pandas().to_datetime(text, errors="coerce", format=format).reindex(column.index)


def months_of_years(column: "pandas.Series") -> "pandas.Series":
    """Dates for text such as Jan-24 and Feb-24; a column of one month may as well hold its days, and stays."""
    if not column.astype(str).str.fullmatch(MONTH_AND_YEAR).all():
        return column
    dates = import_pandas().to_datetime(column, errors="coerce", format="%b-%y")
    return dates if dates.notna().all() and dates.dt.month.nunique() > 1 else column


def with_years(column: "pandas.Series") -> "pandas.Series":
    """A column without text that has no year of four digits, which pandas would read with today's date or year 1."""
    if column.dtype.kind == "M":
        return column
    text = column.astype(str).str.replace(TIME_OF_DAY, "", regex=True)
    return column.where(text.str.contains(r"\d{4}"))


def utc_dates(column: "pandas.Series") -> "pandas.Series":
    """Parse dates as UTC; invalid ones become NaT."""
    pandas = import_pandas()
    with warnings.catch_warnings(action="ignore"):  # of text that dateutil reads, and of quarters
        result = pandas.to_datetime(column, errors="coerce", utc=True)
    if result.isna().any():  # pandas uses the format of the first row; others may differ
        mixed = pandas.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
        result = min(mixed, result, key=lambda dates: int(dates.isna().sum()))
    return result


def invalid_date(column: "pandas.Series", name: Any, i: int) -> InputError:
    """The error about a value of a column, whose index numbers the rows from 0."""
    value = column.iloc[i]
    what = "no value" if import_pandas().isna(value) else shown(value)
    epoch = ", not seconds since 1970" if isinstance(value, Number) and value >= SECONDS else ""
    expected = f"expected a date such as 2016-07-01 00:00{epoch}"
    return InputError(f"column {name!r}, row {column.index[i] + 1}: {what}, {expected}")


def local_dates(column: "pandas.Series", utc: "pandas.Series") -> "pandas.Series | None":
    """Local dates without a zone, if all have the same local time of day, or only they are multiples of a step.

    In UTC, both vary with daylight saving. Else None.
    """
    pandas = import_pandas()
    many_times = (utc - utc.dt.normalize()).nunique() > 2  # zones have at most two offsets today
    if len(utc) < 2 or (many_times and are_multiples(utc)):
        return None
    if isinstance(column.dtype, pandas.DatetimeTZDtype):
        local = column.dt.tz_localize(None)
        days = local.dt.normalize()
        if (to_zone(days, column.dt.tz) == column).all():  # a midnight skipped by daylight saving is one o'clock
            return days
    else:
        text = column.astype(str).str.replace(r"(:\S*?)([+-]\d{2}:?\d{2})$", r"\1", regex=True)
        with warnings.catch_warnings(action="ignore"):  # as in `utc_dates`
            local = pandas.to_datetime(text, errors="coerce")
    if local.isna().any():
        return None
    same_time = (local - local.dt.normalize()).nunique() == 1
    return local if same_time or (are_multiples(local) and not are_multiples(utc)) else None


def are_multiples(dates: "pandas.Series") -> bool:
    """Whether all steps between distinct dates are multiples of the most frequent one."""
    steps, counts = np.unique(np.diff(np.unique(dates.dt.tz_localize(None).to_numpy())), return_counts=True)
    return len(steps) == 0 or bool((steps % steps[counts.argmax()] == np.timedelta64(0)).all())


def to_zone(local: "pandas.Series", zone: Any) -> "pandas.Series":
    """Attach a zone to local dates; ambiguous hours are the first, and skipped ones the next hour."""
    return local.dt.tz_localize(zone, ambiguous=np.ones(len(local), bool), nonexistent="shift_forward")


def shown(value: Any) -> str:
    """Format a table value for messages."""
    return repr(value.item() if isinstance(value, np.generic) else value)


def stamp(time: np.datetime64) -> str:
    """Format a timestamp for messages, to the second; midnight as a date."""
    return str(time.astype("datetime64[s]")).replace("T", " ").removesuffix(" 00:00:00")


def own_dates(column: "pandas.Series") -> "pandas.Series":
    """Convert Arrow or Python dates, and periods, to pandas' own dates; other columns are unchanged."""
    pandas = import_pandas()
    if isinstance(column.dtype, pandas.PeriodDtype):
        return column.dt.to_timestamp()
    if not isinstance(column.dtype, pandas.ArrowDtype) and column.dtype != object:
        return column
    objects = column.astype(object)
    if not all(isinstance(value, date) for value in objects):
        return column
    with suppress(ValueError):  # mixed zones, or outside pandas' range
        return pandas.to_datetime(objects)
    return column


def is_time(name: Any, time: str | None) -> bool:
    """Whether this is the name of the date column."""
    return name == time if time is not None else str(name).lower() in TIME_COLUMNS


def expect_same_dates(index: "pandas.Index", column: "pandas.Series", name: Any) -> None:
    """Raise InputError at the first row whose index and column of the same name have different dates."""
    ours, theirs = (Dates.of(values, name).times for values in (index.to_series(range(len(index))), column))
    for row in np.flatnonzero(ours != theirs)[:1]:
        raise InputError(
            f"index {name!r}, row {row + 1}: {stamp(ours[row])}, expected {stamp(theirs[row])}, as in the column "
            "of this name"
        )
