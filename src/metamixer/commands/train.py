"""metamixer train"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal

from .output import Output
from .progress import working


def train(
    data: str,
    *,
    out: str | None = None,
    minutes: float = 10,
    epochs: int | None = None,
    initial: str | None = None,
    seed: int = 0,
    resume: bool | Literal["auto"] = False,
    missing_values: Sequence[float] = (),
    time: str | None = None,
    horizon: int | None = None,
    json: str | None = None,
    overwrite: bool = False,
) -> None:
    """Train on a folder of your own data; the task, the recipe and the number of epochs follow from the data.

    Args:
        data: a folder with one folder of images per class; images with a COCO JSON file; folders images and masks;
            labeled point clouds; large images, for super-resolution; or a table of time series.
        out: the run folder; default: runs/NAME.
        minutes: approximate time limit in minutes.
        epochs: number of epochs; default: as many as fit into --minutes. A table is then trained on from scratch.
        initial: what to start from: a checkpoint of metamixer, a run folder, the name of packaged weights, or scratch
            for a random initialization; default: the packaged weights for the task, if there are any.
        seed: random seed, also of the split.
        resume: continue the run in --out with its own settings; --epochs may extend it. --resume auto: if there is one,
            else start. The fine-tuning on a table takes less than a minute; it is repeated, with the same result.
        missing_values: numbers that mark a missing value in a table, such as -9999.
        time: the date column of a table to fine-tune on, if it isn't named date, ds, time, timestamp or datetime.
        horizon: steps to forecast, of a table; default: by its frequency, at most an eighth of the rows.
        json: file for the result as JSON; "-" for standard output, with all other lines on standard error.
        overwrite: replace an existing JSON file.
    """
    from ..predictors.own_data import training

    output, folder = Output(json, overwrite=overwrite), training.run_folder(data, out)
    how = {"initial": initial, "epochs": epochs, "resume": resume}
    table = {"missing_values": missing_values, "time": time, "horizon": horizon}
    tunes = training.plan(data, folder, **how).fine_tunes  # other trainings have Lightning's progress bar
    with output.alone(), working("fine-tuning") if tunes else nullcontext():
        trained = training.train(data, out=folder, minutes=minutes, seed=seed, **table, **how)
    output.say(trained)
    output.end(trained.to_dict(), then=trained.next_command)
