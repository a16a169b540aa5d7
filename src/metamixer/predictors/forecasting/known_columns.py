"""Columns known in the future: a ridge regression on them, while the network forecasts what it leaves.

It is used for a series only if it lowers the quantile loss of a backtest on the last rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...data.series.frequency import Frequency
from ...data.series.tables import LongSeries, Series
from ...errors import InputError
from ...models.ffnet_ts.zero import QUANTILES
from .rolling import ZeroShot

RIDGE = 1.0
"""Penalty on the squared coefficients of standardized columns, in rows."""

LEAST_ROWS = 16
"""Minimum number of rows before the backtest."""

LEVELS = np.array(QUANTILES)[:, None]


@dataclass(frozen=True)
class KnownForecast:
    """deciles: (variables, 9, H); used: (variables,), whether the known columns helped in the backtest."""

    deciles: np.ndarray
    used: np.ndarray


def history_of(series: Series, known: Sequence[str]) -> Series:
    """The series without the known columns, up to the last row that has a value of another column."""
    if not known:
        return series
    if isinstance(series, LongSeries):
        raise InputError(f"known {known[0]!r} with a long table, expected a wide one: dates and a column per series")
    unknown = next((name for name in known if name not in series.names), None)
    if unknown is not None:
        raise InputError(f"known {unknown!r}, expected columns of the table, such as {series.names[-1]!r}")
    own = [i for i, name in enumerate(series.names) if name not in known]
    if not own:
        raise InputError(f"known {', '.join(known)}: every column of the table, expected one to forecast")
    values = series.values[:, own]
    measured = np.flatnonzero(np.isfinite(values).any(axis=1))
    rows = measured[-1] + 1 if len(measured) else 0
    return replace(series.rows(0, rows), values=values[:rows], names=tuple(series.names[i] for i in own))


def horizon_of(series: Series, known: Sequence[str]) -> int:
    """The horizon of a table: the number of rows that hold only known columns, else the one of its frequency."""
    future = len(series) - len(history_of(series, known))
    return future or Frequency.of(series).default_horizon(len(series))


def known_values(series: Series, known: Sequence[str], rows: int, horizon: int) -> np.ndarray:
    """The known columns of the past and of the next `horizon` rows, (rows + horizon, columns).

    Raises InputError if a future value is missing.
    """
    columns = [series.names.index(name) for name in known]
    future = len(series) - rows
    if future < horizon:
        raise InputError(
            f"known {', '.join(known)}: {future} rows after the last value of the others, expected at least {horizon}, "
            "the horizon"
        )
    missing = np.isnan(series.values[rows : rows + horizon, columns])
    for row, column in np.argwhere(missing)[:1]:
        raise InputError(f"{series.place(rows + row, columns[column])}: no value, expected a number: it is known")
    return series.values[: rows + horizon, columns]


def forecast_with_known(
    forecaster: ZeroShot, values: np.ndarray, known: np.ndarray, horizon: int, *, seasons: Sequence[int] = ()
) -> KnownForecast:
    """Forecast series (rows, variables) with known columns (rows + horizon, columns)."""
    held = min(horizon, len(values) // 4)
    past, truth = values[: len(values) - held], values[len(values) - held :].T
    used = np.zeros(values.shape[1], dtype=bool)
    if held and len(past) >= LEAST_ROWS:
        plain = forecaster.forecast(list(past.T), held, seasons=seasons)
        effects = ridge_effects(past, known[: len(values)])
        adjusted = forecaster.forecast(list((past - effects[: len(past)]).T), held, seasons=seasons)
        used = losses(adjusted + effects[len(past) :].T[:, None], truth) < losses(plain, truth)
    effects = ridge_effects(values, known) * used
    deciles = forecaster.forecast(list((values - effects[: len(values)]).T), horizon, seasons=seasons)
    return KnownForecast(deciles + effects[len(values) :].T[:, None], used)


def losses(deciles: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The quantile loss of each series, (variables,), NaN without values; truth: (variables, H)."""
    error = truth[:, None] - deciles
    loss = np.maximum(LEVELS * error, (LEVELS - 1) * error).mean(1)
    count = np.isfinite(loss).sum(1)
    return np.where(count > 0, np.nansum(loss, 1) / np.maximum(count, 1), np.nan)


def ridge_effects(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What the known columns explain of each series, (rows + horizon, variables), learned from the rows of `values`.

    Missing values are skipped; a known column without a value in the past, or with one value only, explains nothing.
    Where a past value of a known column is missing, its mean stands in.
    """
    columns = standardized(known, len(values))
    past = columns[: len(values)]
    effects = np.zeros((len(known), values.shape[1]))
    for i, series in enumerate(values.T):
        seen = np.isfinite(series)
        if seen.sum() < 2:
            continue
        unit = np.abs(series[seen]).max() or 1.0
        inputs = past[seen] - past[seen].mean(0)
        outputs = series[seen] / unit - (series[seen] / unit).mean()
        weights = np.linalg.solve(inputs.T @ inputs + RIDGE * np.eye(inputs.shape[1]), inputs.T @ outputs)
        effects[:, i] = columns @ weights * unit
    return effects


def standardized(known: np.ndarray, rows: int) -> np.ndarray:
    """The columns in units of std of their first `rows`, around the mean there; zero if constant there or missing."""
    largest = np.nanmax(np.abs(known), axis=0, initial=0.0)
    known = known / np.where(largest > 0, largest, 1)
    past = known[:rows]
    seen = np.isfinite(past)
    count = np.maximum(seen.sum(0), 1)
    mean = np.where(seen, past, 0).sum(0) / count
    std = np.sqrt(np.square(np.where(seen, past - mean, 0)).sum(0) / count)
    varies = std > 1e-9
    return np.where(np.isfinite(known) & varies, (known - mean) / np.where(varies, std, 1), 0)
