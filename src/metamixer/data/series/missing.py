"""Missing values of series, and numbers that look like them: filling, warnings, errors."""

import warnings
from dataclasses import replace

import numpy as np

from ...errors import InputError, InputWarning, counted
from .dates import MOST_NAMED, some, stamp
from .tables import Series
from .tally import SeriesWarning

SENTINELS = (-9999.0, -999.0, -99999.0, 99999.0)
"""Numbers that often mark a missing value."""


def refuse_missing(series: Series) -> None:
    """Raise InputError that names the first missing value."""
    for row, column in np.argwhere(np.isnan(series.values))[:1]:
        raise InputError(f"{series.place(row, column)}: no value, expected a number")


def refuse_unmeasured(series: Series) -> None:
    """Raise InputError if the validation rows, which select the best weights, have no values."""
    if np.isnan(series.values).all():
        raise InputError(
            f"no value from {stamp(series.times[0])} to {stamp(series.times[-1])}, expected some: they select the "
            "best weights"
        )


def fill_missing(series: Series, *, learned: int) -> Series:
    """Fill missing values with the previous value, and those before a series' first value with that one.

    Otherwise only earlier values are used: later ones would leak the future into a window.
    Raises InputError for a series without any value in the first `learned` rows.
    """
    missing = np.isnan(series.values)
    if not missing.any():
        return series
    empty = missing[:learned].all(axis=0)
    if empty.any():
        raise InputError(
            f"{series.variable(int(empty.argmax()))}: no value at the first {learned} dates, the training "
            "part, expected numbers: leave it out"
        )
    rows = np.arange(len(series))[:, None]
    known = np.maximum.accumulate(np.where(missing, (~missing).argmax(axis=0), rows), axis=0)
    return replace(series, values=np.take_along_axis(series.values, known, axis=0))


def warn_of_missing(series: Series) -> None:
    """Warn of the values that `fill_missing` fills: counts by series, the first, and series that are shorter."""
    missing = np.isnan(series.values)
    if not missing.any():
        return
    counts = [
        f"{count} in {name!r}" for name, count in zip(series.names, missing.sum(axis=0).tolist(), strict=True) if count
    ]
    row, column = np.argwhere(missing)[0]
    warnings.warn(
        f"{missing.sum()} missing values ({some(counts)}) filled with the previous value, left out of all metrics; "
        + "; ".join([f"the first is {series.place(row, column)}", *filter(None, [some(shorter_series(series))])]),
        InputWarning,
        stacklevel=3,
    )


def shorter_series(series: Series) -> list[str]:
    """Describe the series that begin after or end before others."""
    known = ~np.isnan(series.values)
    first, last = known.argmax(axis=0), len(series) - 1 - known[::-1].argmax(axis=0)
    late, early = np.flatnonzero(first > first.min()), np.flatnonzero(last < last.max())
    begun = [f"{series.variable(i)} begins at {stamp(series.times[first[i]])}, after others" for i in late]
    return begun + [f"{series.variable(i)} ends at {stamp(series.times[last[i]])}, before others" for i in early]


def warn_of_ended(series: Series, *, bridged: int) -> None:
    """Warn of series that end before the last date, after which every forecast begins.

    bridged: maximum number of missing rows at the end across which a series is forecast.
    """
    known = ~np.isnan(series.values)
    missing = np.where(known.any(axis=0), known[::-1].argmax(axis=0), 0)
    last = f"{stamp(series.times[-1])}, the last date of the table"
    for ended, follows in (
        ((missing > 0) & (missing <= bridged), f"all forecasts begin after {last}"),
        (missing > bridged, f"no forecast (NaN), expected a value in the {bridged + 1:,} rows up to {last}"),
    ):
        columns = np.flatnonzero(ended)
        if len(columns):
            dates = [stamp(series.times[-1 - missing[i]]) for i in columns[:MOST_NAMED]]
            found = [f"{series.variable(i)} ends at {date}" for i, date in zip(columns, dates, strict=False)]
            warnings.warn(SeriesWarning(found, len(columns), follows), stacklevel=3)


def warn_of_sentinels(series: Series) -> None:
    """Warn of numbers such as -9999 that may mean a missing value."""
    marks = sentinels(series.values)
    columns = np.flatnonzero(marks.any(axis=0))
    if len(columns):
        rows, counts = marks.argmax(axis=0), marks.sum(axis=0)
        found = [
            f"{series.place(rows[i], i)}: {series.values[rows[i], i]:g} ({counted(counts[i], 'such value')})"
            for i in columns[:MOST_NAMED]
        ]
        use = (
            "used as a number, although it looks like a missing value: if it is one, leave it empty or pass "
            "--missing_values to `forecast`"
        )
        warnings.warn(SeriesWarning(found, len(columns), use), stacklevel=3)


def sentinels(values: np.ndarray) -> np.ndarray:
    """Mask of sentinel numbers far outside the other values of their column, or alone; values: (rows, variables)."""
    found = np.isin(values, SENTINELS)
    for i in np.flatnonzero(found.any(axis=0)):
        # Without the candidates, which may be the majority.
        others = values[~found[:, i] & ~np.isnan(values[:, i]), i]
        if len(others):
            median = np.median(others)
            found[:, i] &= np.abs(values[:, i] - median) > 20 * max(np.median(np.abs(others - median)), 1e-9)
    return found
