"""The order of day and month in dates such as 03/04/2024, which only the other dates of a column tell."""

import re
import warnings
from typing import TYPE_CHECKING, Any

from ...errors import InputError, InputWarning

if TYPE_CHECKING:
    import pandas

YEAR_LAST = r"^\s*(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?!\d)"
"""Dates with the year at the end, in any order of day and month; with dots, the day is always first."""

LAST_MONTH = 12

THIS_CENTURY = "69"
"""Years of two digits below this are 20xx, as in POSIX."""


class DayOrder:
    """What the dates of a table that comes in parts tell: the first with a part above 12 decides for all."""

    def __init__(self):
        self._day_first: str | None = None
        self._month_first: str | None = None

    @property
    def day_first(self) -> bool | None:
        """Whether the day stands before the month; None if no date has told yet."""
        return None if self._day_first is None and self._month_first is None else self._day_first is not None

    def see(self, dates: "pandas.Series", name: str) -> None:
        """Take dates in the order of a file; raises InputError that names the column if two of them disagree."""
        parts = _parts(dates)
        one, two = parts[0] > LAST_MONTH, parts[2] > LAST_MONTH
        told = [dates[above].astype(str).str.strip().iloc[:1] for above in (one & ~two, two & ~one)]
        first, second = (next(iter(dates), None) for dates in told)
        self._day_first, self._month_first = self._day_first or first, self._month_first or second
        if self._day_first and self._month_first:
            raise InputError(
                f"column {name!r}: {self._day_first} and {self._month_first}, expected the day before the month in all "
                "dates or in none"
            )

    def decided(self, dates: "pandas.Series", name: str) -> bool:
        """Whether the day is first; raises InputError that names the first date of two readings if none has told."""
        unclear = dates[(_parts(dates) <= LAST_MONTH).all(axis=1)]
        if self.day_first is None and len(unclear):
            date = str(unclear.iloc[0]).strip()
            raise InputError(
                f"column {name!r}: {date} fits both orders of day and month, expected dates such as 2024-12-31"
            )
        return bool(self.day_first)


def slashed(dates: "pandas.Series") -> "pandas.Series":
    """Whether each date has its year at the end, after slashes or dashes, which don't tell the day from the month."""
    return _parts(dates)[0].notna()


def days_first(column: "pandas.Series", name: Any) -> bool:
    """Whether the day stands before the month, as in 31.12.2016 and 31/12/2016, in a whole column of dates.

    With dots it always does. Otherwise the day is the part above 12; if there is none, the order counts in which the
    dates are regular. If both or none are, a warning names both readings: the day is the part that never changes, as in
    monthly data; with times of day, the order counts that needs fewer days; else the month is first.
    """
    parts = _parts(column)
    if parts.isna().all(axis=None):
        return True
    parts = parts[~(parts > LAST_MONTH).all(axis=1)]  # a wrong date tells nothing
    if parts.max(axis=None) > LAST_MONTH:
        return bool(parts[0].max() > LAST_MONTH)
    differ = column[parts.index[(parts[0] - parts[2]).abs() > 0]]
    if differ.empty:
        return False
    dates = {order: _sorted_dates(column, day_first=order) for order in (False, True)}
    regular = [order for order in dates if _is_regular(dates[order])]
    if len(regular) == 1:
        return regular[0]
    if all((each == each.normalize()).all() for each in dates.values()):
        chosen = bool(parts[0].nunique() == 1 < parts[2].nunique())
    else:
        chosen = min(dates, key=lambda order: dates[order][-1] - dates[order][0])
    one, other = (iso_dates(differ[:1], day_first=order).iloc[0] for order in (chosen, not chosen))
    how = f"column {name!r}: {differ.iloc[0]} read as {one}, not as {other}; expected dates such as 2024-12-31"
    warnings.warn(how, InputWarning, stacklevel=2)
    return chosen


def _sorted_dates(column: "pandas.Series", *, day_first: bool) -> "pandas.DatetimeIndex":
    """The distinct dates of a column in one order of day and month."""
    import pandas

    dates = pandas.to_datetime(iso_dates(column, day_first=day_first), errors="coerce", format="mixed", utc=True)
    return pandas.DatetimeIndex(dates.dropna().unique()).sort_values().tz_convert(None)


def _is_regular(dates: "pandas.DatetimeIndex") -> bool:
    import pandas

    with warnings.catch_warnings(action="ignore"):  # pandas 4 will return an offset instead of its name
        return len(dates) > 2 and bool(dates.diff()[1:].nunique() == 1 or pandas.infer_freq(dates))


def year_first(column: "pandas.Series", name: Any) -> "pandas.Series":
    """A whole column of dates in ISO format, without wrong ones, if the first has its year at the end."""
    if not isinstance(column.iloc[0], str) or not re.match(YEAR_LAST, column.iloc[0]):
        return column
    dates = iso_dates(column, day_first=days_first(column, name))
    return dates.mask(dates.astype(str).str.match(YEAR_LAST))


def iso_dates(column: "pandas.Series", *, day_first: bool) -> "pandas.Series":
    """Write dates with the year at the end as 2016-12-31, with what follows; other text, and wrong dates, stay.

    So messages quote them as they stand in the file.
    """
    import pandas

    text = column.astype(str).str.extract(f"{YEAR_LAST}(.*)$")
    one, mark, two, year, rest = (text[i] for i in range(5))
    short = year.str.len() == 2
    year = year.mask(short & (year < THIS_CENTURY), "20" + year).mask(short & (year >= THIS_CENTURY), "19" + year)
    first = mark.eq(".") | day_first
    date = year + "-" + two.where(first, one).str.zfill(2) + "-" + one.where(first, two).str.zfill(2)
    right = pandas.to_datetime(date, errors="coerce", format="%Y-%m-%d").notna()
    right &= pandas.to_datetime(date + rest, errors="coerce", format="mixed", utc=True).notna()
    return (date + rest).where(right, column.astype(object))


def _parts(dates: "pandas.Series") -> "pandas.DataFrame":
    """The numbers before the year, in the columns 0 and 2, of dates with slashes or dashes; NaN for others."""
    parts = dates.astype(str).str.extract(YEAR_LAST)
    return parts.loc[:, [0, 2]].where(parts[1].ne(".")).astype(float)
