"""Work with long tables of very many series: each is forecast alone, in chunks of series of the same dates."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.compute as compute
import pyarrow.csv as csv
from fsspec.implementations.local import LocalFileSystem

from ..data.series.dates import import_pandas
from ..data.series.day_order import DayOrder, days_first, iso_dates, slashed
from ..data.series.frames import LONG
from ..data.series.tables import SAMPLE, expect_text, separators_of
from ..errors import InputError, first_line, naming
from ..predictors.forecasting.streaming import Failed, alike, forecast_columns_of, forecast_each
from .folder import open_url
from .shard import Rows, Shard
from .sources import absolute, opened_parquet

if TYPE_CHECKING:
    import pandas

IDENTIFIER, TIME, VALUE = LONG

SHARD_BYTES = 16 * 2**20
"""Of the table's files: a process holds the series of one shard."""

SHARDS = (8, 1024)
"""The fewest and the most."""

MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]
"""What stands for no value in a CSV file."""

DECIMAL_COMMA = r"^(\s*[+-]?\d*),(\d+(?:[eE][+-]?\d+)?\s*)$"
"""A number such as -1,5."""

YEAR_LAST = r"^\s*\d{1,2}[/-]\d{1,2}[/-]\d{2}"
"""How dates begin that may have the day or the month first."""


@dataclass(frozen=True)
class Tables:
    """Forecasts of the series of long tables: CSV (gzip too) or Parquet of unique_id, ds and y.

    inputs: paths and URLs; missing_values: numbers that stand for none; the others: of `Forecaster`.
    """

    inputs: Sequence[str]
    horizon: int
    levels: Sequence[float] = ()
    quantiles: Sequence[float] = ()
    missing_values: Sequence[float] = ()
    device: str = "cpu"
    shards: int = 0

    key = IDENTIFIER
    about = "series"

    @classmethod
    def of(cls, inputs: Sequence[str], **options: Any) -> "Tables":
        """With as many shards as the tables need; raises InputError if a table doesn't exist or an option is wrong."""
        shards = math.ceil(sum(_size(name) for name in inputs) / SHARD_BYTES)
        tables = cls(inputs, **options, shards=min(max(shards, SHARDS[0]), SHARDS[1]))
        tables.prepare()  # checks the options
        return tables

    def description(self) -> dict[str, Any]:
        return {
            "inputs": [absolute(name) for name in self.inputs],
            "size": sum(_size(name) for name in self.inputs),
            "horizon": self.horizon,
            "levels": list(self.levels),
            "quantiles": list(self.quantiles),
            "missing_values": list(self.missing_values),
        }

    def units(self) -> list[str]:
        return [absolute(name) for name in self.inputs]

    def spread(self, unit: str) -> Iterator[pyarrow.Table]:
        for table in read_long(unit, alone=len(self.inputs) == 1):
            if table[IDENTIFIER].null_count:
                raise InputError(f"{unit}: column {IDENTIFIER!r}: rows without a value, expected the name of a series")
            yield table

    def prepare(self) -> Any:
        from ..predictors.forecasting.forecaster import Forecaster

        return Forecaster(self.horizon, levels=self.levels, quantiles=self.quantiles, device=self.device)

    def predict(self, held: Any, shard: Shard) -> Iterator[Rows]:
        table = pyarrow.concat_tables(shard.inputs())
        columns = self.columns(held, table.schema)
        frame = table.to_pandas()
        for some_series in alike(frame, shard.done):
            names = some_series[IDENTIFIER].unique()
            yield Rows(self._forecast(held, some_series, columns), [*map(str, names)])

    def columns(self, forecaster: Any, table: pyarrow.Schema) -> pyarrow.Schema:
        """Of the forecasts of a table."""
        numbers = dict.fromkeys(forecast_columns_of(forecaster)[2:-1], pyarrow.float64())
        names, dates = table.field(IDENTIFIER).type, time_type(table.field(TIME).type)
        return pyarrow.schema({IDENTIFIER: names, TIME: dates, **numbers, "error": pyarrow.string()})

    def _forecast(self, forecaster: Any, table: "pandas.DataFrame", columns: pyarrow.Schema) -> pyarrow.Table:
        """The forecasts of a few series, and a row with the error of one that can't be forecast."""

        def predict(frame: "pandas.DataFrame") -> pyarrow.Table:
            if self.missing_values:
                values = import_pandas().to_numeric(frame[VALUE], errors="coerce")  # text, of a CSV file
                frame = frame.assign(**{VALUE: frame[VALUE].mask(values.isin(self.missing_values))})
            forecast = forecaster.predict(frame).assign(error=None)
            return pyarrow.Table.from_pandas(forecast, preserve_index=False).select(columns.names).cast(columns)

        return pyarrow.concat_tables(
            pyarrow.Table.from_pylist([each.row], columns) if isinstance(each, Failed) else each
            for each in forecast_each(predict, table)
        )


