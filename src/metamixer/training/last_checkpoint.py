"""`last.ckpt`, from which a stopped run goes on exactly where it was."""

import signal
import threading
import time
from datetime import timedelta
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What schedulers send some time before they kill a job."""

BATCHES_BETWEEN_VOTES = 8
"""Several processes agree on saving only so often: it takes a message to all of them."""


class LastCheckpoint(ModelCheckpoint):
    """Save the run at the end of each epoch, within epochs by steps and by time, and before a stop that is asked for.

    Within an epoch the run is saved right after an optimizer step that no validation follows; what is due earlier waits
    for one. The state is then complete: gradients are used up, and the best checkpoint has seen all validations.

    Args:
        every_n_train_steps: optimizer steps between two checkpoints within an epoch; None: not by steps.
        every_minutes: minutes between two checkpoints; 0: not by time.
        train_time_interval: the same as a duration; overrides `every_minutes`.
    """

    def __init__(
        self,
        *,
        every_n_train_steps: int | None = None,
        every_minutes: float = 15,
        train_time_interval: timedelta | None = None,
        **settings: Any,
    ):
        super().__init__(**settings)
        self.steps = every_n_train_steps
        self.seconds = train_time_interval.total_seconds() if train_time_interval else 60 * every_minutes
        self.due = self.stop_asked = False
        self.seen_step = 0
        self.saved_at = 0.0

    @property
    def state_key(self) -> str:
        """The same as Lightning's own, which earlier checkpoints have."""
        return super().state_key.replace(type(self).__qualname__, "ModelCheckpoint", 1)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.seen_step, self.saved_at = trainer.global_step, time.monotonic()
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:  # Lightning puts back what was there before
                signal.signal(number, lambda *_: self._ask_to_stop(trainer))

    def _ask_to_stop(self, trainer: Trainer) -> None:
        self.stop_asked = True
        if trainer.validating:  # what there is to save was saved before
            trainer._signal_connector.received_sigterm = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        stepped, self.seen_step = trainer.global_step != self.seen_step, trainer.global_step
        if stepped and self.steps and trainer.global_step % self.steps == 0:
            self.due = True
        if trainer.world_size == 1 or batch_idx % BATCHES_BETWEEN_VOTES == 0:
            self.due = self._any_process(trainer, self.due or self.stop_asked or self._is_time())
        loop = trainer.fit_loop.epoch_loop
        validates = loop._should_check_val_fx(trainer.fit_loop._data_fetcher)
        if self.due and stepped and not trainer.is_last_batch and not validates:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        self._after_saving(trainer)

    def _is_time(self) -> bool:
        return 0 < self.seconds <= time.monotonic() - self.saved_at

    def _save(self, trainer: Trainer) -> None:
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
        self._after_saving(trainer)

    def _after_saving(self, trainer: Trainer) -> None:
        self.due, self.saved_at = False, time.monotonic()
        if self._any_process(trainer, self.stop_asked):
            trainer._signal_connector.received_sigterm = True  # Lightning ends the run after this batch

    def _any_process(self, trainer: Trainer, asked: bool) -> bool:
        return trainer.strategy.reduce_boolean_decision(asked, all=False)
