"""What a training run logs, and which of Lightning's warnings it ignores."""

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning_utilities.core.imports import RequirementCache

ADVICE = (
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*args parameter is intended to run from within Python.*",
    ".*using the WeightAveraging callback with a model that overrides.*",  # it holds, nothing is sharded
    ".*smaller than the logging interval.*",
    ".*using the WeightAveraging callback, but loading.*",  # our checkpoints have the averaged weights
    ".*isinstance.treespec, LeafSpec.*",
    ".*overridden `on_before_batch_transfer`.*",
)
"""Warnings that our users can't act on: advertisements, and advice about our own calls."""


def loggers(folder: str) -> list[Logger]:
    """A CSV logger, and TensorBoard if it is installed."""
    csv = CSVLogger(folder, name="logs")
    return (
        [csv, TensorBoardLogger(folder, name="logs", version=csv.version)] if RequirementCache("tensorboard") else [csv]
    )
