"""What a forecaster keeps of the table that it was fitted on."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from ...data.series.frames import Layout, bounds_of
from ...data.series.frequency import Frequency
from ...data.series.tables import Series
from ...data.series.windows import Scaling
from ...errors import InputError
from ...models.ffnet_ts.zero import FFNetTSZero
from .fine_tuning import FineTuned


@dataclass(frozen=True)
class Table:
    """The table that a forecaster was fitted on.

    series: without gaps; measured: the same with NaN for missing values; borders: the end rows of the training,
    validation and backtest parts; network: trained without the backtest's rows.
    """

    series: Series
    measured: Series
    borders: tuple[int, int, int]
    network: nn.Module


@dataclass(frozen=True)
class Fitted:
    """Everything that prediction needs besides the network.

    names: of the series, in the network's order; quantiles: margins (horizon, series) of each level in percent;
    frequency: None for a network of a training run, which uses each table's; table: None after `load`.
    """

    names: tuple[str, ...]
    scaling: Scaling
    layout: Layout
    quantiles: Mapping[float, list]
    frequency: Frequency | None = None
    table: Table | None = None

    def history(self) -> tuple[Series, Layout]:
        """The table of `fit`; raises InputError after `load`."""
        if self.table is None:
            raise InputError("predict() needs a table: only a forecaster fitted in this process has the last rows")
        return self.table.series, self.layout

    def columns(self, forecast: np.ndarray, *, positive: bool) -> dict[str, np.ndarray]:
        """Suffix -> (horizon, series): the forecast and the bounds of its intervals; positive: clip at zero."""
        columns = {"": forecast}
        for level, quantile in self.quantiles.items():
            margin = np.array(quantile) * np.array(self.scaling.std)
            columns |= dict(zip(bounds_of(level), (forecast - margin, forecast + margin), strict=True))
        return {suffix: np.maximum(values, 0) for suffix, values in columns.items()} if positive else columns


@dataclass(frozen=True)
class Tuned:
    """The result of fine-tuning and the table it was done on.

    network: trained on every row if fine-tuning helped, for forecasts; borders: as in `Table`.
    """

    result: FineTuned
    network: FFNetTSZero
    series: Series
    layout: Layout
    borders: tuple[int, int, int]
