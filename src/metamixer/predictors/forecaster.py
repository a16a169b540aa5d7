"""A forecaster with the interface that users of forecasting tools know: a table in, a table of the future out."""

import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from ..checkpoints.ours import load_checkpoint, network_info, save_network
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
from ..data.series.missing import fill_missing, refuse_unmeasured, warn_of_missing, warn_of_sentinels
from ..data.series.tables import Series
from ..data.series.windows import Scaling, SeriesData
from ..errors import InputError, at_least
from ..models.tasks import FORECASTING
from ..system.device import find_device
from ..tasks import Forecasting, Optimization
from ..training.embedded import interrupts_kept, quiet_lightning, trainer_place
from .backtest import Backtest, backtest
from .intervals import interval_margins
from .kept_forecaster import read_kept
from .predictor import Network, Predictor
from .zero_shot import PACKAGED, zero_shot_forecast

PARTS = (0.8, 0.1, 0.1)
"""Shares of the rows to train on, to validate and calibrate on, and to backtest on."""

ONE_AT_A_TIME = threading.RLock()
"""Held by a training: the generator of random numbers and Lightning's log are the process's, not the thread's."""


@dataclass(frozen=True)
class Training:
    """How a forecaster learns; the defaults take a little over a minute on two cores, whatever the length of the table.

    steps: of the optimiser, with a cosine of the rate from `lr` to 0; checks: how often the weights are validated, of
    which the best are kept; max_windows: in a validation and in a backtest.
    """

    steps: int = 120
    batch_size: int = 128
    lr: float = 1e-3
    loss: str = "mse"
    checks: int = 6
    max_windows: int = 1024

    def __post_init__(self):
        for name in ("steps", "batch_size", "checks", "max_windows"):
            at_least(name, getattr(self, name), 1)


@dataclass(frozen=True)
class Table:
    """What a forecaster was fitted on.

    series: without gaps; measured: the same, NaN where a value was missing; borders: the rows at which the training,
    the validation and the backtest part end.
    """

    series: Series
    measured: Series
    borders: tuple[int, int, int]


@dataclass(frozen=True)
class Fitted:
    """All that predicting needs besides the network.

    names: of the series, in the network's order; quantiles: margins (horizon, series) of each level in percent;
    frequency: None for a network of a training run, whose tables tell; table: None for one that was loaded.
    """

    names: tuple[str, ...]
    scaling: Scaling
    layout: Layout
    quantiles: Mapping[float, list]
    frequency: Frequency | None = None
    table: Table | None = None


