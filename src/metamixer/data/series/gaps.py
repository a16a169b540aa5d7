"""Missing rows: the dates that a table lacks at its frequency."""

import warnings
from dataclasses import replace

import numpy as np

from ...errors import InputError, InputWarning, counted
from .dates import stamp
from .frequency import Frequency, calendar_dates, usual_step
from .tables import LongSeries, Series

MOST_ADDED = 0.5
"""Maximum number of rows added, as a fraction of the table's."""


class FilledSeries(Series):
    """Series of a wide table with added rows; messages name the date alone, since rows no longer have their number."""

    def place(self, row: int, column: int) -> str:
        return f"{self.variable(column)}, {stamp(self.times[row])}"

    def date(self, row: int) -> str:
        return f"column {self.time!r}: {stamp(self.times[row])}"


def fill_gaps(series: Series) -> Series:
    """Add the missing rows without values, and warn of them; a table without a frequency doesn't change."""
    dates = full_dates(series)
    if dates is None:
        return series
    known = np.isin(dates, series.times)
    values = np.full((len(dates), len(series.names)), np.nan)
    values[known] = series.values
    added = dates[~known]
    warnings.warn(
        f"{counted(len(added), 'missing row')} added without values, the first at {stamp(added[0])}",
        InputWarning,
        stacklevel=4,
    )
    if isinstance(series, LongSeries):
        return replace(series, times=dates, values=values)
    return FilledSeries(dates, values, series.names, series.time, zone=series.zone, local=series.local)


def full_dates(series: Series) -> np.ndarray | None:
    """All dates from the first to the last, if some are missing and the frequency is clear; else None."""
    times = series.times
    if len(times) < 3 or (np.diff(times) <= np.timedelta64(0)).any() or is_regular(series):
        return None
    most = int((1 + MOST_ADDED) * len(times))
    found = calendar_dates(times)
    dates = found[1] if found else steps_of(times, most)
    return None if dates is None or len(dates) > most else dates.astype(times.dtype)


def is_regular(series: Series) -> bool:
    """Whether no date is missing."""
    try:
        Frequency.of(series)
    except InputError:
        return False
    return True


def steps_of(times: np.ndarray, most: int) -> np.ndarray | None:
    """Dates at the usual step, if they include all of these and are at most `most`."""
    step = usual_step(times)
    if step is None or ((times - times[0]) % step != np.timedelta64(0)).any():
        return None
    count = (times[-1] - times[0]) // step + 1
    return None if count > most else times[0] + np.arange(count) * step
