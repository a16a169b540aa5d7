"""Large long tables, a few series at a time: memory doesn't grow with the number of series."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ...errors import InputError
from .dates import Dates, import_pandas
from .frames import LONG, Layout, expect_named, expect_once, type_of_names, warn_of_unused
from .gaps import fill_gaps
from .one_frequency import by_series, refuse_coarser
from .parts import parts_of, table_file
from .tables import LongSeries, numbers, readable

if TYPE_CHECKING:
    import pandas

LARGE = 64 * 2**20
"""Size in bytes, unpacked, from which a table is read in parts."""

GATHERED = 32_768
"""Minimum number of rows that are read before they are forecast, if there are so many."""

CELLS = 2**21
"""Maximum number of values at once, steps times series."""

IDENTIFIER, TIME, VALUE = LONG


@dataclass(frozen=True)
class LargeTable:
    """A long table with the rows of each series together; its dates are in memory, its values are read as needed.

    axis: all dates, without series; written: the dates as they are in the file; rows: where they are on the axis;
    count: number of series.
    """

    path: Path
    layout: Layout
    axis: LongSeries
    written: "pandas.Index"
    rows: np.ndarray
    count: int
    missing_values: Sequence[float] = ()

    @classmethod
    def find(cls, path: Path, *, missing_values: Sequence[float] = (), large: int | None = None) -> Self | None:
        """The table in a file, or None for one that isn't large or long, or whose series aren't together.

        large: size in bytes from which a table is large, `LARGE` by default. missing_values: numbers that mark missing
        values. Raises InputError for a file that can't be read, and for its first wrong date.
        """
        with readable(path):
            file = table_file(path)
            if file.size < (LARGE if large is None else large):
                return None
            columns = file.columns()
        order = Order()
        if any(columns.count(name) != 1 for name in LONG) or not all(map(order.goes_on, parts_of(path, LONG[:2]))):
            return None
        if not order.dates:
            return None
        warn_of_unused([name for name in columns if name and name not in LONG])
        pandas = import_pandas()
        column = pandas.Series([*order.dates], index=[*order.dates.values()])
        dated = Dates.of(column, TIME)
        times, rows = np.unique(dated.times, return_inverse=True)
        zone = {"zone": dated.zone, "local": dated.local}
        unit = column.dt.unit if column.dtype.kind == "M" else "us"
        layout = Layout(long=True, time=TIME, **zone, unit=unit, identifier=order.identifier)
        axis = LongSeries(times, np.empty((len(times), 0)), (), TIME, **zone)
        return cls(path, layout, axis, pandas.Index(column), rows, order.count, missing_values)

    def with_missing_rows(self) -> Self:
        """The same with the missing dates, as `fill_gaps` adds them."""
        axis = fill_gaps(self.axis)
        return replace(self, axis=axis, rows=np.searchsorted(axis.times, self.axis.times)[self.rows])

    def blocks(self, steps: int) -> Iterator[LongSeries]:
        """The series in the order of the file, as many at a time as `CELLS` allows; steps: needed beside the dates."""
        most = max(CELLS // (len(self.axis) + steps), 1)
        for table in whole_series(parts_of(self.path)):
            starts = np.flatnonzero(begins(table))[::most]
            for start, end in zip(starts, [*starts[1:], len(table)], strict=True):
                yield self._block(table.iloc[start:end])

    def _block(self, table: "pandas.DataFrame") -> LongSeries:
        """A few series on the axis."""
        codes, names = import_pandas().factorize(table[IDENTIFIER])
        found = self.written.get_indexer(table[TIME])
        if (found < 0).any():
            raise InputError(f"{self.path}: changed while it was read, expected one table")
        rows = self.rows[found]
        values = np.full((len(self.axis), len(names)), np.nan)
        values[rows, codes] = numbers(table[VALUE], VALUE)
        expect_once(table, import_pandas().Series(rows * len(names) + codes), self.axis.times[rows])
        values[np.isin(values, self.missing_values)] = np.nan
        series = replace(self.axis, values=values, names=tuple(map(str, names)))
        refuse_coarser(series.names, by_series(codes, rows), series.times)
        return series


class Order:
    """The order of a long table's rows: the dates, each with its first row, and whether the series are together."""

    def __init__(self):
        self.dates: dict[Any, int] = {}
        self.count, self.identifier = 0, "str"
        self._seen: set[int] = set()
        self._last: Any = None

    def goes_on(self, part: "pandas.DataFrame") -> bool:
        """Take the next rows; False if they hold a series that has ended before."""
        expect_named(part)
        self.identifier = type_of_names(part[IDENTIFIER])
        for date in part[TIME].drop_duplicates().items():
            self.dates.setdefault(*reversed(date))
        for name in part.loc[begins(part), IDENTIFIER]:
            if name == self._last:
                continue
            if hash(name) in self._seen:
                return False
            self._seen.add(hash(name))
            self._last, self.count = name, self.count + 1
        return True


def whole_series(tables: "Iterable[pandas.DataFrame]") -> "Iterator[pandas.DataFrame]":
    """The rows of long tables in larger ones, none of which ends within a series."""
    pandas = import_pandas()
    held: list[Any] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) < GATHERED:
            continue
        gathered = pandas.concat(held)
        others = gathered[IDENTIFIER].ne(gathered[IDENTIFIER].iloc[-1]).to_numpy()
        ended = len(gathered) - int(others[::-1].argmax()) if others.any() else 0
        held = [gathered.iloc[ended:]]
        if ended:
            yield expect_together(gathered.iloc[:ended])
    if any(map(len, held)):
        yield expect_together(pandas.concat(held))


def expect_together(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """The table; raises InputError for a series whose rows are interrupted by those of others."""
    first = table.loc[begins(table), IDENTIFIER]
    for name in first[first.duplicated().to_numpy()][:1]:
        raise InputError(
            f"series {str(name)!r}: rows of other series between its own, expected the rows of "
            f"a series together: sort the table by {IDENTIFIER}"
        )
    return table


def begins(table: "pandas.DataFrame") -> np.ndarray:
    """Whether a row is the first of its series, for each row."""
    names = table[IDENTIFIER]
    return names.ne(names.shift()).to_numpy(bool)
