"""Backtests of fitted forecasters on the rows that `fit` held out."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...data.series.frequency import Frequency
from ...data.series.tables import Series
from ...data.series.windows import Scaling
from ...errors import InputError
from ...models.ffnet_ts.zero import FFNetTSZero
from .backtest import Backtest, backtest
from .fine_tuning import CONTEXT
from .fitted import Fitted, Tuned
from .zero_shot import MedianForecast, packaged_network, seasons_of


def backtest_fitted(
    fitted: Fitted,
    forecast: Callable[[Tensor], Tensor],
    *,
    lookback: int,
    horizon: int,
    season: int,
    device: torch.device,
    max_windows: int,
) -> Backtest:
    """The backtest of a network that forecasts the series together, with its intervals."""
    table, scaling = fitted.table, fitted.scaling
    return backtest(
        scaling.apply(table.series.values),
        forecast,
        zero_shot=median_forecast(packaged_network(), table.series, horizon, device),
        measured=scaling.apply(table.measured.values),
        names=fitted.names,
        std=scaling.std,
        start=table.borders[1],
        lookback=lookback,
        horizon=horizon,
        season=season,
        quantiles=fitted.quantiles,
        max_windows=max_windows,
    )


def backtest_tuned(tuned: Tuned, *, horizon: int, device: torch.device, max_windows: int) -> Backtest:
    """The backtest of the fine-tuned network, without intervals: it forecasts quantiles, not margins."""
    series = tuned.series
    if len(series) - tuned.borders[1] < horizon:
        needed = f"at least {3 * horizon} for a backtest, three horizons"
        raise InputError(f"table of {len(series)} dates, expected {needed}")
    scaling = Scaling.of_measured(series.values[: tuned.borders[0]])
    values = scaling.apply(series.values)
    return backtest(
        values,
        median_forecast(tuned.result.network, series, horizon, device),
        zero_shot=median_forecast(packaged_network(), series, horizon, device),
        measured=values,
        names=series.names,
        std=scaling.std,
        start=tuned.borders[1],
        lookback=CONTEXT,
        horizon=horizon,
        season=Frequency.of(series).season,
        quantiles={},
        max_windows=max_windows,
    )


def median_forecast(network: FFNetTSZero, series: Series, horizon: int, device: torch.device) -> MedianForecast:
    """The median forecast of each series alone, with the table's seasons."""
    seasons = seasons_of(Frequency.of(series), series.times[-1])
    return MedianForecast(network, horizon, seasons, device=device)
