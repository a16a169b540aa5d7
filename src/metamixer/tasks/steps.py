"""What a training step has in common in every task."""

from collections.abc import Mapping
from types import MappingProxyType

from lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..errors import InputError


def refuse_infinite(loss: Tensor, task: LightningModule, *, parts: Mapping[str, Tensor] = MappingProxyType({})) -> None:
    """Raises InputError that names the step for a loss that is no finite number, and the losses of which it is the sum."""
    if not loss.isfinite():
        values = ", ".join(f"{name} {value.item():.3g}" for name, value in parts.items())
        place = "; ".join(filter(None, [f"epoch {task.current_epoch}", values]))
        raise InputError(
            f"training loss is {loss.item()} at step {task.global_step} ({place}), expected a finite number: "
            "stopped; the last checkpoint is from before it; try a lower learning rate"
        )


def steps_of(task: LightningModule) -> tuple[int, float]:
    """Steps of the whole training, and of an epoch."""
    steps = int(task.trainer.estimated_stepping_batches)
    return steps, steps / max(task.trainer.max_epochs or 1, 1)


def every_step(optimizer: Optimizer, scheduler: LRScheduler) -> dict:
    """For Lightning: an optimiser, and its schedule that goes on with every step."""
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
