"""What a training run logs, and what Lightning would print besides."""

import logging
import warnings

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning_utilities.core.imports import RequirementCache


def loggers(folder: str) -> list[Logger]:
    """A CSV logger, and TensorBoard if it is installed."""
    csv = CSVLogger(folder, name="logs")
    return (
        [csv, TensorBoardLogger(folder, name="logs", version=csv.version)] if RequirementCache("tensorboard") else [csv]
    )


def quieten_lightning() -> None:
    """Silence messages that our users can't act on: advertisements, and warnings about our own calls."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # for --trainer.profiler
    for message in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*args parameter is intended to run from within Python.*",
        ".*using the WeightAveraging callback with a model that overrides.*",  # it holds, nothing is sharded
        ".*smaller than the logging interval.*",
        ".*using the WeightAveraging callback, but loading.*",  # our checkpoints have the averaged weights
        ".*isinstance.treespec, LeafSpec.*",
        ".*overridden `on_before_batch_transfer`.*",
    ):
        warnings.filterwarnings("ignore", message=message)
