"""Training on data of one's own, up to the predictor."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..models.tasks import TASKS, TaskSpec
from ..training.own_data.training import fit
from .loading import load
from .predictor import Predictor


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    checkpoint: the best weights; metric: the task's metric of them on the validation part; epochs: how many.
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
        """What one might do with it."""
        spec = TASKS[self.task.name]
        what = {"points": "CLOUDS", "forecast": "TABLE"}.get(spec.command, "IMAGES")
        out = {"predict": "", "forecast": " --out forecast.csv"}.get(spec.command, " --out results")
        return f"metamixer {spec.command} {what} --checkpoint {self.checkpoint}{out}"

    def __str__(self) -> str:
        name = self.task.monitor.removeprefix("val/")
        return f"{name} {self.metric:.4g} on the validation part ({self.val_items}), weights in {self.checkpoint}"


def train(
    data: str | Path,
    *,
    out: str | Path | None = None,
    minutes: float = 10,
    epochs: int | None = None,
    initial: str | None = None,
    seed: int = 0,
) -> Trained:
    """Train on a folder of one's own data: `train("flowers", minutes=5).predictor("rose.jpg")`.

    Args:
        data: a folder with a folder of images for each class; images with a COCO json; folders images and masks;
            labelled clouds; large images, for super-resolution; or a table of series.
        out: the run's folder; None: runs/NAME.
        minutes: about how long it may take.
        epochs: how many; None: what fits into the minutes.
        initial: a checkpoint of ours to start from; None: the package's weights for the task, where it has some.
        seed: of everything random, the split too.

    Raises InputError that names what can't be used.
    """
    out = Path("runs", Path(data).resolve().stem) if out is None else Path(out)
    run = fit(data, out, minutes=minutes, epochs=epochs, initial=initial, seed=seed)
    return Trained(run.data.task, run.checkpoint, run.metric, run.data.val_items, run.epochs)
