"""From the user's own data to a checkpoint: the recipe, the number of epochs, the run."""

import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from ...checkpoints.reached import write_data
from ...errors import MOST_EPOCHS, InputError, InputWarning, counted, expect_integer, expect_seed, printable
from ...models.tasks import TASKS
from ...system.files import write_text
from ...system.machine import computes_bfloat16
from ...system.weight_files import read_torch_file
from ...system.yaml_files import read_yaml
from ..command_line import TrainingCLI, run
from ..recipe_checks import unnamed
from ..run_folder import CHECKPOINTS, RECIPE, SPLIT, TUNING, keep_earlier_run, locked
from .kinds import understand
from .start import Start, find_start
from .understood import OwnData, expect_split_of

MOST_MINUTES = 60 * 24 * 365

TRIAL_STEPS = 4
VALIDATION_COST = 0.5
"""Time to validate an item, as a fraction of the time to train on it."""

MANY_STEPS = 1000
"""Minimum number of steps for averaging the weights."""

FEW_STEPS = 100
"""Below this number of training steps, a network has hardly learned anything."""

SMALL = 500
"""Below this number of items, worker processes take longer to start than they save."""


@dataclass(frozen=True)
class Run:
    """A successful training; metric: the best checkpoint's monitored metric."""

    data: OwnData
    checkpoint: Path
    metric: float
    epochs: int


class StepClock(Callback):
    """Measures the seconds per training step."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, *about, **more) -> None:
        self.times.append(time.monotonic())

    @property
    def seconds(self) -> float:
        """Mean seconds per step."""
        return (self.times[-1] - self.times[0]) / max(len(self.times) - 1, 1)


def fit(
    path: str | Path, out: str | Path, *, minutes: float, seed: int = 0, initial: str | None = None, epochs: int | None
) -> Run:
    """Inspect the data, print what was found, and train; shared by `metamixer train` and `metamixer.train`."""
    expect_length(minutes)
    if epochs is not None:
        expect_integer("epochs", epochs, 1, MOST_EPOCHS)
    expect_seed("seed", seed)
    data, out = understand(path, seed), Path(out)
    start = find_start(data, initial)
    print(printable(f"{path}: {data.understood}"), flush=True)
    with removed_where_it_fails(out), locked(out), naming_originals(folder := new_folder(out)):
        length = "" if epochs else f", up to about {minutes:g} min"
        with removed_where_it_fails(folder):
            recipe = recipe_of(data, start_kept(start, out, folder), out, folder, seed=seed)
            epochs = epochs or fitting_epochs(data, recipe, seconds=60 * minutes)
        begun = f"training {start}: {counted(epochs, 'epoch')}{length}{precision_named(recipe)}; the run is in {out}"
        print(printable(begun), flush=True)
        steps = epochs * steps_per_epoch(data, recipe)
        if steps < FEW_STEPS:
            more = f"only {counted(steps, 'training step')}, expected a weak network; increase --minutes or --epochs"
            warnings.warn(more, InputWarning, stacklevel=3)
        keep_earlier_run(out)
        (folder / SPLIT).replace(out / SPLIT)
        found = finished(data, run_recipe(with_epochs(data, recipe, epochs), out / RECIPE), out, epochs)
    write_data(out, path, data.understood)
    return found


def expect_length(minutes: float) -> None:
    """Raise InputError for a time limit that can't be one."""
    if not 0 < minutes <= MOST_MINUTES:
        raise InputError(f"minutes {minutes:g}, expected a number above 0, at most {MOST_MINUTES} (a year)")


