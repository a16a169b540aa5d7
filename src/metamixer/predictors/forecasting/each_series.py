"""Forecasts of each series alone: by the packaged network, or by one that was loaded or fine-tuned."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from ...data.series.frames import Layout
from ...data.series.frequency import Frequency
from ...data.series.gaps import is_regular
from ...data.series.splits import LOOKBACK
from ...data.series.tables import Series
from ...errors import InputError
from ..predictor import Network
from .backtest import Backtest
from .fine_tuning import FineTuned
from .fitted import Fitted, Tuned
from .fitted_backtest import backtest_tuned
from .known_columns import history_of, known_values
from .options import Wanted
from .saved import write_alone
from .zero_shot import PACKAGED, forecast_series

NOT_FITTED = "not fitted: call fit() or load() first, or pass a table to predict()"


@dataclass(frozen=True)
class Alone:
    """A way to forecast: each series alone, with any length and missing values.

    network: None: the packaged one; table: that of fine-tuning, with its result.
    """

    network: Network | None = None
    table: Tuned | None = None

    column: ClassVar[str] = PACKAGED
    """The forecast's column in a long table."""

    @property
    def fitted(self) -> Fitted:
        """Raises InputError: nothing was trained from scratch."""
        raise InputError(NOT_FITTED)

    @property
    def tuned(self) -> FineTuned | None:
        """The losses of fine-tuning and whether it was kept."""
        return self.table and self.table.result

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the series; raises InputError before fine-tuning."""
        return self.history()[0].names

    def history(self) -> tuple[Series, Layout]:
        """The table of fine-tuning; raises InputError before."""
        if self.table is None:
            raise InputError(NOT_FITTED)
        return self.table.series, self.table.layout

    def frequency_of(self, series: Series) -> Frequency:
        """The frequency of the dates; raises InputError that names the first of the last rows that breaks it."""
        frequency = Frequency.of(series)
        frequency.check(series.rows(-LOOKBACK))
        return frequency

    def forecast(self, series: Series, layout: Layout, wanted: Wanted) -> Any:
        """The forecast of a table that was read, in its layout; the known columns are among the series."""
        history = history_of(series, wanted.known)
        known = known_values(series, wanted.known, len(history), wanted.horizon) if wanted.known else None
        return forecast_series(
            history,
            layout,
            wanted.horizon,
            known=known,
            levels=wanted.levels,
            quantiles=wanted.quantiles,
            positive=wanted.positive,
            device=str(wanted.device),
            network=self.network,
        )

    def accepts(self, series: Series, wanted: Wanted) -> bool:
        """Whether it can forecast them: regular dates, a value of each series, and all of the known future."""
        history = history_of(series, wanted.known)
        future = series.values[len(history) :, np.isin(series.names, wanted.known)]
        measured = np.isfinite(history.values).any(axis=0).all()
        return bool(is_regular(history) and measured and np.isfinite(future).all())

    def before(self, time: np.datetime64) -> Self | None:
        """The same with a network that wasn't trained on rows from a time on; None without one."""
        if self.table is None:
            return self if self.network is None else None
        return replace(self, network=self.table.result.network) if time >= self.table.held_out else None

    def example(self) -> None:
        """None: the network takes several tensors."""
        return

    def backtest(self, wanted: Wanted, max_windows: int) -> Backtest:
        """The errors on the last rows of the table of fine-tuning."""
        if self.table is None:
            raise InputError("backtest needs a fitted table: call fit() first")
        return backtest_tuned(self.table, horizon=wanted.horizon, device=wanted.device, max_windows=max_windows)

    def write(self, path: str | Path, wanted: Wanted) -> None:
        """Write the network and what was asked of it."""
        kept = {
            "horizon": wanted.horizon,
            "levels": list(map(float, wanted.levels)),
            "quantiles": list(map(float, wanted.quantiles)),
            "positive": bool(wanted.positive),
            "fill_gaps": bool(wanted.fill_gaps),
            "time": wanted.time,
        }
        write_alone(path, self.network, kept, model=PACKAGED)
