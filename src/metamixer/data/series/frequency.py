"""The frequency of timestamps: inferred, checked row by row, and continued into the future."""

import warnings
from dataclasses import dataclass

import numpy as np

from ...errors import InputError, counted
from .dates import import_pandas, stamp
from .tables import Series

SEASONS = {
    **dict.fromkeys(("YE", "YS", "BYE", "BYS"), 1),
    **dict.fromkeys(("QE", "QS", "BQE", "BQS"), 4),
    **dict.fromkeys(("ME", "MS", "BME", "BMS", "WOM", "LWOM"), 12),
    **dict.fromkeys(("SME", "SMS"), 24),
    "W": 52,
    "B": 5,
    "bh": 8,
}
"""Season length of a naive forecast by pandas' frequency name: a year, or a week of business days."""

CALENDAR = ("B", "MS", "ME", "QS", "QE", "YS", "YE")
"""Frequencies with steps of different length, which are tried on tables with gaps."""

HORIZONS = {
    **dict.fromkeys(("YE", "YS", "BYE", "BYS"), 6),
    **dict.fromkeys(("QE", "QS", "BQE", "BQS"), 8),
    **dict.fromkeys(("ME", "MS", "BME", "BMS"), 18),
    "W": 13,
    **dict.fromkeys(("D", "B"), 28),
    "h": 48,
}
"""Default horizon by pandas' frequency name."""

LONGEST_DEFAULT = 96
"""Maximum default horizon of other frequencies, for which it is a tenth of the rows."""

DAY = np.timedelta64(1, "D")

SUNDAY, CHANGES = 6, (1, 2, 3)
"""The day of the week, and the hours, in which daylight saving time usually ends."""


