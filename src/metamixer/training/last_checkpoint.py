"""`last.ckpt`, from which a stopped run continues exactly."""

import signal
import threading
import time
from datetime import timedelta
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""Sent by schedulers before they kill a job."""

BATCHES_BETWEEN_VOTES = 8
"""How often several processes agree on whether to save; each vote is a collective operation."""


class LastCheckpoint(ModelCheckpoint):
    """Save a run at the end of each epoch, within epochs by steps and by time, and on a signal to stop.

    Within an epoch, the state is complete only after an optimizer step that no validation follows: no gradient is half
    accumulated, and no validation is skipped on resuming. A checkpoint that is due earlier waits for such a step.

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
        """The key of Lightning's callback, as in earlier checkpoints."""
        return super().state_key.replace(type(self).__qualname__, "ModelCheckpoint", 1)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.seen_step, self.saved_at = trainer.global_step, time.monotonic()
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:  # Lightning restores the earlier handlers
                signal.signal(number, lambda *_: self._ask_to_stop(trainer))

    def _ask_to_stop(self, trainer: Trainer) -> None:
        self.stop_asked = True
        if trainer.validating:  # a validation is repeated on resuming
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
            trainer._signal_connector.received_sigterm = True  # ends the run after this batch

    def _any_process(self, trainer: Trainer, asked: bool) -> bool:
        return trainer.strategy.reduce_boolean_decision(asked, all=False)
