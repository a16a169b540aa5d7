"""The series of a long table have one frequency: one of a coarser frequency would be forecast at the finest."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...errors import InputError
from .dates import stamp
from .frequency import Frequency
from .gaps import full_dates, is_regular
from .tables import LongSeries

LEAST_DATES = 8
"""Minimum number of dates that show a frequency; fewer may be regular by chance."""

USUAL = 0.75
"""Minimum fraction of a regular series' steps that are the usual one; others are several of it, at missing rows."""

UNEVEN = 0.12
"""Maximum deviation of a calendar step, such as a month in days, from the usual one, as a fraction."""

APART = "forecast each series at its own with --engine local (stream in Python)"


def expect_one_frequency(table: LongSeries, codes: np.ndarray, rows: np.ndarray) -> None:
    """Raise InputError that names a series of a long table with another frequency than others.

    codes, rows: the number of the series and of the date, for each row of the long table.
    """
    dates, groups = full_dates(table), by_series(codes, rows)
    if dates is not None:
        groups = {code: np.searchsorted(dates, table.times)[places] for code, places in groups.items()}
        refuse_coarser(table.names, groups, dates)
    elif is_regular(table):
        refuse_coarser(table.names, groups, table.times)
    else:
        refuse_different(table, groups)


def by_series(codes: np.ndarray, rows: np.ndarray) -> dict[int, np.ndarray]:
    """The sorted rows of each series."""
    order = np.lexsort((rows, codes))
    codes, first = np.unique(codes[order], return_index=True)
    return dict(zip(codes.tolist(), np.split(rows[order], first[1:]), strict=True))


def refuse_coarser(names: Sequence[str], groups: dict[int, np.ndarray], dates: np.ndarray) -> None:
    """Raise InputError that names a series with only every second, third or seventh date, for example.

    groups: the sorted places of each series among the table's dates.
    """
    for code, places in groups.items():
        if len(places) >= LEAST_DATES and skips_regularly(np.diff(places)):
            raise InputError(
                f"series {names[code]!r}: dates {beginning(dates[places])}, expected the table's frequency, "
                f"{beginning(dates[places[0] :])}: {APART}, or add the dates between, without values"
            )


def skips_regularly(steps: np.ndarray) -> bool:
    """Whether a series has none of the dates between regular ones."""
    usual = np.median(steps)
    several = np.maximum(np.round(steps / usual), 1)
    even = np.abs(steps / (several * usual) - 1) <= UNEVEN
    return bool(steps.min() > 1 and even.all() and (several == 1).mean() >= USUAL)


def refuse_different(table: LongSeries, groups: dict[int, np.ndarray]) -> None:
    """Raise InputError if a table has no frequency because two regular series have different ones."""
    first: dict[str, str] = {}
    for code, places in groups.items():
        own = replace(table, times=table.times[places], values=table.values[places])
        if len(places) >= LEAST_DATES and is_regular(own):
            first.setdefault(Frequency.of(own).name, f"series {table.names[code]!r}: dates {beginning(own.times)}")
        if len(first) > 1:
            raise InputError(f"{'; '.join(first.values())}, expected one frequency: {APART}")


def beginning(dates: np.ndarray) -> str:
    """The first three dates."""
    return ", ".join([*map(stamp, dates[:3]), "..."])
