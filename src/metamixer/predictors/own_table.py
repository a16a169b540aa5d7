"""`train` on a table of series: the packaged forecaster is fine-tuned, and tested on the last rows."""

import copy
import json
import shlex
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checkpoints.ours import read_checkpoint
from ..checkpoints.reached import write_data
from ..data.series.splits import borders_of_any
from ..data.series.tables import Series, read_table
from ..errors import InputWarning, counted, expect_seed, naming, printable
from ..models.tasks import FORECASTING, ZERO_SHOT
from ..system.files import write_text
from ..training.own_data.kinds import TABLE, kind_of
from ..training.own_data.tables import horizon_for, one_table
from ..training.own_data.training import SCRATCH, expect_length, removed_where_it_fails
from ..training.own_data.understood import named
from ..training.run_folder import keep_earlier_run, locked
from .backtest import Backtest
from .fine_tuning import FineTuned, FineTuning, TableWindows, training_steps
from .forecaster import Forecaster
from .zero_shot import PACKAGED, packaged_network

FILE = "best.safetensors"

TRIAL_STEPS = 2
"""Steps to time before a training."""

OTHER_WORK = 12
"""Time of validation and backtest, in training steps."""


@dataclass(frozen=True)
class TunedOnTable:
    """The result of fine-tuning on a table.

    table: its file; checkpoint: file of the forecaster; tuned: whether fine-tuning helped; backtest: errors on the
    `held_out` last rows, which that network has not seen.
    """

    table: Path
    checkpoint: Path
    tuned: FineTuned
    backtest: Backtest
    held_out: int

    @property
    def predictor(self) -> Forecaster:
        """The forecaster, trained on all rows."""
        return Forecaster.load(self.checkpoint)

    @property
    def next_command(self) -> str:
        """The command that forecasts the table."""
        return shlex.join(["metamixer", "forecast", str(self.table), "--checkpoint", str(self.checkpoint)])

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values."""
        mase = self.backtest.mean_mase
        return {
            "task": FORECASTING.name,
            "checkpoint": str(self.checkpoint),
            "metric": "MASE",
            "value": mase["forecaster"],
            "val_items": self.held_out,
            "steps": self.tuned.steps,
            "mase": mase,
            "mae": dict(zip(self.backtest.names, self.backtest.units_mae, strict=True)),
        }

    @property
    def figure(self) -> str:
        """MASE on the held-out rows, next to zero-shot and naive."""
        ours, *others = (f"{name} {error:.3f}" for name, error in self.backtest.mean_mase.items())
        return f"MASE of the {ours} ({', '.join(others)}) on the last {counted(self.held_out, 'row')}"

    def __str__(self) -> str:
        return f"{self.tuned}\n{self.backtest}\n{self.figure}; the forecaster is in {self.checkpoint}"


def fine_tunes(path: str | Path, initial: str | None, *, epochs: int | None = None, resume: bool = False) -> bool:
    """Whether `train` fine-tunes a forecaster of each series alone: a table without another network to start from."""
    if resume or epochs is not None or initial == SCRATCH or kind_of(path) is not TABLE:
        return False
    return initial is None or read_checkpoint(initial)[1].get("task") == ZERO_SHOT.name


def tune_on_table(
    path: str | Path, out: Path, *, minutes: float, initial: str | None = None, seed: int = 0
) -> TunedOnTable:
    """Fine-tune, test on the last rows, and write the forecaster to the run folder."""
    expect_length(minutes)
    expect_seed("seed", seed)
    table = one_table(Path(path))
    frame = read_table(table)
    with naming(table):
        series = series_of(frame)
        settings = {"horizon": horizon_for(series)} if initial is None else {}
        forecaster = Forecaster.load(initial or PACKAGED, seed=seed, **settings)
        forecaster.read_history(frame)  # warns of missing rows, and decides the horizon if no file does
    _, first_tested, rows = borders = borders_of_any(len(series), forecaster.horizon)
    with removed_where_it_fails(out), locked(out):
        about = understood(series, rows - first_tested, forecaster.horizon)
        print(printable(f"{table}: {about}"), flush=True)
        steps, seconds = fitting_steps(series, forecaster.horizon, borders[0], seconds=60 * minutes)
        forecaster.fine_tuning = replace(forecaster.fine_tuning, steps=steps)
        begun = f"fine-tuning {initial or PACKAGED}: {counted(steps, 'step')}, about {seconds:.0f} s"
        print(printable(f"{begun}; the run is in {out}"), flush=True)
        with naming(table):
            forecaster.fit(frame)
            tested = forecaster.backtest()
        keep_earlier_run(out)
        parts = dict(zip(("train", "validation", "test"), np.diff([0, *borders]).tolist(), strict=True))
        write_text(out / "split.json", json.dumps({"rows": rows, **parts}))
        forecaster.save(out / FILE)
        found = TunedOnTable(table, out / FILE, forecaster.tuned, tested, rows - first_tested)
        write_data(out, table, about, figure=found.figure)
    return found


def series_of(frame: Any) -> Series:
    """The series of a table with missing rows added, without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        return Forecaster().read_history(frame)[0]


def understood(series: Series, held_out: int, horizon: int) -> str:
    """What was found in a table, and what will be done."""
    return (
        f"{len(series)} dates of {counted(len(series.names), 'series', 'series')} ({named(series.names)}), the last "
        f"{held_out} held out for the backtest; trains a forecaster of {counted(horizon, 'step')}"
    )


def fitting_steps(series: Series, horizon: int, trained: int, *, seconds: float) -> tuple[int, float]:
    """The number of steps that fit into the time, at most the usual one, and the estimated time in seconds.

    trained: rows of the training part.
    """
    network, usual = copy.deepcopy(packaged_network()), FineTuning().steps
    windows = TableWindows.between(series.values, 0, trained, min(horizon, network.horizon), ())
    if not len(windows):
        return usual, 0.0
    begun = time.monotonic()
    for _ in training_steps(network, windows, FineTuning(steps=TRIAL_STEPS), 0, torch.device("cpu")):
        pass
    step = (time.monotonic() - begun) / TRIAL_STEPS
    steps = min(max(int((seconds / step - OTHER_WORK) / 2), 1), usual)
    return steps, step * (2 * steps + OTHER_WORK)
