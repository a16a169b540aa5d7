"""Reading tables of dates and numbers into series; errors name the column and the row, counted from 1."""

import gzip
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ...errors import InputError, first_line, naming
from ...system.files import refuse_special
from .dates import TIME_OF_DAY, Dates, import_pandas, shown, stamp, time_column
from .decimals import with_decimals
from .text import IDENTIFIER, SAMPLE, VALUE, csv_options, expect_text, is_parquet, separator_of

if TYPE_CHECKING:
    import pandas

SMALL_TABLE, TIMES = 64 * 2**20, 32
"""Bytes of a table when it is unpacked, at most: so many, or so many times the file's own."""

MAX_COLUMNS = 50_000

MOSTLY = 0.5
"""Fraction of rows with a date of another row, from which a wide table is a long one."""


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
            refuse_special(folder / name)
    if Path(path).is_dir():
        raise InputError(f"{path}: is a folder, expected a table")
    places = (
        " or below METAMIXER_DATA"
        if len(folders) > 1
        else ", here or in the folder that the environment variable METAMIXER_DATA names"
    )
    raise InputError(f"{path}: no such file{places}")


def read_table(path: str | Path, *, missing_values: Sequence[float] = ()) -> "pandas.DataFrame":
    """Read a CSV (may be gzipped) or Parquet file; missing_values: numbers that mark missing values."""
    import_pandas()
    path = find_table(path)
    with readable(path):
        frame = _read_parquet(path) if is_parquet(path) else _read_csv(path)
        if (frame.columns[:1] == ["Unnamed: 0"]).any() and counts_rows(
            frame.iloc[:, 0]
        ):  # pandas' index, written by to_csv
            frame = frame.iloc[:, 1:]
        if IDENTIFIER in frame and not is_parquet(path):
            frame[IDENTIFIER] = identifiers(frame[IDENTIFIER])
        if not missing_values:
            return frame
        marked = frame.replace(list(missing_values), np.nan)
        if IDENTIFIER in frame:  # a series may be named by such a number
            marked[IDENTIFIER] = frame[IDENTIFIER]
        return marked


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Make one InputError of whatever goes wrong while a table is read."""
    try:
        yield
    except InputError:
        raise
    except ImportError:
        raise InputError(f"{path}: reading Parquet needs pyarrow: pip install pyarrow") from None
    except Exception as error:  # pandas, Arrow and zlib raise errors of their own
        raise InputError(f"{path}: not a readable table ({first_line(error)})") from None


def most_bytes(path: Path) -> int:
    """Maximum size of a table in memory, by that of its file."""
    return max(SMALL_TABLE, TIMES * path.stat().st_size)


def refuse_unpacked(path: Path, count: int) -> None:
    """Raise InputError for too many bytes of a table that was packed."""
    if count > most_bytes(path):
        raise InputError(f"{path}: more than {most_bytes(path)} bytes when unpacked, expected fewer: unpack it before")


def refuse_declared(path: Path, *, rows: int, columns: int, stored: int) -> None:
    """Raise InputError for numbers, as a Parquet file's metadata counts them, without a usual ratio to its size.

    stored: bytes before compression.
    """
    declared, most = max(8 * rows * columns, stored), most_bytes(path)
    if declared > most or columns > MAX_COLUMNS:
        raise InputError(
            f"{path}: {rows} rows and {columns} columns by its metadata, {declared} bytes, "
            f"expected at most {most} in a file of this size, and {MAX_COLUMNS} columns"
        )


def _read_csv(path: Path) -> "pandas.DataFrame":
    """A text table, unpacked up to a limit where it is packed."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        content = file.read(most_bytes(path) + 1)
    expect_text(path, content[:SAMPLE])
    refuse_unpacked(path, len(content))
    separator = separator_of(content[:SAMPLE])
    if content[: content.find(b"\n")].count(separator.encode()) > MAX_COLUMNS:
        raise InputError(f"{path}: more than {MAX_COLUMNS} columns, expected fewer: a long table takes more series")
    header = import_pandas().read_csv(io.BytesIO(content), sep=separator, encoding_errors="replace", nrows=0)
    how = {**csv_options(separator, header.columns), "low_memory": False}
    frame = import_pandas().read_csv(io.BytesIO(content), **how)
    if separator == ",":
        return frame
    commas = import_pandas().read_csv(io.BytesIO(content), decimal=",", **how)
    with naming(path):
        return with_decimals(frame, commas, [VALUE] if IDENTIFIER in frame and VALUE in frame else frame.columns)


