"""`load`: from a file or name to the predictor of its task."""

from importlib import import_module
from pathlib import Path

from ..checkpoints.source import task_of_source
from ..models.tasks import task_row
from .predictor import Predictor


def load(source: str | Path, *, model: str | None = None, **settings) -> Predictor:
    """The predictor of a file or a name: `load("best.ckpt")("cat.jpg")`, `load("ffnet_sr_nano", scale=2)("cat.jpg")`.

    Args:
        source: a checkpoint, ours or a published one; a file or Hugging Face Hub folder written by `metamixer export`;
            `hf-hub:OWNER/NAME`; or a network's name.
        model: the network's name, needed for published files.
        settings: device, backend, precision, and options of the predictor: `scale` and `memory` of an upscaler or
            restorer; `strength` of a restorer; `positive` of a forecaster; `horizon`, `levels`, `quantiles` and `time`
            of a zero-shot one.

    Raises InputError that names an unreadable or unsuitable source.
    """
    module, name = task_row(task_of_source(source, model), source).predictor.rsplit(".", 1)
    predictor = getattr(import_module(f".{module}", __package__), name)
    return predictor.load(source, model=model, **settings)
