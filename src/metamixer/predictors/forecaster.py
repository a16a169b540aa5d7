"""A forecaster with the usual interface of forecasting tools: a table in, a table of forecasts out."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoints.ours import network_info, save_network
from ..data.series.frames import (
    Layout,
    bounds_of,
    last_window,
    read_frame,
    refuse_constant,
    refuse_names_of_bounds,
    same_variables,
    write_frame,
)
from ..data.series.frequency import Frequency
from ..data.series.gaps import fill_gaps as add_missing_rows
from ..data.series.given import NamedTable, tables_of
from ..data.series.missing import fill_missing, refuse_unmeasured, warn_of_missing, warn_of_sentinels
from ..data.series.tables import Series
from ..data.series.windows import Scaling, SeriesData
from ..errors import InputError, InputWarning
from ..models.ffnet_ts.zero import FFNetTSZero
from ..models.tasks import FORECASTING, ZERO_SHOT
from ..system.device import find_device
from .backtest import Backtest, backtest
from .fine_tuning import CONTEXT, FineTuned, FineTuning, fine_tune
from .fitted import Fitted, Table, Tuned, find_way
from .forecast import Forecast
from .intervals import interval_margins
from .kept_forecaster import read_alone, read_kept
from .predictor import Network, Predictor
from .scratch import ONE_AT_A_TIME, Training, train_network
from .zero_shot import PACKAGED, MedianForecast, forecast_series, packaged_network, refuse_unusable, seasons_of

PARTS = (0.8, 0.1, 0.1)
"""Fractions of the rows for training, for validation and calibration, and for the backtest."""


class Forecaster(Predictor):
    """Forecasts tables, zero-shot by `Forecaster(horizon=12).predict(table)` or fitted by `.fit(table).predict()`.

    Without `fit`, the packaged network forecasts each series alone (`zero_shot_forecast`), with any length, horizon and
    missing values. `fit` fine-tunes that network, and keeps the result if validation improves. With `train="scratch"`
    it trains a new network, which forecasts the series together from `lookback` steps: missing values are then filled
    in `fit`, with a warning (`fill_missing`), and refused in `predict`.

    A table is a pandas or polars DataFrame, wide (a date column and one column per series) or long (`unique_id`, `ds`,
    `y`).

    Args:
        horizon: steps to forecast; None: by the first table's frequency (`Frequency.default_horizon`).
        train: "finetune" or "scratch"; None: scratch if one of its options is given, else finetune.
        lookback, model, model_args, training: of scratch: steps of input (96), the network, its training.
        fine_tuning: of finetune: the hyperparameters.
        levels: coverage in percent of the prediction intervals, such as (80, 95).
        quantiles: quantiles to add, such as (0.1, 0.9); not with scratch.
        time: the date column of a wide table; None: the one named date, ds, time, timestamp or datetime.
        seed: random seed; the same table and seed give the same forecast on the same machine.
        device: the device to compute on, such as "cpu" or "cuda".
        positive: clip forecasts and bounds at zero.
        fill_gaps: add missing rows to a table, with a warning, instead of refusing it.
    """

    task = FORECASTING.name
    device = torch.device("cpu")
    """The device, also for training; set before there is a network."""

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
    ):
        asked = {"lookback": lookback, "model": model, "model_args": model_args, "training": training}
        self.train = find_way(train, [name for name, value in asked.items() if value is not None], quantiles)
        lookback, model, training = 96 if lookback is None else lookback, model or "ffnet_ts", training or Training()
        lengths = (lookback,) if horizon is None else (horizon, lookback)
        if not all(isinstance(steps, Integral) and steps >= 1 for steps in lengths):
            raise InputError(f"horizon {horizon}, lookback {lookback}, expected integers, at least 1 each")
        listed = tuple(levels) if isinstance(levels, Iterable) else None
        if listed is None or not all(isinstance(level, Real) and 1 <= level < 100 for level in listed):
            raise InputError(f"levels {levels!r}, expected percentages of at least 1 and below 100, such as (80, 95)")
        if len({bounds_of(level) for level in listed}) < len(listed):
            raise InputError(f"levels {levels!r}, expected distinct levels with at most six digits")
        if not isinstance(seed, Integral) or not 0 <= seed < 2**32:
            raise InputError(f"seed {seed!r}, expected an integer from 0 to {2**32 - 1}")
        if not all(isinstance(level, Real) and 0 < level < 1 for level in quantiles):
            raise InputError(f"quantiles {quantiles!r}, expected numbers between 0 and 1, such as (0.1, 0.9)")
        self._horizon, self.lookback, self.levels = horizon and int(horizon), int(lookback), listed
        self.extra_quantiles = tuple(quantiles)
        self.time = time
        self.model = model
        self.model_args = {"drop_rate": 0.3, **(model_args or {})} if model == "ffnet_ts" else dict(model_args or {})
        self.training, self.fine_tuning = training, fine_tuning
        self.positive, self.fill_gaps = positive, fill_gaps
        self.seed = seed
        self.device = find_device(device)
        self.network: Network | None = None
        self._state: Fitted | None = None
        self._tuned: Tuned | None = None

    @property
    def horizon(self) -> int:
        """The number of steps; raises InputError if it follows from a table that there isn't yet."""
        if self._horizon is None:
            raise InputError("no horizon yet: it follows from the first table, or give Forecaster(horizon=...)")
        return self._horizon

    @property
    def fitted(self) -> Fitted:
        """The state after `fit` or `load`; raises InputError before."""
        if self._state is None:
            raise InputError("not fitted: call fit() or load() first, or pass a table to predict()")
        return self._state

    @property
    def column(self) -> str:
        """The forecast's column in a long table: the network's name."""
        return self.model if self._state else PACKAGED

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the series."""
        return self._tuned.series.names if self._tuned else self.fitted.names

    @property
    def tuned(self) -> FineTuned | None:
        """The losses of fine-tuning and whether it was kept; None without fine-tuning."""
        return self._tuned.result if self._tuned else None

    @property
    def quantiles(self) -> Mapping[float, list]:
        """The intervals' margins (horizon, series) in units of std, by level in percent."""
        return self.fitted.quantiles

    def fit(self, table: Any) -> "Forecaster":
        """Train on a table, except its last rows, which are held out for `backtest`."""
        measured, layout = self.read_history(table)
        if not layout.long:
            refuse_names_of_bounds(measured.names, self.levels)
        return {"finetune": self._fine_tune, "scratch": self._train}[self.train](measured, layout)

    def _fine_tune(self, measured: Series, layout: Layout) -> "Forecaster":
        """Fine-tune the packaged network, or the one that was loaded, on each series alone."""
        refuse_unusable(measured, self.horizon)
        rows, seasons = len(measured), seasons_of(Frequency.of(measured), measured.times[-1])
        held = [min(max(int(rows * part), self.horizon), rows // 3) for part in PARTS[1:]]
        borders = (rows - sum(held), rows - held[1], rows)
        with ONE_AT_A_TIME:
            result = fine_tune(
                self.network or packaged_network(),
                measured.values,
                self.horizon,
                borders=borders[:2],
                seasons=seasons,
                settings=self.fine_tuning,
                seed=self.seed,
                device=self.device,
            )
        if math.isnan(result.before):
            warnings.warn(
                f"table of {rows} dates: too few to fine-tune on; the forecast is that of the packaged network",
                InputWarning,
                stacklevel=3,
            )
        self.network, self._tuned, self._state = result.network, Tuned(result, measured, layout, borders), None
        return self

    def _train(self, measured: Series, layout: Layout) -> "Forecaster":
        """Train a network from scratch on all series together."""
        frequency = Frequency.of(measured)
        split = self._split(len(measured))
        series = fill_missing(measured, learned=split[0])
        refuse_constant(series.rows(0, split[0]))
        refuse_unmeasured(measured.rows(split[0], sum(split[:2])))
        warn_of_missing(measured)
        warn_of_sentinels(measured)
        data = SeriesData.of(
            series,
            measured=measured,
            lookback=self.lookback,
            horizon=self.horizon,
            split=split,
            batch_size=self.training.batch_size,
            max_val_windows=self.training.max_windows,
            seed=self.seed,
        )
        network = train_network(
            data, self.training, model=self.model, model_args=self.model_args, seed=self.seed, device=self.device
        )
        self.hold(network)
        self.network.to(self.device)
        quantiles = interval_margins(self._validation_errors(data), self.levels, series.names) if self.levels else {}
        table = Table(series, measured, data.borders)
        self._state = Fitted(series.names, data.scaling, layout, quantiles, frequency, table)
        return self

    def predict(self, table: Any = None) -> Any:
        """Forecast the next `horizon` steps after a table, by default that of `fit`, as a table of the same layout.

        With levels there are also columns that end in -lo-80, -hi-80 and so on. Raises InputError that names the
        column and row of invalid input.
        """
        if self._state is None and (table is not None or self._tuned):
            return self._predict_alone(table)
        fitted = self.fitted
        series, layout = self._history(table)
        frequency = self.frequency_of(series)
        window = last_window(series, self.lookback)
        warn_of_sentinels(window)
        forecast = fitted.scaling.invert(self.forecast_windows(fitted.scaling.apply(window.values)[None])[0])
        columns = {"": forecast}
        for level, quantile in fitted.quantiles.items():
            margin = np.array(quantile) * np.array(fitted.scaling.std)
            columns |= dict(zip(bounds_of(level), (forecast - margin, forecast + margin), strict=True))
        if self.positive:
            columns = {suffix: np.maximum(values, 0) for suffix, values in columns.items()}
        times = frequency.after(window.times[-1], self.horizon)
        return write_frame(times, columns, fitted.names, layout, model=self.model)

    def _predict_alone(self, table: Any) -> Any:
        """The forecast of each series alone by the packaged network, or by the one that was loaded or fine-tuned."""
        given = (self._tuned.series, self._tuned.layout) if table is None else self.read_history(table)
        return forecast_series(
            *given,
            self.horizon,
            levels=self.levels,
            quantiles=self.extra_quantiles,
            positive=self.positive,
            device=str(self.device),
            network=self.network,
        )

    def inputs(self, given: Any) -> Any | list[Any]:
        return tables_of(given)

    def result(self, table: NamedTable) -> Forecast:
        """The forecast of a table together with its history, for drawing."""
        return Forecast(self.predict(table.frame), table=table.frame, forecaster=self, source=table.name)

    def backtest(self) -> Backtest:
        """Compare the errors on the held-out rows of `fit` with those of zero-shot and seasonal-naive forecasts."""
        if self._tuned:
            return self._backtest_tuned(self._tuned)
        fitted = self._state
        if fitted is None or fitted.table is None:
            raise InputError("backtest needs a fitted table: call fit() first")
        table, scaling, frequency = fitted.table, fitted.scaling, self.frequency_of(fitted.table.series)
        return backtest(
            scaling.apply(table.series.values),
            self.forecast_windows,
            zero_shot=self._median_forecast(packaged_network(), table.series),
            measured=scaling.apply(table.measured.values),
            names=fitted.names,
            std=scaling.std,
            start=table.borders[1],
            lookback=self.lookback,
            horizon=self.horizon,
            season=frequency.season,
            quantiles=fitted.quantiles,
            max_windows=self.training.max_windows,
        )

    def _backtest_tuned(self, tuned: Tuned) -> Backtest:
        """The backtest of the fine-tuned network, without intervals: it forecasts quantiles, not margins."""
        series = tuned.series
        scaling = Scaling.of(series.values[: tuned.borders[0]])
        values = scaling.apply(series.values)
        return backtest(
            values,
            self._median_forecast(tuned.result.network, series),
            zero_shot=self._median_forecast(packaged_network(), series),
            measured=values,
            names=series.names,
            std=scaling.std,
            start=tuned.borders[1],
            lookback=CONTEXT,
            horizon=self.horizon,
            season=Frequency.of(series).season,
            quantiles={},
            max_windows=self.training.max_windows,
        )

    def _median_forecast(self, network: FFNetTSZero, series: Series) -> MedianForecast:
        seasons = seasons_of(Frequency.of(series), series.times[-1])
        return MedianForecast(network, self.horizon, seasons, device=self.device)

    def frequency_of(self, series: Series) -> Frequency:
        """The frequency of `fit`, or of the series; raises InputError that names the first row that breaks it."""
        frequency = (self._state.frequency if self._state else None) or Frequency.of(series)
        frequency.check(series.rows(-self.lookback))
        return frequency

    def to(self, device: str) -> None:
        self.device = find_device(device)
        if self.network is not None:
            super().to(device)

    def example(self) -> Tensor:
        """A window of noise."""
        return torch.randn(1, self.lookback, len(self.names), generator=torch.Generator().manual_seed(0))

    @torch.inference_mode()
    def forecast_windows(self, windows: Tensor, batch_size: int = 256) -> Tensor:
        """windows: (N, lookback, variables) in units of std -> (N, horizon, variables); the batch bounds memory."""
        with self.computing():
            return torch.cat([self.run(batch.to(self.device)).float().cpu() for batch in windows.split(batch_size)])

    def save(self, path: str | Path) -> None:
        """Write everything that prediction needs to one .safetensors file."""
        if Path(path).suffix != ".safetensors":
            raise InputError(f"{path}: expected a name that ends in .safetensors")
        if self._state is None and isinstance(self.network, FFNetTSZero):
            self._save_alone(path)
            return
        fitted = self.fitted
        if not isinstance(self.network, nn.Module):
            raise InputError(
                f"{path}: the forecaster is from an exported file, expected one from a checkpoint: an exported "
                "file has no weights to save"
            )
        preprocessing = {
            "names": list(fitted.names),
            "time": fitted.layout.time,
            "scaling": asdict(fitted.scaling),
            "layout": asdict(fitted.layout),
            "quantiles": {f"{level:g}": quantile for level, quantile in fitted.quantiles.items()},
        }
        if fitted.frequency is not None:
            preprocessing["frequency"] = fitted.frequency.name
        args = {"variables": len(fitted.names), "lookback": self.lookback, "horizon": self.horizon, **self.model_args}
        info = network_info(self.model, args, task=FORECASTING.name, preprocessing=preprocessing)
        save_network(self.network, {**info, "fused": True}, path)

    def _save_alone(self, path: str | Path) -> None:
        """Write a network that forecasts each series alone, and the settings of the forecast."""
        wanted = {"horizon": self.horizon, "levels": list(self.levels), "time": self.time}
        info = network_info(PACKAGED, self.network.settings, task=ZERO_SHOT.name, preprocessing=wanted)
        save_network(self.network, info, path)

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
        **settings,
    ) -> Self:
        if info["task"] == ZERO_SHOT.name:
            wanted = {**read_alone(info), **settings}
            return cls._of_alone(network, wanted, horizon=horizon, lookback=lookback)
        if settings:
            raise InputError(f"{next(iter(settings))}, expected none: the forecaster was trained with its own")
        preprocessing, args = read_kept(info)
        for what, wanted in (("horizon", horizon), ("lookback", lookback)):
            if wanted not in (None, args[what]):
                raise InputError(f"{what} {wanted}, expected {args[what]}, the network's")
        horizon, lookback, names = args.pop("horizon"), args.pop("lookback"), preprocessing["names"]
        args.pop("variables")
        quantiles = {float(level): values for level, values in preprocessing.get("quantiles", {}).items()}
        forecaster = cls(horizon, lookback=lookback, levels=tuple(quantiles), model=info["model"], model_args=args)
        forecaster.hold(network)
        layout = Layout(**preprocessing.get("layout", {"time": preprocessing["time"]}))
        forecaster.time = None if layout.long else layout.time
        forecaster._state = Fitted(
            tuple(names),
            Scaling(**{key: tuple(values) for key, values in preprocessing["scaling"].items()}),
            layout,
            quantiles,
            Frequency(preprocessing["frequency"]) if "frequency" in preprocessing else None,
        )
        return forecaster

    @classmethod
    def _of_alone(
        cls, network: Network, wanted: Mapping[str, Any], *, horizon: int | None, lookback: int | None
    ) -> Self:
        if lookback is not None:
            raise InputError(f"lookback {lookback}, expected none: this network uses the whole past of a series")
        settings = {key: value for key, value in wanted.items() if key != "horizon"}
        forecaster = cls(horizon or wanted.get("horizon"), **settings)
        forecaster.network = forecaster.run = network
        return forecaster

    def read_history(self, table: Any) -> tuple[Series, Layout]:
        """The series of a table, with missing rows added, and its layout; decides the horizon if nothing else has."""
        series, layout = read_frame(table, time=self.time)
        series = add_missing_rows(series) if self.fill_gaps else series
        if self._horizon is None:
            self._horizon = Frequency.of(series).default_horizon(len(series))
        return series, layout

    def _history(self, table: Any) -> tuple[Series, Layout]:
        fitted = self.fitted
        if table is not None:
            series, layout = self.read_history(table)
            return same_variables(series, fitted.names), layout
        if fitted.table is None:
            raise InputError("predict() needs a table: only a forecaster fitted in this process has the last rows")
        return fitted.table.series, fitted.layout

    def _split(self, rows: int) -> tuple[int, int, int]:
        """Rows of each part; validation and backtest have at least one window's future."""
        needed = self.lookback + 3 * self.horizon
        if rows < needed:
            raise InputError(
                f"table of {rows} dates, expected at least {needed}: lookback {self.lookback} + horizon "
                f"{self.horizon} for training, and another horizon each for validation and backtest"
            )
        most = (rows - self.lookback - self.horizon) // 2
        held = [min(max(int(rows * share), self.horizon), most) for share in PARTS[1:]]
        return rows - sum(held), held[0], held[1]

    def _validation_errors(self, data: SeriesData) -> Tensor:
        """(N, horizon, variables) in units of std, NaN for missing values."""
        windows = data.windows("val").spread(self.training.max_windows)
        return (self.forecast_windows(windows.past) - windows.future).abs()
