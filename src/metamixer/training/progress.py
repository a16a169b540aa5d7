"""The progress bar of a training run."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeElapsedColumn


class RunProgress(RichProgressBar):
    """A line of at most 80 columns: the epoch, its steps, the loss and the task's metric."""

    def __init__(self):
        super().__init__(theme=RichProgressBarTheme(metrics_text_delimiter=", "))

    @property
    def sanity_check_description(self) -> str:
        return "trying a validation"

    @property
    def validation_description(self) -> str:
        return "validation"

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        return [TextColumn("{task.description}"), BarColumn(bar_width=12), MofNCompleteColumn(), TimeElapsedColumn()]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        found = super().get_metrics(trainer, pl_module)
        spec = getattr(pl_module, "spec", None)
        shown = {"loss": found["train/loss"]} if "train/loss" in found else {}
        if spec and spec.monitor in found:
            shown[spec.metric] = spec.in_units(found[spec.monitor])
        return shown

    def _get_train_description(self, current_epoch: int) -> str:
        epochs = self.trainer.max_epochs
        return f"epoch {current_epoch + 1}" + (f"/{epochs}" if epochs and epochs > 0 else "")
