"""Forecasts of the series of a table together, by a network that was trained on that table."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ...data.series.frames import Layout, last_window, same_variables, write_frame
from ...data.series.frequency import Frequency
from ...data.series.missing import warn_of_sentinels
from ...data.series.tables import Series
from ...errors import InputError
from ..predictor import Network
from .backtest import Backtest
from .fitted import Fitted
from .fitted_backtest import backtest_fitted
from .options import Wanted
from .saved import write_fitted


class ForecastWindows(Protocol):
    """(N, lookback, variables) in units of std -> (N, horizon, variables), by this network or the forecaster's."""

    def __call__(self, windows: Tensor, *, network: Network | None = None) -> Tensor: ...


@dataclass(frozen=True)
class Together:
    """A way to forecast: the series of one table together, from their last `lookback` steps.

    fitted: everything that it needs besides the network; model, model_args: name and keywords of the network.
    """

    network: Network
    fitted: Fitted
    lookback: int
    model: str
    model_args: Mapping[str, Any]
    forecast_windows: ForecastWindows

    tuned = None
    """Nothing was fine-tuned."""

    @property
    def column(self) -> str:
        """The forecast's column in a long table."""
        return self.model

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the series."""
        return self.fitted.names

    def history(self) -> tuple[Series, Layout]:
        """The table of `fit`; raises InputError after `load`."""
        return self.fitted.history()

    def frequency_of(self, series: Series) -> Frequency:
        """The frequency of `fit`, or of the dates; raises InputError that names the first row that breaks it."""
        frequency = self.fitted.frequency or Frequency.of(series)
        frequency.check(series.rows(-self.lookback))
        return frequency

    def forecast(self, series: Series, layout: Layout, wanted: Wanted) -> Any:
        """The forecast of a table that was read, in its layout."""
        fitted = self.fitted
        series = same_variables(series, fitted.names)
        frequency = self.frequency_of(series)
        window = last_window(series, self.lookback)
        warn_of_sentinels(window)
        forecast = fitted.scaling.invert(self.forecast_windows(fitted.scaling.apply(window.values)[None])[0])
        columns = fitted.columns(forecast, positive=wanted.positive)
        times = frequency.after(window.times[-1], wanted.horizon)
        return write_frame(times, columns, fitted.names, layout, model=self.model)

    def example(self) -> Tensor:
        """A window of noise."""
        return torch.randn(1, self.lookback, len(self.names), generator=torch.Generator().manual_seed(0))

    def backtest(self, wanted: Wanted, max_windows: int) -> Backtest:
        """The errors on the last rows of the table of `fit`, of the network before it saw them."""
        table = self.fitted.table
        if table is None:
            raise InputError("backtest needs a fitted table: call fit() first")
        return backtest_fitted(
            self.fitted,
            partial(self.forecast_windows, network=table.network),
            lookback=self.lookback,
            horizon=wanted.horizon,
            season=self.frequency_of(table.series).season,
            device=wanted.device,
            max_windows=max_windows,
        )

    def write(self, path: str | Path, wanted: Wanted) -> None:
        """Write the network and everything that prediction needs."""
        args = {"lookback": self.lookback, "horizon": wanted.horizon, **self.model_args}
        asked = {"positive": bool(wanted.positive), "fill_gaps": bool(wanted.fill_gaps)}
        write_fitted(path, self.network, self.fitted, model=self.model, model_args=args, **asked)
