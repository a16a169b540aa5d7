"""Reading tables of dates and numbers into series; errors name the column and the row, counted from 1."""

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ...errors import InputError, first_line
from .dates import Dates, import_pandas, shown, stamp, time_column

if TYPE_CHECKING:
    import pandas

IDENTIFIER = "unique_id"
"""The column of a long table that names the series of a row."""


@dataclass(frozen=True)
class Series:
    """Several series with the same timestamps, from a wide table.

    times: (rows,) datetime64; values: (rows, variables) float64, NaN for missing values; names: of the variables; time:
    name of the date column; first_row: number of the first row in the user's table; zone: time zone of the dates or
    None; local: whether the times are local to the zone, else UTC.
    """

    times: np.ndarray
    values: np.ndarray
    names: tuple[str, ...]
    time: str = "date"
    first_row: int = 1
    zone: str | None = None
    local: bool = False

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, start: int | None, stop: int | None = None) -> Self:
        """A slice of the rows, which keep their numbers in messages."""
        first = range(len(self))[start:stop].start
        return replace(
            self, times=self.times[start:stop], values=self.values[start:stop], first_row=self.first_row + first
        )

    def variable(self, column: int) -> str:
        """Describe a series for messages."""
        return f"column {self.names[column]!r}"

    def place(self, row: int, column: int) -> str:
        """Describe a value for messages."""
        return f"{self.variable(column)}, row {self.first_row + row} ({stamp(self.times[row])})"

    def date(self, row: int) -> str:
        """Describe a date for messages."""
        return f"column {self.time!r}, row {self.first_row + row}: {stamp(self.times[row])}"


class LongSeries(Series):
    """Several series of a long table; messages name series and date, since rows aren't shared."""

    def variable(self, column: int) -> str:
        return f"series {self.names[column]!r}"

    def place(self, row: int, column: int) -> str:
        return f"{self.variable(column)}, {stamp(self.times[row])}"

    def date(self, row: int) -> str:
        return f"column {self.time!r}: {stamp(self.times[row])}"


def find_table(path: str | Path) -> Path:
    """Find a file, with or without .gz, in the working directory or in the folder METAMIXER_DATA."""
    folders = [Path(), Path(os.environ["METAMIXER_DATA"])] if os.environ.get("METAMIXER_DATA") else [Path()]
    for folder in folders:
        for name in (f"{path}", f"{path}.gz"):
            if (folder / name).is_file():
                return folder / name
    places = (
        " or below METAMIXER_DATA"
        if len(folders) > 1
        else ", expected a table; set METAMIXER_DATA to the folder of data sets"
    )
    raise InputError(f"{path}: no such file{places}")


def read_table(path: str | Path, *, missing_values: Sequence[float] = ()) -> "pandas.DataFrame":
    """Read a CSV (may be gzipped) or Parquet file; missing_values: numbers that mark missing values."""
    pandas = import_pandas()
    path = find_table(path)
    try:
        frame = (
            pandas.read_parquet(path)
            if path.suffix == ".parquet"
            else pandas.read_csv(path, encoding_errors="replace", low_memory=False, dtype={IDENTIFIER: str})
        )
        if (frame.columns[:1] == ["Unnamed: 0"]).any() and counts_rows(
            frame.iloc[:, 0]
        ):  # pandas' index, written by to_csv
            frame = frame.iloc[:, 1:]
        if IDENTIFIER in frame and path.suffix != ".parquet":
            frame[IDENTIFIER] = identifiers(frame[IDENTIFIER])
        return frame.replace(list(missing_values), np.nan) if missing_values else frame
    except ImportError:
        raise InputError(f"{path}: reading Parquet needs pyarrow: pip install pyarrow") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path}: not a readable table ({first_line(error)})") from None


def identifiers(column: "pandas.Series") -> "pandas.Series":
    """Series names as spelled in the file, such as 007; converted to numbers if that is lossless."""
    numeric = import_pandas().to_numeric(column, errors="coerce")
    return numeric if (numeric.astype(str) == column).all() else column


def counts_rows(column: "pandas.Series") -> bool:
    """Whether a column only numbers the rows, from any start."""
    return column.dtype.kind == "i" and bool((column.diff().iloc[1:] == 1).all())


def read_series(path: str | Path) -> Series:
    """Read a file in the layout of the Time-Series-Library: a column `date`, numbers in the others."""
    return to_series(read_table(path))


def to_series(frame: "pandas.DataFrame", *, time: str | None = None) -> Series:
    """Convert a wide table, with one column per series."""
    time = time_column(frame, time)
    names = [name for name in frame.columns if name != time]
    if not names or len(frame) == 0:
        raise InputError(f"table of {len(frame)} rows and {len(names)} columns besides {time!r}, expected series")
    values = np.column_stack([numbers(frame[name], name) for name in names])
    dated = Dates.of(frame[time], time)
    return Series(dated.times, values, tuple(map(str, names)), time, zone=dated.zone, local=dated.local)


def numbers(column: "pandas.Series", name: Any) -> np.ndarray:
    """Convert a column to float64 with NaN for missing values; raises InputError that names the first non-number."""
    pandas = import_pandas()
    if getattr(column.dtype, "kind", "O") in "mM":
        raise InputError(
            f"column {name!r}, row 1: {shown(column.iloc[0])}, expected a number: a table has one column of dates"
        )
    result = pandas.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = (np.isnan(result) & column.notna().to_numpy()) | np.isinf(result)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"column {name!r}, row {row + 1}: {shown(column.iloc[row])}, expected a number")
    return result
