"""A table and the forecaster that `train` fine-tunes on it, before it does."""

import copy
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...data.series.splits import borders_of_any
from ...data.series.tables import Series, read_table
from ...errors import InputWarning, counted, naming
from ...training.own_data.tables import horizon_for
from ...training.own_data.understood import named
from ..forecasting.fine_tuning import FineTuning, TableWindows, training_steps
from ..forecasting.forecaster import Forecaster
from ..forecasting.zero_shot import PACKAGED, packaged_network, refuse_unusable

TRIAL_STEPS = 2
"""Steps to time before a training."""

OTHER_WORK = 12
"""Time of validation and backtest, in training steps."""


@dataclass(frozen=True)
class TableToTune:
    """A table, its series, and the forecaster; borders: the ends of the table's parts in rows."""

    path: Path
    frame: Any
    series: Series
    forecaster: Forecaster
    borders: tuple[int, int, int]

    @property
    def held_out(self) -> int:
        """The number of rows for the backtest."""
        return self.borders[2] - self.borders[1]

    def __str__(self) -> str:
        names, steps = self.series.names, counted(self.forecaster.horizon, "step")
        return (
            f"{len(self.series)} dates of {counted(len(names), 'series', 'series')} ({named(names)}), the last "
            f"{self.held_out} held out for the backtest; trains a forecaster of {steps}"
        )


def read_to_tune(path: Path, initial: str | None, seed: int) -> TableToTune:
    """Read a table and the forecaster to start from, by default the packaged one.

    Raises InputError that names the table for series that can't be used.
    """
    frame = read_table(path)
    with naming(path):
        series = series_of(frame)
        settings = {"horizon": horizon_for(series)} if initial is None else {}
        forecaster = Forecaster.load(initial or PACKAGED, seed=seed, **settings)
        forecaster.read_history(frame)  # warns of missing rows, and decides the horizon if no file does
        refuse_unusable(series, forecaster.horizon)
    return TableToTune(path, frame, series, forecaster, borders_of_any(len(series), forecaster.horizon))


def series_of(frame: Any) -> Series:
    """The series of a table with missing rows added, without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        return Forecaster().read_history(frame)[0]


def fitting_steps(data: TableToTune, *, seconds: float) -> tuple[int, float]:
    """The number of steps that fit into the time, at most the usual one, and the estimated time in seconds."""
    network, usual = copy.deepcopy(packaged_network()), FineTuning().steps
    horizon = min(data.forecaster.horizon, network.horizon)
    windows = TableWindows.between(data.series.values, 0, data.borders[0], horizon, ())
    if not len(windows):
        return usual, 0.0
    begun = time.monotonic()
    for _ in training_steps(network, windows, FineTuning(steps=TRIAL_STEPS), 0, torch.device("cpu")):
        pass
    step = (time.monotonic() - begun) / TRIAL_STEPS
    steps = min(max(int((seconds / step - OTHER_WORK) / 2), 1), usual)
    return steps, step * (2 * steps + OTHER_WORK)
