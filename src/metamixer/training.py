"""Training and evaluation from YAML recipes, on Lightning's command line."""

import os
import warnings
from pathlib import Path

import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning_utilities.core.imports import RequirementCache

from . import data, tasks  # noqa: F401  their classes can be named in a recipe without a path
from .allocator import keep_freed_memory
from .errors import InputError


class TrainingCLI(LightningCLI):
    """Lightning's command line with one folder for all that a run writes, and `--resume`."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--out", type=str, default="runs/latest", help="folder for checkpoints, logs and the configuration")
        parser.add_argument("--resume", type=bool, default=False, help="go on from the last checkpoint in --out")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.filename": "best",
                "checkpoint.monitor": "val/top1",
                "checkpoint.mode": "max",
                "checkpoint.save_last": True,
                "checkpoint.enable_version_counter": False,
            }
        )

    def before_instantiate_classes(self) -> None:
        config = self.config[self.config.subcommand]
        config.checkpoint.dirpath = config.out
        config.trainer.default_root_dir = config.out
        last = Path(config.out, "last.ckpt")
        if self.config.subcommand != "fit":
            config.trainer.logger = False
            if not config.ckpt_path and last.with_name("best.ckpt").is_file():
                config.ckpt_path = str(last.with_name("best.ckpt"))
        elif config.resume:
            if not last.is_file():
                raise InputError(f"{last}: no such file, expected the checkpoint to resume from")
            config.ckpt_path = str(last)
        if config.ckpt_path and not Path(config.ckpt_path).is_file():
            raise InputError(f"{config.ckpt_path}: no such file, expected a checkpoint")

    def instantiate_trainer(self, **kwargs):
        config = self.config[self.config.subcommand]
        if config.trainer.logger is None:
            kwargs["logger"] = loggers(config.out)
        return super().instantiate_trainer(**kwargs)


class SaveConfigInRun(SaveConfigCallback):
    """The configuration beside the checkpoints, where `metamixer draw` reads it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs, save_to_log_dir=False)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            path = Path(trainer.default_root_dir, self.config_filename)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.parser.save(self.config, path, skip_none=False, overwrite=True, multifile=self.multifile)


def loggers(folder: str) -> list[Logger]:
    """CSV always, TensorBoard where it is installed."""
    csv = CSVLogger(folder, name="logs")
    return [csv, TensorBoardLogger(folder, name="logs", version=csv.version)] if RequirementCache("tensorboard") else [csv]


def use_fast_settings() -> None:
    """What a process that trains can set without another result: see `benchmarks/training_step.py`."""
    keep_freed_memory()
    torch.set_float32_matmul_precision("high")


def run(arguments: list[str]) -> TrainingCLI:
    """`fit`, `validate` or `test` with their arguments."""
    use_fast_settings()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    return TrainingCLI(
        LightningModule,
        LightningDataModule,
        args=arguments,
        subclass_mode_model=True,
        subclass_mode_data=True,
        seed_everything_default=0,
        save_config_callback=SaveConfigInRun,
        save_config_kwargs={"overwrite": True},
        parser_kwargs={"prog": "metamixer"},
    )
