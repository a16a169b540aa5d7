"""Forecasts of each series alone: by the packaged network, or by one that was loaded or fine-tuned."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ...data.series.frames import Layout
from ...data.series.frequency import Frequency
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