def go_on(path: str | Path, out: str | Path, *, epochs: int | None, initial: str | None) -> Run:
    """Continue the run in `out`, to its own number of epochs unless `epochs` is given."""
    if initial is not None:
        raise InputError(f"initial {initial} with resume, expected none: the run continues with its own weights")
    file, last = Path(out, RECIPE), Path(out, "last.ckpt")
    if not (file.is_file() and last.is_file()):
        missing = last if file.is_file() else file
        raise InputError(f"{missing}: no such file, expected a run of metamixer train in {out} to resume")
    recipe = read_yaml(file, expected="the recipe of a run")
    try:
        kind, planned = recipe["data"]["class_path"], recipe["trainer"]["max_epochs"]
        seed = recipe.get("seed_everything", 0)
    except (TypeError, KeyError):
        raise InputError(f"{file}: not written by metamixer train, expected the recipe of a run") from None
    expect_seed("seed_everything", seed)
    data = understand(path, seed)
    if kind != data.data_class:
        raise InputError(f"{out}: a run on {kind}, expected one on {data.data_class}, which {path} is")
    expect_split_of(data, path, Path(out))
    if epochs is not None and epochs < (done := read_torch_file(last).get("epoch", 0) + 1):
        raise InputError(f"epochs {epochs}, expected at least {done}, which the run in {out} has already")
    changes = options_for(data, epochs) if epochs else []
    epochs = epochs or planned
    print(printable(f"{path}: {data.understood}"))
    print(printable(f"resuming the run in {out}, {counted(epochs, 'epoch')} in all"), flush=True)
    words = ["--out", str(out), "--resume", "true", *changes]
    found = finished(data, run(["fit", "--config", str(file), *words]), Path(out), epochs)
    write_data(Path(out), path, data.understood)
    return found


@contextmanager
def removed_where_it_fails(out: Path) -> Iterator[None]:
    """Remove a new run folder if an error leaves nothing to resume in it."""
    was_there = out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        if not was_there and not any((out / name).exists() for name in (*CHECKPOINTS, TUNING)):
            shutil.rmtree(out, ignore_errors=True)
        raise


def new_folder(out: Path) -> Path:
    """The folder for the data of a new run; each run has its own, so that an earlier one can still be resumed."""
    return next(folder for i in count(1) if not (folder := out.resolve() / f"data_{i}").exists())


def start_kept(start: Start, out: Path, folder: Path) -> Start:
    """Start from a copy of weights in the run folder, because an earlier run there is moved away."""
    if start.file is None or start.file.resolve().parent != out.resolve():
        return start
    return replace(start, file=Path(shutil.copy(start.file, folder / f"initial{start.file.suffix}")))


@contextmanager
def naming_originals(folder: Path) -> Iterator[None]:
    """Name the user's file in an InputError about a link to it in the split."""
    try:
        yield
    except InputError as error:
        path, colon, rest = str(error).partition(": ")
        if Path(path).is_relative_to(folder) and os.path.islink(path):
            raise InputError(f"{os.readlink(path)}{colon}{rest}") from None
        raise


def recipe_of(data: OwnData, start: Start, out: Path, folder: Path, *, seed: int) -> dict[str, Any]:
    """Prepare the data in a new folder; returns the recipe for `metamixer fit`, without the number of epochs.

    One process trains: several would each prepare the data and time their own steps.
    """
    arguments = data.prepare(folder)
    if "num_workers" not in arguments:
        arguments["num_workers"] = 0 if data.items < SMALL else max(min((os.cpu_count() or 1) - 1, 4), 0)
    model = {
        **data.model,
        "model": start.model,
        "model_args": {**start.model_args, **data.model.get("model_args", {})},
    }
    if start.pretrained_backbone:
        model["pretrained_backbone"] = True
    if start.file is not None:
        model["initial"] = str(start.file.resolve())
        if "num_classes" in data.model:
            model["new_classifier"] = True
    return {
        "seed_everything": seed,
        "out": str(out),
        "model": {"class_path": data.model_class, "init_args": model},
        "data": {"class_path": data.data_class, "init_args": {**arguments, "seed": seed}},
        "trainer": {"devices": 1, "log_every_n_steps": 1, **fastest_precision(data.task.name), **data.trainer},
    }


def fastest_precision(task: str) -> dict[str, str]:
    """Lightning's keyword for the precision in which a task trains fastest here."""
    cuda = torch.cuda.is_available()
    here = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else computes_bfloat16()
    return {"precision": "bf16-mixed"} if here and TASKS[task].faster_in_bfloat16 else {}


