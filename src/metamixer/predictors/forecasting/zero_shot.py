"""Zero-shot forecasts of tables: `Forecaster.predict` without `fit`."""

import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...checkpoints.ours import load_checkpoint
from ...checkpoints.packaged import packaged_weights
from ...data.series.dates import MOST_NAMED, some
from ...data.series.frames import Layout, bounds_of, refuse_names_of_bounds, write_frame
from ...data.series.frequency import DAY, Frequency
from ...data.series.missing import warn_of_ended, warn_of_sentinels
from ...data.series.tables import Series
from ...data.series.tally import SeriesWarning
from ...errors import InputError, InputWarning, counted, expect_integer
from ...models.ffnet_ts.zero import QUANTILES, FFNetTSZero
from .known_columns import forecast_with_known
from .options import LONGEST_HORIZON
from .quantiles import NORMAL, SCORES, from_deciles
from .rolling import LONGEST_GAP, ZeroShot

PACKAGED = "ffnet_ts_zero"

GUESS = 0.1
"""Assumed std of a constant series' future, as a fraction of its value (of 1 for zeros)."""

LARGEST = 1e300
"""Maximum absolute value, which leaves room for sums and forecasts."""

FEW = 8
"""The minimum number of values for a useful forecast."""


@lru_cache(maxsize=1)
def packaged_network() -> FFNetTSZero:
    """The packaged network, trained on synthetic series only."""
    return load_checkpoint(packaged_weights(PACKAGED))[0]


def forecast_series(
    series: Series,
    layout: Layout,
    horizon: int,
    *,
    levels: Sequence[float] = (),
    quantiles: Sequence[float] = (),
    positive: bool = False,
    device: str = "cpu",
    network: FFNetTSZero | None = None,
    known: np.ndarray | None = None,
) -> Any:
    """Forecast a table that was read, as a table in its layout.

    known: (rows + horizon, columns) that are known in the future.
    """
    if not layout.long:
        refuse_names_of_bounds(series.names, levels)
    refuse_unusable(series, horizon)
    frequency = Frequency.of(series)
    warn_of_sentinels(series)
    warn_of_little(series)
    warn_of_ended(series, bridged=LONGEST_GAP)
    forecaster = ZeroShot(network or packaged_network(), device=device)
    seasons = seasons_of(frequency, series.times[-1])
    if known is None:
        deciles = forecaster.forecast(list(series.values.T), horizon, seasons=seasons)
    else:
        found = forecast_with_known(forecaster, series.values, known, horizon, seasons=seasons)
        deciles = found.deciles
        warn_of_unhelpful(series, found.used)
    columns = forecast_columns(widen_constants(deciles, series.values), levels, quantiles)
    if positive:
        columns = {suffix: np.maximum(values, 0) for suffix, values in columns.items()}
    return write_frame(frequency.after(series.times[-1], horizon), columns, series.names, layout, model=PACKAGED)


class MedianForecast:
    """The median forecast of windows, each series alone: (N, rows, variables) -> (N, horizon, variables)."""

    def __init__(
        self,
        network: FFNetTSZero,
        horizon: int,
        seasons: Sequence[int],
        *,
        device: torch.device = torch.device("cpu"),
    ):
        self.forecaster = ZeroShot(network, device=str(device))
        self.horizon, self.seasons = horizon, seasons

    def __call__(self, windows: Tensor) -> Tensor:
        """windows: in any unit, NaN for missing values."""
        series = list(windows.transpose(1, 2).flatten(0, 1).double().numpy())
        deciles = self.forecaster.forecast(series, self.horizon, seasons=self.seasons)
        median = torch.from_numpy(deciles[:, len(QUANTILES) // 2]).float()
        return median.unflatten(0, (len(windows), -1)).transpose(1, 2)


def seasons_of(frequency: Frequency, time: np.datetime64) -> tuple[int, ...]:
    """Calendar seasons in steps: a day and a week for steps shorter than a day, else a week or a year."""
    season, step = frequency.season, frequency.after(time, 1)[0] - time
    return (season, 7 * season) if season > 1 and season * step == DAY else (season,)


def forecast_columns(
    deciles: np.ndarray, levels: Sequence[float], quantiles: Sequence[float]
) -> Mapping[str, np.ndarray]:
    """Suffix -> (H, variables) of the median, the intervals and the quantiles; deciles: (variables, 9, H)."""
    columns = {"": quantile(deciles, 0.5)}
    for level in levels:
        tail = (1 - level / 100) / 2
        columns |= dict(zip(bounds_of(level), (quantile(deciles, tail), quantile(deciles, 1 - tail)), strict=True))
    return columns | {f"-q-{100 * level:g}": quantile(deciles, level) for level in quantiles}


def widen_constants(deciles: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Give constant series quantiles of an assumed width.

    deciles: (variables, 9, H); values: (rows, variables).
    """
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    std = np.where(low == high, GUESS * np.where(high == 0, 1, np.abs(high)), 0)
    return deciles + std[:, None, None] * SCORES[:, None]


def quantile(deciles: np.ndarray, level: float) -> np.ndarray:
    """Any quantile, (H, variables): linear in normal scores between the deciles, with normal tails beyond them."""
    return np.einsum("vqh,q->hv", deciles, from_deciles([NORMAL.inv_cdf(level)])[0])


def refuse_unusable(series: Series, horizon: int) -> None:
    """Raise InputError for a series without values, a value that is too large, or a horizon that is too long."""
    expect_integer("horizon", horizon, 1, LONGEST_HORIZON["finetune"])
    empty = np.isnan(series.values).all(axis=0)
    if empty.any():
        raise InputError(f"{series.variable(int(empty.argmax()))}: no value, expected numbers: leave it out")
    for row, column in np.argwhere(np.abs(series.values) > LARGEST)[:1]:
        raise InputError(f"{series.place(row, column)}: {series.values[row, column]:g}, expected at most {LARGEST:g}")


def warn_of_unhelpful(series: Series, used: np.ndarray) -> None:
    """Warn of series whose forecast the known columns didn't improve in the backtest."""
    if not used.all():
        named = some([series.variable(int(column)) for column in np.flatnonzero(~used)])
        said = f"{named}: forecast without the known columns, which didn't lower the loss on the last rows"
        warnings.warn(said, InputWarning, stacklevel=3)


def warn_of_little(series: Series) -> None:
    """Warn of series with very few values and of constant ones."""
    known = (~np.isnan(series.values)).sum(axis=0)
    few = np.flatnonzero(known < FEW)
    if len(few):
        found = [f"{series.variable(i)} has {counted(known[i], 'value')}" for i in few[:MOST_NAMED]]
        useful = f"expected at least {FEW} for a useful forecast"
        warnings.warn(SeriesWarning(found, len(few), useful), stacklevel=3)
    highest, lowest = np.nanmax(series.values, axis=0), np.nanmin(series.values, axis=0)
    constant = np.flatnonzero(highest == lowest)
    if len(constant):
        found = [f"{series.variable(i)} is {highest[i]:g} at every date" for i in constant[:MOST_NAMED]]
        repeated = f"the forecast repeats the value, and intervals assume a std of {GUESS:.0%} of it"
        warnings.warn(SeriesWarning(found, len(constant), repeated), stacklevel=3)
