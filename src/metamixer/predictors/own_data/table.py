"""`train` on a table of series: the packaged forecaster is fine-tuned, and tested on the last rows."""

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...checkpoints.ours import read_checkpoint
from ...checkpoints.reached import write_data
from ...errors import InputError, counted, expect_seed, naming, printable
from ...models.tasks import FORECASTING, ZERO_SHOT
from ...system.files import write_text
from ...system.json_files import standard
from ...training.own_data.kinds import TABLE, kind_of
from ...training.own_data.reading import Reading
from ...training.own_data.start import SCRATCH, checkpoint_at
from ...training.own_data.tables import one_table
from ...training.own_data.training import expect_length, removed_where_it_fails
from ...training.run_folder import INITIAL, SPLIT, TUNING, keep_earlier_run, locked
from ..forecasting.backtest import Backtest, in_digits
from ..forecasting.fine_tuning import FineTuned
from ..forecasting.forecaster import Forecaster
from ..forecasting.zero_shot import PACKAGED
from .table_to_tune import TableToTune, fitting_steps, read_to_tune
from .tuning_run import TuningRun, digest, read_tuning_run

FILE = "best.safetensors"


@dataclass(frozen=True)
class TunedOnTable:
    """The result of fine-tuning on a table.

    table: its file; checkpoint: file of the forecaster; tuned: whether fine-tuning helped; backtest: errors on the
    `held_out` last rows, which that network has not seen; missing_values: numbers that mark them in the table.
    """

    table: Path
    checkpoint: Path
    tuned: FineTuned
    backtest: Backtest
    held_out: int
    missing_values: tuple[float, ...] = ()

    @property
    def predictor(self) -> Forecaster:
        """The forecaster, trained on all rows."""
        return Forecaster.load(self.checkpoint)

    @property
    def next_command(self) -> str:
        """The command that forecasts the table."""
        marks = ["--missing_values", *(f"{mark:g}" for mark in self.missing_values)] if self.missing_values else []
        return shlex.join(["metamixer", "forecast", str(self.table), "--checkpoint", str(self.checkpoint), *marks])

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values, None for figures that there aren't."""
        mase = self.backtest.mean_mase
        found = {
            "task": FORECASTING.name,
            "checkpoint": str(self.checkpoint),
            "metric": "MASE",
            "value": mase["forecaster"],
            "val_items": self.held_out,
            "steps": self.tuned.steps,
            "mase": mase,
            "mae": dict(zip(self.backtest.names, self.backtest.units_mae, strict=True)),
        }
        return standard(found)

    @property
    def figure(self) -> str:
        """MASE on the held-out rows, next to zero-shot and naive."""
        ours, *others = (f"{name} {in_digits(error, '.3f')}" for name, error in self.backtest.mean_mase.items())
        return f"MASE of the {ours} ({', '.join(others)}) on the last {counted(self.held_out, 'row')}"

    def __str__(self) -> str:
        return f"{self.tuned}\n{self.backtest}\n{self.figure}; the forecaster is in {self.checkpoint}"


def fine_tunes(path: str | Path, initial: str | None, *, epochs: int | None = None) -> bool:
    """Whether `train` fine-tunes a forecaster of each series alone: a table without another network to start from."""
    if epochs is not None or initial == SCRATCH or kind_of(path) is not TABLE:
        return False
    return initial is None or read_checkpoint(checkpoint_at(initial))[1].get("task") == ZERO_SHOT.name


def tune_on_table(
    path: str | Path,
    out: Path,
    *,
    minutes: float,
    initial: str | None = None,
    seed: int = 0,
    reading: Reading = Reading(),
) -> TunedOnTable:
    """Fine-tune, test on the last rows, and write the forecaster to the run folder."""
    expect_length(minutes)
    expect_seed("seed", seed)
    data = read_to_tune(one_table(Path(path)), initial, seed, reading)
    with removed_where_it_fails(out), locked(out):
        print(printable(f"{data.path}: {data}"), flush=True)
        steps, seconds = fitting_steps(data, seconds=60 * minutes)
        begun = f"fine-tuning {initial or PACKAGED}: {counted(steps, 'step')}, about {seconds:.0f} s"
        print(printable(f"{begun}; the run is in {out}"), flush=True)
        keep_earlier_run(out)
        if initial is not None:
            data.forecaster.save(out / INITIAL)
        TuningRun(digest(data.path), steps, seed, initial, reading).write(out)
        return tuned(data, steps, out)


def tune_again(path: str | Path, out: Path, *, epochs: int | None, initial: str | None) -> TunedOnTable:
    """Repeat the fine-tuning of the run in `out` with its own settings, which gives the same forecaster."""
    if (kind := kind_of(path)) is not TABLE:
        raise InputError(f"{out}: a run on {TABLE.what}, expected one on {kind.what}, which {path} is")
    for name, value in {"epochs": epochs, "initial": initial}.items():
        if value is not None:
            raise InputError(f"{name} {value} with resume, expected none: the run in {out} fine-tunes on a table")
    table = one_table(Path(path))
    with locked(out):
        run = read_tuning_run(out / TUNING)
        run.expect_table(table, out)
        data = read_to_tune(table, run.initial and str(out / INITIAL), run.seed, run.reading)
        print(printable(f"{table}: {data}"))
        begun = f"repeating the run in {out}: fine-tuning {run.initial or PACKAGED}, {counted(run.steps, 'step')}"
        print(printable(begun), flush=True)
        return tuned(data, run.steps, out)


def tuned(data: TableToTune, steps: int, out: Path) -> TunedOnTable:
    """Fine-tune and test, and write the forecaster and the description of the data to the run folder."""
    forecaster = data.forecaster
    forecaster.fine_tuning = replace(forecaster.fine_tuning, steps=steps)
    try:
        with naming(data.path):
            forecaster.fit(data.frame)
            tested = forecaster.backtest()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("continue with --resume") from None
    parts = dict(zip(("train", "validation", "test"), np.diff([0, *data.borders]).tolist(), strict=True))
    write_text(out / SPLIT, json.dumps({"rows": len(data.series), **parts}))
    forecaster.save(out / FILE)
    marks = data.reading.missing_values
    found = TunedOnTable(data.path, out / FILE, forecaster.tuned, tested, data.held_out, marks)
    write_data(out, data.path, str(data), figure=found.figure)
    return found