@dataclass(frozen=True)
class Frequency:
    """A frequency by pandas' name, such as "h", "15min", "MS" (the first of each month) or "B" (business days)."""

    name: str

    @classmethod
    def of(cls, series: Series) -> "Frequency":
        """Infer the frequency; raises InputError that names the row at which it breaks."""
        times = series.times
        if len(times) < 3:
            raise InputError(f"table of {counted(len(times), 'date')}, expected at least 3 to find the frequency")
        steps = np.diff(times)
        refuse_disorder(series)
        pandas = import_pandas()
        if (steps == steps[0]).all() and steps[0] < DAY:
            return cls(pandas.tseries.frequencies.to_offset(pandas.Timedelta(steps[0])).freqstr)
        with warnings.catch_warnings():  # pandas 4 will return an offset instead of its name
            warnings.simplefilter("ignore")
            found = pandas.infer_freq(pandas.DatetimeIndex(times))
        frequency = cls(pandas.tseries.frequencies.to_offset(found).freqstr) if found else None
        if frequency is None or (frequency.after(times[0], len(times) - 1) != times[1:]).any():
            raise InputError(irregularity(series))
        return frequency

    def check(self, series: Series) -> None:
        """Raise InputError that names the first row that doesn't follow the previous one at this frequency."""
        refuse_disorder(series)
        expected = self.after(series.times[0], len(series) - 1)
        wrong = expected != series.times[1:]
        if wrong.any():
            row = int(wrong.argmax()) + 1
            raise InputError(
                f"{series.date(row)} follows {stamp(series.times[row - 1])}, expected {stamp(expected[row - 1])} "
                f"at the frequency {self.name}"
            )

    def after(self, time: np.datetime64, count: int) -> np.ndarray:
        """The next `count` timestamps."""
        pandas = import_pandas()
        return pandas.date_range(time, periods=count + 1, freq=self.name).to_numpy()[1:].astype("datetime64[us]")

    def default_horizon(self, rows: int) -> int:
        """The horizon for a table of so many rows if the user names none."""
        return HORIZONS.get(self.name.split("-")[0]) or min(max(rows // 10, 1), LONGEST_DEFAULT)

    @property
    def season(self) -> int:
        """Steps in a day, or in a week or year for longer steps; in several of them if one isn't a whole number."""
        pandas = import_pandas()
        code = self.name.split("-")[0].lstrip("0123456789")
        if code in SEASONS:
            return max(SEASONS[code] // pandas.tseries.frequencies.to_offset(self.name).n, 1)
        step = pandas.Timedelta(pandas.tseries.frequencies.to_offset(self.name)).to_timedelta64()
        cycle = float((DAY if step < DAY else 7 * DAY) / step)
        lengths = [count * cycle for count in range(1, 8)]
        return max(round(next((length for length in lengths if abs(round(length) - length) < 0.01 * length), cycle)), 1)


def refuse_disorder(series: Series) -> None:
    """Raise InputError that names the first row that precedes or repeats the previous one."""
    refuse_backward(series)
    repeated = np.diff(series.times) == np.timedelta64(0)
    if repeated.any():
        row = int(repeated.argmax()) + 1
        raise InputError(
            f"{series.date(row)} repeats {stamp(series.times[row - 1])} of the row above, expected every date "
            f"once, in order{end_of_summer(series, row)}"
        )


def refuse_backward(series: Series) -> None:
    """Raise InputError that names the first row that precedes the previous one.

    Repeated dates are allowed: they may come from the end of daylight saving time.
    """
    backward = np.diff(series.times) < np.timedelta64(0)
    if backward.any():
        row = int(backward.argmax()) + 1
        raise InputError(
            f"{series.date(row)} is before {stamp(series.times[row - 1])} of the row above, expected dates in order"
            f"{end_of_summer(series, row)}"
        )


def end_of_summer(series: Series, row: int) -> str:
    """What to do about a row that is an hour late or less, on a Sunday night, as at the end of daylight saving time."""
    time, back = import_pandas().Timestamp(series.times[row]), series.times[row - 1] - series.times[row]
    if series.zone or time.weekday() != SUNDAY or time.hour not in CHANGES or back > np.timedelta64(1, "h"):
        return ""
    return f"; if daylight saving time ends there, write times with their offsets, such as {time.isoformat()}+01:00"


def calendar_dates(times: np.ndarray) -> tuple[str, np.ndarray] | None:
    """The first calendar frequency that includes all dates and few others, and its dates; None if there is none."""
    for name in CALENDAR:
        dates = import_pandas().date_range(times[0], times[-1], freq=name).to_numpy()
        if len(dates) < 1.5 * len(times) and np.isin(times, dates).all():
            return name, dates
    return None


def usual_step(times: np.ndarray) -> np.timedelta64 | None:
    """The step between most dates; None if no step is that common."""
    kinds, counts = np.unique(np.diff(times), return_counts=True)
    return kinds[counts.argmax()] if counts.max() >= 0.5 * (len(times) - 1) else None


def irregularity(series: Series) -> str:
    """Describe why timestamps have no frequency: the first gap, or no dominant step."""
    times, steps = series.times, np.diff(series.times)
    if found := calendar_dates(times):
        name, dates = found
        missing = dates[~np.isin(dates, times)][0]
        row = int((times > missing).argmax())
        return (
            f"{series.date(row)} follows {stamp(times[row - 1])}, expected {stamp(missing)} at the frequency "
            f"{name}: fill the gap with rows, leaving unknown values empty"
        )
    days = times.astype("datetime64[D]") - times.astype("datetime64[M]")
    if (days == days[0]).all() and steps.min() >= 28 * DAY:
        day = days[0].astype(int) + 1
        return f"column {series.time!r}: day {day} of each month, expected the first or the last day for monthly dates"
    usual = usual_step(times)
    if usual is None:
        shortest, longest = duration(steps.min()), duration(steps.max())
        return f"column {series.time!r}: unknown frequency, steps from {shortest} to {longest}, expected regular dates"
    row = int((steps != usual).argmax()) + 1
    return (
        f"{series.date(row)} is {duration(steps[row - 1])} after {stamp(times[row - 1])}, expected {duration(usual)}: "
        "fill the gap with rows, leaving unknown values empty"
    )


def duration(step: np.timedelta64) -> str:
    """A step in words, such as 1 day, 6 hours."""
    step = import_pandas().Timedelta(step)
    words = [counted(count, unit.removesuffix("s")) for unit, count in step.components._asdict().items() if count]
    return ", ".join(words)