def precision_named(recipe: Mapping[str, Any]) -> str:
    """For the line that announces a training."""
    return ", in bfloat16" if "precision" in recipe["trainer"] else ""


def fitting_epochs(data: OwnData, recipe: Mapping[str, Any], *, seconds: float) -> int:
    """The number of epochs that fit into the time, estimated from a few steps; from 1 to `data.most_epochs`, and such
    that validations have equal intervals.
    """
    clock = {"class_path": f"{StepClock.__module__}.{StepClock.__name__}"}
    with tempfile.TemporaryDirectory() as folder:
        trainer = {
            **recipe["trainer"],
            "max_steps": TRIAL_STEPS,
            "limit_val_batches": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": False,
            "callbacks": [clock],
        }
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*could not find the monitored key.*")  # nothing is validated
            cli = run_recipe({**recipe, "out": folder, "trainer": trainer}, Path(folder, "trial.yaml"))
    step = next(callback.seconds for callback in cli.trainer.callbacks if isinstance(callback, StepClock))
    epoch = step * cli.trainer.num_training_batches * (1 + VALIDATION_COST * data.val_items / max(data.items, 1))
    epochs = int(min(max(seconds / max(epoch, 1e-6), 1), data.most_epochs))
    return epochs - epochs % a_tenth(epochs)


def a_tenth(epochs: int) -> int:
    """Epochs from one of ten validations to the next."""
    return max(epochs // 10, 1)


def steps_per_epoch(data: OwnData, recipe: Mapping[str, Any]) -> int:
    """The number of training steps per epoch; an incomplete last batch is left out, as the loader does."""
    return max(data.items // recipe["data"]["init_args"].get("batch_size", 1), 1)


def interval(epochs: int) -> int:
    """Epochs from one validation to the next, such that the last one is at the end.

    About ten validations for a number of `fitting_epochs`; up to one for each epoch if the user's number has no larger
    divisor.
    """
    return next(step for step in range(a_tenth(epochs), 0, -1) if epochs % step == 0)


def with_epochs(data: OwnData, recipe: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """The recipe with the number of epochs, and what follows from it."""
    lengths = {"max_epochs": epochs, "check_val_every_n_epoch": interval(epochs)}
    trainer = {**recipe["trainer"], **lengths, "enable_model_summary": False}
    if epochs * steps_per_epoch(data, recipe) >= MANY_STEPS:
        trainer["callbacks"] = [{"class_path": "MovingAverage", "init_args": {"decay": 0.99}}]
    arguments = recipe["model"]["init_args"]
    arguments = {**arguments, "optimization": {**arguments["optimization"], **data.for_epochs(epochs)}}
    return {**recipe, "model": {**recipe["model"], "init_args": arguments}, "trainer": trainer}


def options_for(data: OwnData, epochs: int) -> list[str]:
    """The options of `metamixer fit` that give a run another number of epochs."""
    following = [f"--model.optimization.{name}={value}" for name, value in data.for_epochs(epochs).items()]
    return [f"--trainer.max_epochs={epochs}", f"--trainer.check_val_every_n_epoch={interval(epochs)}", *following]


def finished(data: OwnData, cli: TrainingCLI, out: Path, epochs: int) -> Run:
    """The result of a training that has ended."""
    best = next(callback for callback in cli.trainer.checkpoint_callbacks if callback.monitor)
    if best.best_model_score is None:
        raise InputError(f"{out}: the training ended before its first validation; increase --minutes")
    return Run(data, out / "best.ckpt", float(best.best_model_score), epochs)


def run_recipe(recipe: Mapping[str, Any], path: Path) -> TrainingCLI:
    """Write a recipe to `path` and run `metamixer fit` on it."""
    write_text(path, yaml.safe_dump(dict(recipe), sort_keys=False))
    with unnamed(path):
        return run(["fit", "--config", str(path)])