def read_long(name: str, *, alone: bool = True) -> Iterator[pyarrow.Table]:
    """The three columns of a table, a few rows at a time; of a CSV file they are text.

    31/12/2016 and 12/31/2016 become 2016-12-31: the dates of a shard may fit both orders. Raises InputError for a file
    with both, or with neither unless it is `alone`: its series may go on in another file.
    """
    day_first = None
    try:
        for table in _parts(name):
            if _is_text(table[TIME]) and compute.any(compute.match_substring_regex(table[TIME], YEAR_LAST)).as_py():
                day_first = day_is_first(name, alone=alone) if day_first is None else day_first
                table = table.set_column(LONG.index(TIME), TIME, _iso(table[TIME], day_first))
            yield table
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: not a readable table ({first_line(error)})") from None


def day_is_first(name: str, *, alone: bool) -> bool:
    """Whether the day stands before the month, by all dates of a file; raises InputError if they disagree."""
    written: dict[str, None] = {}
    for table in _parts(name):
        dates = table[TIME].filter(compute.match_substring_regex(table[TIME], YEAR_LAST))
        days = compute.replace_substring_regex(dates, pattern=f"({YEAR_LAST}\\d*).*", replacement=r"\1")
        written.update(dict.fromkeys(days.unique().to_pylist()))
    dates = import_pandas().Series([*written], dtype=object)
    dates = dates[slashed(dates)]
    order = DayOrder()
    with naming(name):
        order.see(dates, TIME)
        if not alone:
            return order.decided(dates, TIME)
    return days_first(dates) if order.day_first is None else order.day_first


def _iso(column: pyarrow.ChunkedArray, day_first: bool) -> pyarrow.Array:
    """Dates with the year first; each distinct one is converted once."""
    encoded = column.combine_chunks().dictionary_encode()
    dates = iso_dates(encoded.dictionary.to_pandas(), day_first=day_first)
    return pyarrow.array(dates, column.type).take(encoded.indices)


def _is_text(column: pyarrow.ChunkedArray) -> bool:
    return pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)


def _parts(name: str) -> Iterator[pyarrow.Table]:
    return (_of_parquet if name.lower().endswith(".parquet") else _of_csv)(name)


def _of_parquet(name: str) -> Iterator[pyarrow.Table]:
    with opened_parquet(name) as file:
        expect_long(file.schema_arrow.names, name)
        for batch in file.iter_batches(columns=list(LONG)):
            table = pyarrow.Table.from_batches([batch]).select(LONG)
            table.validate(full=True)  # text may be no UTF-8
            for place, kind in enumerate(table.schema.types):
                if pyarrow.types.is_dictionary(kind):
                    table = table.set_column(place, LONG[place], table[place].cast(pyarrow.string()))
            yield table


def _of_csv(name: str) -> Iterator[pyarrow.Table]:
    """Numbers with decimal commas get points; wrong ones stay as they stand in the file."""
    filesystem, path = open_url(name)
    with filesystem.open(path, "rb", compression="infer") as file:
        sample = file.read(SAMPLE)
    expect_text(name, sample)
    separator, decimal = separators_of(sample)
    text = dict.fromkeys(LONG, pyarrow.string())
    convert = csv.ConvertOptions(column_types=text, null_values=MISSING, strings_can_be_null=True)
    how = {"convert_options": convert, "parse_options": csv.ParseOptions(delimiter=separator)}
    with filesystem.open(path, "rb", compression="infer") as file, csv.open_csv(file, **how) as rows:
        expect_long(rows.schema.names, name)
        for batch in rows:
            table = pyarrow.Table.from_batches([batch]).select(LONG)
            if decimal == ",":
                values = compute.replace_substring_regex(table[VALUE], pattern=DECIMAL_COMMA, replacement=r"\1.\2")
                table = table.set_column(LONG.index(VALUE), VALUE, values)
            yield table


def expect_long(names: Sequence[str], name: str) -> None:
    """Raise InputError for a table that isn't long."""
    if not set(LONG) <= set(names):
        raise InputError(f"{name}: columns {', '.join(names[:8])}, expected {', '.join(LONG)}: a long table")
    twice = next((column for column in LONG if names.count(column) > 1), None)
    if twice:
        raise InputError(f"{name}: column {twice!r} twice, expected it once")


def time_type(kind: pyarrow.DataType) -> pyarrow.DataType:
    """The type of the forecasts' dates; text is without a zone."""
    return kind if pyarrow.types.is_timestamp(kind) or pyarrow.types.is_date(kind) else pyarrow.timestamp("us")


def _size(name: str) -> int:
    filesystem, path = open_url(name)
    if isinstance(filesystem, LocalFileSystem) and filesystem.isdir(path):
        raise InputError(f"{name}: is a folder, expected a table")
    try:
        return filesystem.size(path) or 0
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
