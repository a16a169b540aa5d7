"""Early stopping on the task's metric."""

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor

from ..errors import InputError


class EarlyStop(EarlyStopping):
    """Stop a training whose metric has not improved for some validations.

    Args:
        monitor: the metric; None: the task's.
        mode: "max" or "min"; None: the metric's, "min" for losses and errors.
        patience: validations without improvement before the stop.
        min_delta: smallest change that counts as an improvement.
    """

    def __init__(
        self, monitor: str | None = None, *, mode: str | None = None, patience: int = 3, min_delta: float = 0.0
    ):
        super().__init__(monitor or "", mode=mode or "min", patience=patience, min_delta=min_delta)
        self.own_mode = mode

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        spec = getattr(pl_module, "spec", None)
        if spec is not None:
            self.monitor = self.monitor or spec.monitor
            mode = self.own_mode or spec.mode_of(self.monitor)
            if mode != self.mode:
                self.mode, self.best_score, self.min_delta = mode, -self.best_score, -self.min_delta
        super().setup(trainer, pl_module, stage)

    def _validate_condition_metric(self, logs: dict[str, Tensor]) -> bool:
        """Of Lightning, which raises a RuntimeError instead."""
        if self.monitor not in logs:
            raise InputError(f"EarlyStop.monitor {self.monitor!r}, expected one of {', '.join(logs)}")
        return True

    @property
    def state_key(self) -> str:
        """The key of Lightning's callback, so that runs of earlier recipes can be resumed."""
        return super().state_key.replace(type(self).__qualname__, "EarlyStopping", 1)
