"""A forecaster that one loads, with no training: the network of the package, or another of its kind."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from ..models.ffnet_ts.zero import FFNetTSZero
from ..models.tasks import ZERO_SHOT
from .forecaster import Forecaster
from .predictor import Network
from .zero_shot import zero_shot_forecast


class ZeroShotForecaster(Forecaster):
    """Forecasts each series of a table at once: `ZeroShotForecaster.load("ffnet_ts_zero", horizon=12)("sales.csv")`.

    horizon, levels, time, positive: as a `Forecaster` has them; `fit` learns from a table as there.
    """

    task = ZERO_SHOT.name

    @classmethod
    def of(
        cls,
        network: Network,
        info: Mapping[str, Any],
        *,
        horizon: int = 96,
        levels: Sequence[float] = (),
        time: str | None = None,
        positive: bool = False,
    ) -> Self:
        forecaster = cls(horizon, levels=levels, time=time, positive=positive)
        forecaster.hold(network)
        return forecaster

    def predict(self, table: Any = None) -> Any:
        if self._state is not None or table is None:
            return super().predict(table)
        return zero_shot_forecast(
            table,
            self.horizon,
            levels=self.levels,
            time=self.time,
            positive=self.positive,
            device=str(self.device),
            network=self.network if isinstance(self.network, FFNetTSZero) else None,
        )