def _read_parquet(path: Path) -> "pandas.DataFrame":
    """A Parquet file of a usual size in memory."""
    from pyarrow.parquet import ParquetFile

    about = ParquetFile(path).metadata
    stored = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    refuse_declared(path, rows=about.num_rows, columns=about.num_columns, stored=stored)
    frame = import_pandas().read_parquet(path)
    return frame.to_timestamp() if isinstance(frame.index, import_pandas().PeriodIndex) else frame


def identifiers(column: "pandas.Series") -> "pandas.Series":
    """Series names as spelled in the file, such as 007; converted to numbers if that is lossless."""
    numeric = import_pandas().to_numeric(column, errors="coerce")
    lossless = numeric.notna().all() and (numeric.astype(str) == column).all()
    return numeric if lossless else column


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
    refuse_times_of_day(frame)
    dated = Dates.of(frame[time], time)
    refuse_long(frame, time, dated.times)
    values = np.column_stack([numbers(frame[name], name) for name in names])
    return Series(dated.times, values, tuple(map(str, names)), time, zone=dated.zone, local=dated.local)


def refuse_times_of_day(frame: "pandas.DataFrame") -> None:
    """Raise InputError for a column of times such as 00:00, whose dates may be in another column."""
    for name in frame:
        first = frame[name].iloc[0]
        if isinstance(first, str) and re.fullmatch(rf"\s*{TIME_OF_DAY}\s*", first):
            raise InputError(
                f"column {name!r}, row {frame.index[0] + 1}: {shown(first)}, expected date and time in one column, "
                "such as 2016-07-01 00:00"
            )


def refuse_long(frame: "pandas.DataFrame", time: str, times: np.ndarray) -> None:
    """Raise InputError for a long table with other column names: another column tells rows of the same dates apart."""
    types, days = import_pandas().api.types, import_pandas().Series(times)
    if days.duplicated(keep=False).mean() < MOSTLY:
        return
    names = [name for name in frame if name != time]
    for name in names:
        column = frame[name].reset_index(drop=True)
        if not (types.is_string_dtype(column) or types.is_integer_dtype(column)):
            continue
        if (
            column.nunique() <= len(frame) / 2
            and not import_pandas().DataFrame({0: days, 1: column}).duplicated().any()
        ):
            value = next((other for other in names if types.is_numeric_dtype(frame[other]) and other != name), None)
            raise InputError(
                f"column {time!r}: dates repeat for each {name!r}; expected a long table's columns unique_id, ds, y: "
                f"rename {name}, {time}, {'the values' if value is None else value}"
            )


def numbers(column: "pandas.Series", name: Any) -> np.ndarray:
    """Convert a column to float64 with NaN for missing values; raises InputError that names the first non-number.

    The index numbers the rows, from 0.
    """
    pandas = import_pandas()
    if getattr(column.dtype, "kind", "O") in "mM":
        raise InputError(
            f"column {name!r}, row {column.index[0] + 1}: {shown(column.iloc[0])}, expected a number: a table has one "
            "column of dates"
        )
    result = pandas.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = (np.isnan(result) & column.notna().to_numpy()) | np.isinf(result)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"column {name!r}, row {column.index[row] + 1}: {shown(column.iloc[row])}, expected a number")
    return result