class Forecaster(Predictor):
    """Forecasts series at once, `Forecaster(horizon=12).predict(table)`, or learns from them: `.fit(table).predict()`.

    Before `fit`, the network of the package forecasts each series alone (`zero_shot_forecast`): of any length and
    horizon, values may be missing. What follows is of `fit`, which forecasts the series together.

    A table is a pandas or polars DataFrame, wide (a column of dates, a column a series) or long (`unique_id`, `ds`,
    `y`). What is missing in `fit` is filled, with a warning (`fill_missing`), and counts in no error; in `predict` it
    is an error.

    Args:
        horizon, lookback: steps to forecast, and steps to forecast from.
        levels: coverage in percent of the intervals to give beside, such as (80, 95).
        time: the column of dates of a wide table; None: the one named date, ds, time, timestamp or datetime.
        model, model_args: the network.
        seed: of everything random; the same table and seed give the same forecast on the same machine.
        device: where to compute, such as "cpu" or "cuda".
        positive: no forecast and no bound below zero.
    """

    task = FORECASTING.name
    device = torch.device("cpu")
    """Where to learn as well, so that it is known before the network."""

    def __init__(
        self,
        horizon: int = 96,
        *,
        lookback: int = 96,
        levels: Sequence[float] = (),
        time: str | None = None,
        model: str = "ffnet_ts",
        model_args: dict[str, Any] | None = None,
        training: Training = Training(),
        seed: int = 0,
        device: str = "cpu",
        positive: bool = False,
    ):
        if not all(isinstance(steps, Integral) and steps >= 1 for steps in (horizon, lookback)):
            raise InputError(f"horizon {horizon}, lookback {lookback}, expected whole numbers, at least 1 each")
        listed = tuple(levels) if isinstance(levels, Iterable) else None
        if listed is None or not all(isinstance(level, Real) and 1 <= level < 100 for level in listed):
            raise InputError(f"levels {levels!r}, expected several percents from 1 to below 100, such as (80, 95)")
        if len({bounds_of(level) for level in listed}) < len(listed):
            raise InputError(f"levels {levels!r}, expected each once, of at most six digits")
        if not isinstance(seed, Integral) or not 0 <= seed < 2**32:
            raise InputError(f"seed {seed!r}, expected a whole number from 0 to {2**32 - 1}")
        self.horizon, self.lookback, self.levels = int(horizon), int(lookback), listed
        self.time = time
        self.model = model
        self.model_args = {"drop_rate": 0.3, **(model_args or {})} if model == "ffnet_ts" else dict(model_args or {})
        self.training = training
        self.positive = positive
        self.seed = seed
        self.device = find_device(device)
        self.network: Network | None = None
        self._state: Fitted | None = None

    @property
    def fitted(self) -> Fitted:
        """What `fit` or `load` found; raises InputError before either."""
        if self._state is None:
            raise InputError(
                "a forecaster that has learned nothing, expected fit or load before this, or a table to predict from"
            )
        return self._state

    @property
    def column(self) -> str:
        """The column of the forecast in a long table: the network's name."""
        return self.model if self._state else PACKAGED

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the series."""
        return self.fitted.names

    @property
    def quantiles(self) -> Mapping[float, list]:
        """The intervals' margins (horizon, series) in units of std, by level in percent."""
        return self.fitted.quantiles

    def fit(self, table: Any) -> "Forecaster":
        """Learn from a table; the last rows are kept back for `backtest`."""
        measured, layout = read_frame(table, time=self.time)
        if not layout.long:
            refuse_names_of_bounds(measured.names, self.levels)
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
        self.hold(self._train(data))
        self.network.to(self.device)
        quantiles = interval_margins(self._validation_errors(data), self.levels, series.names) if self.levels else {}
        table = Table(series, measured, data.borders)
        self._state = Fitted(series.names, data.scaling, layout, quantiles, frequency, table)
        return self

    def predict(self, table: Any = None) -> Any:
        """The next `horizon` steps after a table, by default the one of `fit`, as a table of its kind, in its units.

        With levels, columns that end in -lo-80 and -hi-80 and so on stand beside the forecast's. Raises InputError that
        names column and row of what can't be used.
        """
        if self._state is None and table is not None:
            return zero_shot_forecast(
                table, self.horizon, levels=self.levels, time=self.time, positive=self.positive, device=str(self.device)
            )
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

    def __call__(self, table: Any) -> Any:
        """The same for a table."""
        return self.predict(table)

    def backtest(self) -> Backtest:
        """What the forecaster is worth: its errors on the last rows of the table of `fit` beside those of a
        seasonal-naive forecast.
        """
        fitted = self._state
        if fitted is None or fitted.table is None:
            raise InputError("backtest of a forecaster that wasn't fitted here, expected fit before it")
        table, scaling = fitted.table, fitted.scaling
        return backtest(
            scaling.apply(table.series.values),
            self.forecast_windows,
            measured=scaling.apply(table.measured.values),
            names=fitted.names,
            start=table.borders[1],
            lookback=self.lookback,
            horizon=self.horizon,
            season=self.frequency_of(table.series).season,
            quantiles=fitted.quantiles,
            max_windows=self.training.max_windows,
        )

    def frequency_of(self, series: Series) -> Frequency:
        """The frequency that was learned, or the series' own; raises InputError that names the first row off it."""
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
        """Write all that predicting needs as one .safetensors file."""
        if Path(path).suffix != ".safetensors":
            raise InputError(f"{path}: expected a name that ends in .safetensors")
        fitted = self.fitted
        if not isinstance(self.network, nn.Module):
            raise InputError(
                f"{path}: of an exported forecaster, expected one of a checkpoint: an exported file holds no "
                "weights to save"
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

    @classmethod
    def load(cls, source: str | Path | None = None, *, path: str | Path | None = None, **settings) -> Self:
        """`Predictor.load` of a forecaster that `save`, `metamixer export` or a training run wrote.

        path: another name of `source`. settings: `horizon` and `lookback` as well, what the caller counts on;
        InputError where the network has others. A training run's file has no intervals and takes the frequency from the
        table.
        """
        return super().load(path if source is None else source, **settings)

    @classmethod
    def of(
        cls, network: Network, info: Mapping[str, Any], *, horizon: int | None = None, lookback: int | None = None
    ) -> Self:
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

    def _history(self, table: Any) -> tuple[Series, Layout]:
        fitted = self.fitted
        if table is not None:
            series, layout = read_frame(table, time=self.time)
            return same_variables(series, fitted.names), layout
        if fitted.table is None:
            raise InputError(
                "predict without a table, expected one: only a forecaster that was fitted here knows the last rows"
            )
        return fitted.table.series, fitted.layout

    def _split(self, rows: int) -> tuple[int, int, int]:
        """Rows of each part; validation and backtest hold at least one window's future."""
        needed = self.lookback + 3 * self.horizon
        if rows < needed:
            raise InputError(
                f"table of {rows} dates, expected at least {needed}: lookback {self.lookback} + horizon "
                f"{self.horizon} to learn from, "
                "and another horizon each to validate and to backtest"
            )
        most = (rows - self.lookback - self.horizon) // 2
        held = [min(max(int(rows * share), self.horizon), most) for share in PARTS[1:]]
        return rows - sum(held), held[0], held[1]

    def _train(self, data: SeriesData) -> nn.Module:
        training, variables = self.training, len(data.series.names)
        with (
            ONE_AT_A_TIME,
            isolate_rng(),
            quiet_lightning(),
            interrupts_kept(),
            tempfile.TemporaryDirectory() as folder,
        ):
            torch.manual_seed(self.seed)
            task = self._task(variables)
            best = ModelCheckpoint(
                folder, "best", monitor=FORECASTING.monitor, mode=FORECASTING.mode, save_weights_only=True
            )
            trainer = Trainer(
                max_steps=training.steps,
                val_check_interval=max(training.steps // training.checks, 1),
                check_val_every_n_epoch=None,
                **trainer_place(self.device),
                callbacks=[best],
                logger=False,
                num_sanity_val_steps=0,
                enable_progress_bar=False,
                enable_model_summary=False,
                default_root_dir=folder,
            )
            trainer.fit(task, data)
            network, _ = load_checkpoint(best.best_model_path)
        return network

    def _task(self, variables: int) -> Forecasting:
        training = self.training
        try:
            return Forecasting(
                self.model,
                variables,
                lookback=self.lookback,
                horizon=self.horizon,
                model_args=self.model_args,
                optimization=Optimization(
                    "adam", lr=training.lr, min_lr=0.0, weight_decay=0.0, warmup_epochs=0.1, warmup_lr=0.0
                ),
                loss=training.loss,
            )
        except InputError:
            raise
        except (
            TypeError,
            ValueError,
        ) as error:  # a keyword that the network doesn't have, or a value that torch refuses
            raise InputError(f"model {self.model!r}, model_args {self.model_args}: {error}") from None

    def _validation_errors(self, data: SeriesData) -> Tensor:
        """(N, horizon, variables) in units of std, NaN where nothing was measured."""
        windows = data.windows("val").spread(self.training.max_windows)
        return (self.forecast_windows(windows.past) - windows.future).abs()
