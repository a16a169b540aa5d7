"""What a recipe leaves open: the monitored metric, validation, and where the weights come from."""

from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace

from ..errors import InputError
from ..models.tasks import TaskSpec


def choose_monitor(checkpoint: Namespace, spec: TaskSpec) -> None:
    """Fill in the task's metric, and the metric's mode, where the options of the best checkpoint name none."""
    if checkpoint.monitor is None and checkpoint.mode not in (None, spec.mode):
        raise InputError(
            f"checkpoint.mode {checkpoint.mode!r} for {spec.monitor}, the task's metric, expected {spec.mode!r}, or "
            "another metric by checkpoint.monitor"
        )
    checkpoint.monitor = checkpoint.monitor or spec.monitor
    checkpoint.mode = checkpoint.mode or spec.mode_of(checkpoint.monitor)


def validate_once(trainer: Namespace) -> None:
    """Validate after the last epoch at the latest, for without a validation there is no best checkpoint."""
    if trainer.check_val_every_n_epoch and trainer.max_epochs and trainer.max_epochs > 0:
        trainer.check_val_every_n_epoch = min(trainer.check_val_every_n_epoch, trainer.max_epochs)


def starts_from_weights(init_args: Mapping[str, Any]) -> bool:
    """Whether all weights of a task's network start from trained ones."""
    if init_args.get("new_classifier") or init_args.get("initial_head") is False:
        return False
    return bool(init_args.get("initial") or (init_args.get("model_args") or {}).get("pretrained"))


def start_bare(init_args: Namespace) -> None:
    """Skip loading initial weights that a checkpoint will replace."""
    for name, value in {
        "initial": None,
        "new_classifier": False,
        "initial_head": True,
        "pretrained_backbone": False,
    }.items():
        if name in init_args:
            init_args[name] = value
    (init_args.get("model_args") or {}).pop("pretrained", None)
