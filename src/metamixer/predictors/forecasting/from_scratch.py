"""Train a forecasting network from scratch on one table."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from ...checkpoints.ours import load_checkpoint
from ...data.series.frames import Layout, refuse_constant
from ...data.series.frequency import Frequency
from ...data.series.missing import fill_missing, refuse_unmeasured, warn_of_missing, warn_of_sentinels
from ...data.series.series_data import SeriesData
from ...data.series.splits import split_windows
from ...data.series.tables import Series
from ...errors import InputError
from ...models.tasks import FORECASTING
from ...ops.fusion import fuse
from ...tasks import Forecasting, Optimization
from ...training.embedded import interrupts_kept, quiet_lightning, trainer_place
from .all_series import ForecastWindows
from .fitted import Fitted, Table
from .intervals import interval_margins
from .one_at_a_time import ONE_AT_A_TIME
from .options import Training


def windows_of(measured: Series, training: Training, *, lookback: int, horizon: int, seed: int) -> SeriesData:
    """The windows of a table without gaps; raises InputError for series that can't be trained on."""
    split = split_windows(len(measured), lookback, horizon)
    series = fill_missing(measured, learned=split[0])
    refuse_constant(series.rows(0, split[0]))
    refuse_unmeasured(measured.rows(split[0], sum(split[:2])))
    warn_of_missing(measured)
    warn_of_sentinels(measured)
    return SeriesData.of(
        series,
        measured=measured,
        lookback=lookback,
        horizon=horizon,
        split=split,
        batch_size=training.batch_size,
        max_val_windows=training.max_windows,
        seed=seed,
    )


def train_on_table(
    measured: Series,
    layout: Layout,
    training: Training,
    *,
    lookback: int,
    horizon: int,
    levels: Sequence[float],
    forecast_windows: ForecastWindows,
    seed: int,
    **how,
) -> tuple[nn.Module, Fitted]:
    """The network of all rows, and what it needs, with the network that was trained without the last rows.

    levels: coverage in percent of the intervals; how: the device, the model's name and its keywords.
    """
    data = windows_of(measured, training, lookback=lookback, horizon=horizon, seed=seed)
    network, steps = train_network(data, training, seed=seed, **how)
    tested = fuse(network).to(how["device"])
    quantiles = {}
    if levels:
        forecast = partial(forecast_windows, network=tested)
        errors = validation_errors(data, forecast, training.max_windows)
        quantiles = interval_margins(errors, levels, measured.names)
    table = Table(data.series, measured, data.borders, tested)
    final = train_on_all_rows(data, replace(training, steps=steps), seed=seed, **how)
    return final, Fitted(measured.names, data.scaling, layout, quantiles, Frequency.of(measured), table)


def train_network(
    data: SeriesData, training: Training, *, model: str, model_args: Mapping[str, Any], seed: int, device: torch.device
) -> tuple[nn.Module, int]:
    """The network with the best validation error, and its steps of the optimizer."""
    with training_alone(seed) as folder:
        task = forecasting_task(data, training, model=model, model_args=model_args)
        best = ModelCheckpoint(
            folder, "{step}", monitor=FORECASTING.monitor, mode=FORECASTING.mode, save_weights_only=True
        )
        checks = {"val_check_interval": max(training.steps // training.checks, 1), "check_val_every_n_epoch": None}
        quiet_trainer(folder, device, max_steps=training.steps, callbacks=[best], **checks).fit(task, data)
        network, _ = load_checkpoint(best.best_model_path)
        return network, int(Path(best.best_model_path).stem.removeprefix("step="))


def train_on_all_rows(
    data: SeriesData, training: Training, *, model: str, model_args: Mapping[str, Any], seed: int, device: torch.device
) -> nn.Module:
    """The network after all steps, on every row and without validation."""
    with training_alone(seed) as folder:
        task = forecasting_task(data, training, model=model, model_args=model_args)
        trainer = quiet_trainer(
            folder, device, max_steps=training.steps, limit_val_batches=0, enable_checkpointing=False
        )
        trainer.fit(task, data.with_all_rows())
        return task.network.eval().cpu()


@contextmanager
def training_alone(seed: int) -> Iterator[str]:
    """Hold the process's random numbers and Lightning's log for one training, with a folder for its files."""
    with ONE_AT_A_TIME, isolate_rng(), quiet_lightning(), interrupts_kept(), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(seed)
        yield folder


def quiet_trainer(folder: str, device: torch.device, **settings) -> Trainer:
    """A trainer that prints and logs nothing."""
    return Trainer(
        **trainer_place(device),
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **settings,
    )


def validation_errors(data: SeriesData, forecast: Callable[[Tensor], Tensor], max_windows: int) -> Tensor:
    """(N, horizon, variables) in units of std, NaN for missing values."""
    windows = data.windows("val").spread(max_windows)
    return (forecast(windows.past) - windows.future).abs()


def forecasting_task(data: SeriesData, training: Training, *, model: str, model_args: Mapping[str, Any]) -> Forecasting:
    """Build the task for the data; raises InputError for invalid keywords of the network."""
    try:
        return Forecasting(
            model,
            len(data.series.names),
            lookback=data.lookback,
            horizon=data.horizon,
            model_args=dict(model_args),
            optimization=Optimization(
                "adam", lr=training.lr, min_lr=0.0, weight_decay=0.0, warmup_epochs=0.1, warmup_lr=0.0
            ),
            loss=training.loss,
        )
    except InputError:
        raise
    except (TypeError, ValueError) as error:  # an unknown keyword, or a value that PyTorch refuses
        raise InputError(f"model {model!r}, model_args {dict(model_args)}: {error}") from None
