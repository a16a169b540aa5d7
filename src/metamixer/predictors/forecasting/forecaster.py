"""A forecaster with the usual interface of forecasting tools: a table in, a table of forecasts out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from ...data.series.frames import Layout, read_frame, refuse_names_of_bounds
from ...data.series.frequency import Frequency
from ...data.series.gaps import fill_gaps as add_missing_rows
from ...data.series.given import NamedTable, tables_of
from ...data.series.splits import LOOKBACK, lookback_for
from ...data.series.tables import Series
from ...errors import InputError, at_least
from ...models.tasks import FORECASTING, ZERO_SHOT
from ...system.device import find_device
from ..predictor import Network, Predictor
from .all_series import Together
from .backtest import Backtest
from .each_series import NOT_FITTED, Alone
from .fine_tuning import FineTuned, FineTuning
from .fitted import Fitted
from .forecast import Forecast
from .known_columns import history_of, horizon_of
from .options import Training, Wanted, expect_levels, expect_names, expect_options, find_way
from .saved import read_alone, read_together, refuse_exported
from .streaming import stream_forecasts
from .table_tuning import tune
from .zero_shot import packaged_network


class Forecaster(Predictor):
    """Forecasts tables, zero-shot by `Forecaster(horizon=12).predict(table)` or fitted by `.fit(table).predict()`.

    Without `fit`, the packaged network forecasts each series alone, with any length, horizon and missing values. `fit`
    fine-tunes that network, and keeps the result if validation improves. With `train="scratch"` it trains a new
    network, which forecasts the series together from `lookback` steps: missing values are then filled in `fit`, with a
    warning (`fill_missing`), and refused in `predict`.

    A table is a pandas or polars DataFrame, wide (a date column and one column per series) or long (`unique_id`, `ds`,
    `y`).

    Args:
        horizon: steps to forecast; None: by the first table's frequency (`Frequency.default_horizon`).
        train: "finetune" or "scratch"; None: scratch if one of its options is given, else finetune.
        lookback, model, model_args, training: of scratch: steps of input (by the table), the network, its training.
        fine_tuning: of finetune: the hyperparameters.
        levels: coverage in percent of the prediction intervals, such as (80, 95).
        quantiles: quantiles to add, such as (0.1, 0.9); not with scratch.
        time: the date column of a wide table; None: the one named date, ds, time, timestamp or datetime.
        seed: random seed; the same table and seed give the same forecast on the same machine.
        device: the device to compute on, such as "cpu" or "cuda".
        positive: clip forecasts and bounds at zero.
        fill_gaps: add missing rows to a table, with a warning, instead of refusing it.
        known: columns of a wide table that are known in the future, whose rows after the last value of the others hold
            their values there; not with `fit`.
    """

    task = FORECASTING.name

    def __init__(
        self,
        horizon: int | None = None,
        *,
        lookback: int | None = None,
        levels: Sequence[float] = (),
        quantiles: Sequence[float] = (),
        time: str | None = None,
        train: Literal["finetune", "scratch"] | None = None,
        model: str | None = None,
        model_args: dict[str, Any] | None = None,
        training: Training | None = None,
        fine_tuning: FineTuning = FineTuning(),
        seed: int = 0,
        device: str = "cpu",
        positive: bool = False,
        fill_gaps: bool = True,
        known: Sequence[str] = (),
    ):
        scratch = {"lookback": lookback, "model": model, "model_args": model_args, "training": training}
        self.train = find_way(train, scratch, quantiles)
        self.follows_table, lookback = lookback is None, LOOKBACK if lookback is None else lookback
        model, training = model or "ffnet_ts", training or Training()
        expect_options(way=self.train, horizon=horizon, lookback=lookback, seed=seed, quantiles=quantiles)
        self._horizon, self.lookback = horizon and int(horizon), int(lookback)
        self.levels = expect_levels(levels)
        self.extra_quantiles = tuple(quantiles)
        self.time, self.model = time, model
        self.model_args = {"drop_rate": 0.3, **(model_args or {})} if model == "ffnet_ts" else dict(model_args or {})
        self.training, self.fine_tuning = training, fine_tuning
        self.positive, self.fill_gaps, self.seed = positive, fill_gaps, seed
        self.known = expect_names(known)
        self._device = find_device(device)
        self.network: Network | None = None
        self.loaded: Network | None = None  # where each fit starts; None: from the packaged network
        self.way: Alone | Together = Alone()

    @property
    def horizon(self) -> int:
        """The number of steps; raises InputError if it follows from a table that there isn't yet."""
        if self._horizon is None:
            raise InputError("no horizon yet: it follows from the first table, or give Forecaster(horizon=...)")
        return self._horizon

    @property
    def wanted(self) -> Wanted:
        """What is asked of a forecast."""
        return Wanted(
            self.horizon,
            self.levels,
            self.extra_quantiles,
            self.positive,
            self.known,
            self.time,
            self.device,
            self.fill_gaps,
        )

    @property
    def fitted(self) -> Fitted:
        """The state after training from scratch, or after `load`; raises InputError before."""
        return self.way.fitted

    @property
    def column(self) -> str:
        """The forecast's column in a long table: the network's name."""
        return self.way.column

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the series."""
        return self.way.names

    @property
    def tuned(self) -> FineTuned | None:
        """The losses of fine-tuning and whether it was kept; None without fine-tuning."""
        return self.way.tuned

    @property
    def quantiles(self) -> Mapping[float, list]:
        """The intervals' margins (horizon, series) in units of std, by level in percent."""
        return self.fitted.quantiles

    def fit(self, table: Any) -> "Forecaster":
        """Train on a table: without its last rows first, for `backtest`, then on all rows, for forecasts."""
        if self.known:
            raise InputError(f"known {self.known[0]!r} with training, expected none: call predict(table) without fit()")
        measured, layout = self.read_history(table)
        if not layout.long:
            refuse_names_of_bounds(measured.names, self.levels)
        {"finetune": self._fine_tune, "scratch": self._train}[self.train](measured, layout)
        return self

    def _fine_tune(self, measured: Series, layout: Layout) -> None:
        """Fine-tune the packaged network, or the one that was loaded, on each series alone."""
        how = {"horizon": self.horizon, "settings": self.fine_tuning, "seed": self.seed, "device": self.device}
        tuned = tune(self.loaded or packaged_network(), measured, layout, **how)
        self.network, self.way = tuned.network, Alone(tuned.network, tuned)

    def _train(self, measured: Series, layout: Layout) -> None:
        """Train a network from scratch on all series together."""
        from .from_scratch import train_on_table  # imports Lightning

        if self.follows_table:
            self.lookback = lookback_for(len(measured), self.horizon, Frequency.of(measured).season)
        how = {"lookback": self.lookback, "horizon": self.horizon, "levels": self.levels, "seed": self.seed}
        how |= {"device": self.device, "model": self.model, "model_args": self.model_args}
        how |= {"forecast_windows": self.forecast_windows}
        self._hold_together(*train_on_table(measured, layout, self.training, **how))
        self.to(str(self.device))

    def _hold_together(self, network: Network, fitted: Fitted) -> None:
        self.hold(network)
        self.way = Together(self.network, fitted, self.lookback, self.model, self.model_args, self.forecast_windows)

    def predict(self, table: Any = None) -> Any:
        """Forecast the next `horizon` steps after a table, by default that of `fit`, as a table of the same layout.

        With levels there are also columns that end in -lo-80, -hi-80 and so on. Raises InputError that names the
        column and row of invalid input.
        """
        return self.predict_series(*(self.way.history() if table is None else self.read_series(table)))

    def predict_series(self, series: Series, layout: Layout) -> Any:
        """The same for a table that was read, its known columns among the series."""
        return self.way.forecast(series, layout, self.wanted)

    def stream(self, tables: Iterable[Any]) -> Iterator[Any]:
        """Forecast the series of long pandas tables, such as the parts of a large one, a few series at a time.

        The rows of a series are together; each series is forecast alone, after its own last date. Yields tables with a
        column `error`, in which a series that can't be forecast has its error. Each warning comes once, at the end.
        """
        if isinstance(self.way, Together):
            raise InputError("stream after training from scratch, expected the packaged or a fine-tuned network")
        return stream_forecasts(self, tables)

    def settings(self) -> dict[str, Any]:
        return {"horizon": self._horizon, "levels": self.levels}

    def inputs(self, given: Any) -> Any | list[Any]:
        return tables_of(given)

    def result(self, table: NamedTable) -> Forecast:
        """The forecast of a table together with its history, for drawing."""
        return Forecast(self.predict(table.frame), table=table.frame, forecaster=self, source=table.name)

    def backtest(self) -> Backtest:
        """Compare the errors on the last rows, of the network before it saw them, with zero-shot and seasonal-naive."""
        return self.way.backtest(self.wanted, self.training.max_windows)

    def frequency_of(self, series: Series) -> Frequency:
        """The frequency of `fit`, or of the series; raises InputError that names the first row that breaks it."""
        return self.way.frequency_of(series)

    @property
    def device(self) -> torch.device:
        """The device, also for training."""
        return self._device

    def to(self, device: str) -> None:
        self._device = find_device(device)
        if self.network is not None:
            super().to(device)

    def deploy(self, backend: str | None, precision: str = "fp32", **example) -> None:
        """As of `Predictor`; forecasting each series alone needs float32."""
        if isinstance(self.way, Alone) and precision != "fp32":
            raise InputError(f"precision {precision!r}, expected fp32, in which each series alone is forecast")
        super().deploy(backend, precision, **example)

    def example(self) -> Tensor | None:
        """A window of noise for a network of one table; the other networks take several tensors."""
        return self.way.example()

    @torch.inference_mode()
    def forecast_windows(self, windows: Tensor, batch_size: int = 256, *, network: Network | None = None) -> Tensor:
        """windows: (N, lookback, variables) in units of std -> (N, horizon, variables); the batch bounds memory.

        network: another one than that of `predict`.
        """
        at_least("batch_size", batch_size, 1)
        run = network or self.run
        with self.computing():
            return torch.cat([run(batch.to(self.device)).float().cpu() for batch in windows.split(batch_size)])

    def save(self, path: str | Path) -> None:
        """Write everything that prediction needs to one .safetensors file."""
        if Path(path).suffix != ".safetensors":
            raise InputError(f"{path}: expected a name that ends in .safetensors")
        if self.network is None:
            raise InputError(NOT_FITTED)
        self.way.write(path, self.wanted)

    @classmethod
    def load(cls, source: str | Path | None = None, *, path: str | Path | None = None, **settings) -> Self:
        """Load a forecaster written by `save`, `metamixer export` or a training run; see `Predictor.load`.

        path: alias of `source`. settings: also the expected `horizon` and `lookback`; raises InputError if the
        network's differ. The file of a training run has no intervals and takes the frequency from the table.
        """
        return super().load(path if source is None else source, **settings)

    @classmethod
    def of(
        cls,
        network: Network,
        info: Mapping[str, Any],
        *,
        horizon: int | None = None,
        lookback: int | None = None,
        levels: Sequence[float] | None = None,
        quantiles: Sequence[float] | None = None,
        time: str | None = None,
        positive: bool | None = None,
        fill_gaps: bool | None = None,
        fine_tuning: FineTuning | None = None,
        seed: int | None = None,
        known: Sequence[str] | None = None,
    ) -> Self:
        given = {"levels": levels, "quantiles": quantiles, "time": time, "positive": positive, "fill_gaps": fill_gaps}
        given |= {"fine_tuning": fine_tuning, "seed": seed, "known": known}
        given = {name: value for name, value in given.items() if value is not None}
        if info["task"] == ZERO_SHOT.name:
            refuse_exported(network)
            forecaster = cls(**read_alone(info, given, horizon=horizon, lookback=lookback))
            forecaster.network = forecaster.run = forecaster.loaded = network
            forecaster.way = Alone(network)
        else:
            fitted, settings = read_together(info, given, horizon=horizon, lookback=lookback)
            forecaster = cls(**settings)
            forecaster._hold_together(network, fitted)
        return forecaster

    def read_history(self, table: Any) -> tuple[Series, Layout]:
        """The series to forecast, with missing rows added, and the layout; decides the horizon if none is set."""
        series, layout = self.read_series(table)
        return history_of(series, self.known), layout

    def read_series(self, table: Any) -> tuple[Series, Layout]:
        """The same with the known columns and their future."""
        series, layout = read_frame(table, time=self.time)
        series = add_missing_rows(series) if self.fill_gaps else series
        self.decide_horizon(series)
        return series, layout

    def decide_horizon(self, series: Series) -> None:
        """Take the horizon from the first series, unless it is set."""
        if self._horizon is None:
            self._horizon = horizon_of(series, self.known)
