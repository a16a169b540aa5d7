"""`train`: from a folder of the user's data to a trained predictor."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ...errors import InputError, counted, expect_integer
from ...models.tasks import TASKS, TaskSpec
from ...system.metadata import read_as
from ...training.own_data.reading import Reading
from ...training.own_data.training import fit, go_on
from ...training.run_folder import RECIPE, TUNING
from ..forecasting.options import LONGEST_HORIZON
from ..loading import load
from ..predictor import Predictor
from .table import TunedOnTable, fine_tunes, tune_again, tune_on_table


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    checkpoint: file of the best weights; metric: their validation metric; val_items: size of the validation split;
    epochs: number of epochs trained.
    """

    task: TaskSpec
    checkpoint: Path
    metric: float
    val_items: int
    epochs: int

    @cached_property
    def predictor(self) -> Predictor:
        """The trained network, ready to predict."""
        return load(self.checkpoint)

    @property
    def next_command(self) -> str:
        """The command that predicts with the checkpoint."""
        spec = TASKS[self.task.name]
        what = {"points": "CLOUDS", "forecast": "TABLE"}.get(spec.command, "IMAGES")
        return f"metamixer {spec.command} {what} --checkpoint {shlex.quote(str(self.checkpoint))}"

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "task": self.task.name,
            "checkpoint": str(self.checkpoint),
            "metric": self.task.metric,
            "value": self.metric,
            "val_items": self.val_items,
            "epochs": self.epochs,
        }

    def __str__(self) -> str:
        figure = f"{self.task.metric} {self.task.in_units(self.metric)}"
        return (
            f"{figure} on the validation split ({counted(self.val_items, 'item')}); best weights in {self.checkpoint}"
        )


def train(
    data: str | Path,
    *,
    out: str | Path | None = None,
    minutes: float = 10,
    epochs: int | None = None,
    initial: str | None = None,
    seed: int = 0,
    resume: bool | Literal["auto"] = False,
    missing_values: Sequence[float] = (),
    time: str | None = None,
    horizon: int | None = None,
) -> Trained | TunedOnTable:
    """Train on a folder of your own data: `train("flowers", minutes=5).predictor("rose.jpg")`.

    A table of series fine-tunes the packaged forecaster, unless `epochs` or `initial` ask for another training.

    Args:
        data: a folder with one folder of images per class; images with a COCO JSON file; folders images and masks;
            labeled point clouds; large images, for super-resolution; or a table of time series.
        out: the run folder; None: runs/NAME.
        minutes: approximate time limit in minutes.
        epochs: number of epochs; None: as many as fit into `minutes`. For a table, it implies `initial="scratch"`.
        initial: what to start from: a checkpoint of metamixer, a run folder, the name of packaged weights, or "scratch"
            for a random initialization; None: the packaged weights for the task, if there are any.
        seed: random seed, also of the split.
        resume: continue the run in `out` with its own settings; `epochs` may extend it. "auto": if there is one, else
            start. The fine-tuning on a table takes less than a minute; it is repeated, with the same result.
        missing_values, time, horizon: of a table: numbers that mark missing values, such as -9999; the date column, for
            fine-tuning; steps to forecast.

    Raises InputError that names the unusable file, folder or option.
    """
    if horizon is not None:
        expect_integer("horizon", horizon, 1, LONGEST_HORIZON["finetune"])
    reading = read_as(Reading, {"missing_values": missing_values, "time": time, "horizon": horizon}, "train")
    out = run_folder(data, out)
    how = plan(data, out, initial=initial, epochs=epochs, resume=resume)
    if how.resumes and resume == "auto":
        initial, reading = None, Reading()  # the same command may have started the run
    if how.resumes:
        reading.refuse(why="with resume, expected none: the run continues with its own settings")
    if how.fine_tunes and how.resumes:
        return tune_again(data, out, epochs=epochs, initial=initial)
    if how.fine_tunes:
        return tune_on_table(data, out, minutes=minutes, initial=initial, seed=seed, reading=reading)
    if how.resumes:
        run = go_on(data, out, epochs=epochs, initial=initial)
    else:
        run = fit(data, out, minutes=minutes, epochs=epochs, initial=initial, seed=seed, reading=reading)
    return Trained(run.data.task, run.checkpoint, run.metric, run.data.val_items, run.epochs)


@dataclass(frozen=True)
class Plan:
    """What `train` does: fine-tune on a table or train otherwise, and resume a run or start one."""

    fine_tunes: bool
    resumes: bool


def plan(
    data: str | Path, out: Path, *, initial: str | None, epochs: int | None, resume: bool | Literal["auto"]
) -> Plan:
    """What the options mean for the run folder `out`; with "auto", only a run as they ask for is resumed."""
    if resume not in (True, False, "auto"):
        raise InputError(f"resume {resume!r}, expected True, False or 'auto'")
    if resume is True:
        return Plan((out / TUNING).is_file(), True)
    tunes = fine_tunes(data, initial, epochs=epochs)
    needed = (TUNING,) if tunes else (RECIPE, "last.ckpt")
    return Plan(tunes, resume == "auto" and all((out / name).is_file() for name in needed))


def run_folder(data: str | Path, out: str | Path | None) -> Path:
    """The folder of a run: by default runs/NAME, after the data."""
    if out is not None:
        return Path(out)
    path = Path(os.path.realpath(data))
    return Path("runs", path.name if path.is_dir() else path.stem)
