"""Tables with a column of dates and columns of numbers -> several series; what is wrong is said by column and row, from row 1."""

import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ...errors import InputError, first_line

if TYPE_CHECKING:
    import pandas

TIME_COLUMNS = ("date", "ds", "time", "timestamp", "datetime")
"""Names by which a column of dates is known, in any case."""

MOST_NAMED = 5
"""Columns or series that a message names."""

IDENTIFIER = "unique_id"
"""The column that says which series a row of a long table belongs to."""


@dataclass(frozen=True)
class Series:
    """Several series on the same time stamps, of a wide table.

    times: (rows,) of datetime64; values: (rows, variables) of float64, missing ones NaN; names: of the variables; time: the name of
    the column of dates; first_row: the number of the first row in the user's table.
    """

    times: np.ndarray
    values: np.ndarray
    names: tuple[str, ...]
    time: str = "date"
    first_row: int = 1

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, start: int | None, stop: int | None = None) -> Self:
        """Some of the rows, which keep their numbers."""
        first = range(len(self))[start:stop].start
        return replace(self, times=self.times[start:stop], values=self.values[start:stop], first_row=self.first_row + first)

    def variable(self, column: int) -> str:
        """One of the series for messages."""
        return f"column {self.names[column]!r}"

    def place(self, row: int, column: int) -> str:
        """One of the values for messages."""
        return f"{self.variable(column)}, row {self.first_row + row} ({stamp(self.times[row])})"

    def date(self, row: int) -> str:
        """One of the dates for messages."""
        return f"column {self.time!r}, row {self.first_row + row}: {stamp(self.times[row])}"


class LongSeries(Series):
    """Several series of a long table, where a date has a row in each: messages name series and date."""

    def variable(self, column: int) -> str:
        return f"series {self.names[column]!r}"

    def place(self, row: int, column: int) -> str:
        return f"{self.variable(column)}, {stamp(self.times[row])}"

    def date(self, row: int) -> str:
        return f"column {self.time!r}: {stamp(self.times[row])}"


def import_pandas():
    """pandas, which only forecasting needs."""
    try:
        import pandas
    except ImportError:
        raise InputError("pandas is not installed, expected it for tables: pip install 'metamixer[forecasting]'") from None
    return pandas


def find_table(path: str | Path) -> Path:
    """The file, with or without .gz, here or below the folder that METAMIXER_DATA names."""
    folders = [Path(), Path(os.environ["METAMIXER_DATA"])] if os.environ.get("METAMIXER_DATA") else [Path()]
    for folder in folders:
        for name in (f"{path}", f"{path}.gz"):
            if (folder / name).is_file():
                return folder / name
    places = " or below METAMIXER_DATA" if len(folders) > 1 else ", expected a table; METAMIXER_DATA can name the folder of data sets"
    raise InputError(f"{path}: no such file{places}")


def read_table(path: str | Path, *, missing_values: Sequence[float] = ()) -> "pandas.DataFrame":
    """A CSV (.gz too) or Parquet file; missing_values: numbers that stand for none."""
    pandas = import_pandas()
    path = find_table(path)
    try:
        frame = (
            pandas.read_parquet(path)
            if path.suffix == ".parquet"
            else pandas.read_csv(path, encoding_errors="replace", low_memory=False, dtype={IDENTIFIER: str})
        )
        if (frame.columns[:1] == ["Unnamed: 0"]).any() and counts_rows(frame.iloc[:, 0]):  # pandas' own index, which its to_csv writes
            frame = frame.iloc[:, 1:]
        if IDENTIFIER in frame and path.suffix != ".parquet":
            frame[IDENTIFIER] = identifiers(frame[IDENTIFIER])
        return frame.replace(list(missing_values), np.nan) if missing_values else frame
    except ImportError:
        raise InputError(f"{path}: pandas has nothing to read Parquet with, expected pyarrow: pip install pyarrow") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path}: not a readable table ({first_line(error)})") from None


def identifiers(column: "pandas.Series") -> "pandas.Series":
    """Names of series as a file spells them: text, such as 007, but numbers where that loses nothing."""
    numeric = import_pandas().to_numeric(column, errors="coerce")
    return numeric if (numeric.astype(str) == column).all() else column


def counts_rows(column: "pandas.Series") -> bool:
    """Whether a column only numbers the rows, from wherever it begins."""
    return column.dtype.kind == "i" and bool((column.diff().iloc[1:] == 1).all())


def read_series(path: str | Path) -> Series:
    """The series of a file in the layout of the Time-Series-Library: dates in a column of that name, numbers in the others."""
    return to_series(read_table(path))


def to_series(frame: "pandas.DataFrame", *, time: str | None = None) -> Series:
    """A wide table, a column a series, by the names of its columns."""
    time = time_column(frame, time)
    names = [name for name in frame.columns if name != time]
    if not names or len(frame) == 0:
        raise InputError(f"table of {len(frame)} rows and {len(names)} columns beside {time!r}, expected series")
    values = np.column_stack([numbers(frame[name], name) for name in names])
    return Series(dates(frame[time], time), values, tuple(map(str, names)), time)


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


def numbers(column: "pandas.Series", name: Any) -> np.ndarray:
    """float64, missing values NaN; raises InputError that names the first that is no number."""
    pandas = import_pandas()
    if getattr(column.dtype, "kind", "O") in "mM":
        raise InputError(f"column {name!r}, row 1: {shown(column.iloc[0])}, expected a number: a table has one column of dates")
    result = pandas.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = (np.isnan(result) & column.notna().to_numpy()) | np.isinf(result)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"column {name!r}, row {row + 1}: {shown(column.iloc[row])}, expected a number")
    return result


def dates(column: "pandas.Series", name: Any) -> np.ndarray:
    """datetime64; with a time zone the local dates where each row is another day, else in UTC.

    Raises InputError that names the first that is no date.
    """
    utc = utc_dates(column, name)
    local = local_dates(column, utc)
    return (utc.dt.tz_convert(None) if local is None else local).to_numpy()


def utc_dates(column: "pandas.Series", name: Any) -> "pandas.Series":
    """The dates in UTC; raises InputError that names the first that is no date."""
    pandas = import_pandas()
    if pandas.api.types.is_numeric_dtype(column):
        raise InputError(f"column {name!r}, row 1: {shown(column.iloc[0])}, expected a date such as 2016-07-01 00:00")
    days_first = isinstance(column.iloc[0], str) and re.match(r"\d{1,2}\.\d{1,2}\.\d{4}", column.iloc[0]) is not None  # 31.12.2016
    result = pandas.to_datetime(column, errors="coerce", utc=True, dayfirst=days_first)
    if result.isna().any():  # the format of the first row, which may leave out what others have
        result = pandas.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    if result.isna().any():
        row = int(result.isna().to_numpy().argmax())
        raise InputError(f"column {name!r}, row {row + 1}: {shown(column.iloc[row])}, expected a date such as 2016-07-01 00:00")
    return result


def local_dates(column: "pandas.Series", utc: "pandas.Series") -> "pandas.Series | None":
    """The dates without their zone, where all have one time of day there: in UTC summer time would move it. Else None."""
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
