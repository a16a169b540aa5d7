"""Training and evaluation from YAML recipes, based on LightningCLI."""

import copy
import logging
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import ArgumentError
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from .. import tasks  # noqa: F401  its classes can be named in a recipe without a path
from ..checkpoints.ours import expect_training_checkpoint
from ..data import import_all
from ..errors import InputError, expect_seed, printable
from ..models.tasks import CLASSIFICATION
from ..system.allocator import keep_freed_memory
from ..system.machine import computes_bfloat16, warn_of_emulation
from ..tasks.task import Task
from .embedded import interrupts_kept, products_kept, quiet_lightning
from .end_together import EndTogether
from .horizon import expand_horizon, expect_forecasting, model_class
from .last_checkpoint import LastCheckpoint
from .logs import ADVICE, loggers
from .messages import plain
from .norms import SynchronizedNorms, expect_gpus
from .open_settings import choose_monitor, start_bare, starts_from_weights, validate_once
from .progress import RunProgress
from .recipe_checks import built_from_settings, check_recipes, naming_recipes, recipes_in
from .recipes import with_recipes
from .run_folder import SaveConfigInRun, WholeCheckpointIO, drop_empty_run, locked

PARSING = {"exit_on_error": False, "allow_abbrev": False}
"""Settings of every parser: raise errors instead of exiting; no abbreviated options."""


class TrainingCLI(LightningCLI):
    """LightningCLI with one folder for all output of a run, and with `--resume`."""

    def __init__(self, *classes: type, args: list[str], **settings: Any):
        self.command = args[0]
        super().__init__(*classes, args=args, **settings)

    def subcommands(self) -> dict[str, set[str]]:
        """The given command alone: Lightning would build the parsers of all four, which doubles the time to start."""
        return {self.command: super().subcommands()[self.command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--out", type=str, default="runs/latest", help="folder for checkpoints, logs and the configuration"
        )
        parser.add_argument(
            "--resume",
            type=bool | Literal["auto"],
            default=False,
            help="resume from the last checkpoint in --out; auto: if there is one, else start",
        )
        parser.add_argument("--horizon", type=int, help="forecasting: steps to forecast; appended to --out")
        changes = "forecasting: settings of the recipe that differ at a horizon"
        parser.add_argument("--at_horizon", type=dict[int, dict[str, Any]], default={}, help=changes)
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.set_defaults(
            {
                "checkpoint.filename": "best",
                "checkpoint.monitor": None,  # the task's, with its mode
                "checkpoint.mode": None,
                "checkpoint.enable_version_counter": False,
                # Lightning's save_last is written only together with "best", which may be long before a run stops.
                "last_checkpoint.filename": "last",
                "last_checkpoint.save_on_train_epoch_end": True,
                "last_checkpoint.enable_version_counter": False,
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
        self.words = list(args)
        try:
            with built_from_settings():
                super().parse_arguments(parser, args)
        except ArgumentError as error:
            if "required" in str(error) and not recipes_in(args):
                raise InputError(f"{args[0]}: no recipe, expected --config RECIPE, such as --config digits") from None
            options = self._subcommand_parsers[args[0]]._option_string_actions
            raise InputError(f"{plain(str(error), options)}; see metamixer {args[0]} --help") from None
        seed = self.config[self.config.subcommand].get("seed_everything")
        if not isinstance(seed, bool | None):
            expect_seed("seed_everything", seed)

    def _parse_ckpt_path(self) -> None:
        """Judge the checkpoint before anything else looks into it.

        Lightning would merge the `hyper_parameters` in it into the recipe, which names classes, functions and paths; a
        checkpoint of ours sets weights and state alone.
        """
        path = self.config[self.config.subcommand].get("ckpt_path")
        if path and Path(path).is_file():
            expect_training_checkpoint(path)

    def before_instantiate_classes(self) -> None:
        with built_from_settings():
            self.settle()

    def settle(self) -> None:
        """What the settings leave open, and what they can't be."""
        config = self.config[self.config.subcommand]
        model = model_class(config.model.class_path)
        for option in ("horizon", "at_horizon"):
            if config[option]:
                expect_forecasting(model, f"{option} {config[option]}")
        choose_monitor(config.checkpoint, getattr(model, "spec", CLASSIFICATION))
        validate_once(config.trainer)
        config.checkpoint.dirpath = config.last_checkpoint.dirpath = config.out
        config.trainer.default_root_dir = config.out
        self.is_new = not Path(config.out).exists()
        last = Path(config.out, "last.ckpt")
        if self.config.subcommand != "fit":
            config.trainer.logger = False
            named = any(word.startswith(("--model.initial", "--model.init_args.initial")) for word in self.words)
            if not config.ckpt_path and not named and last.with_name("best.ckpt").is_file():
                config.ckpt_path = str(last.with_name("best.ckpt"))
        elif config.resume and last.is_file():
            config.ckpt_path = str(last)
        elif config.resume and config.resume != "auto":
            raise InputError(f"{last}: no such file, expected the checkpoint to resume from")
        if config.ckpt_path and not Path(config.ckpt_path).is_file():
            raise InputError(f"{config.ckpt_path}: no such file, expected a checkpoint")

    def instantiate_classes(self) -> None:
        with built_from_settings():
            self.build()

    def build(self) -> None:
        """Task, data and trainer."""
        config = self.config[self.config.subcommand]
        if config.trainer.accelerator in ("gpu", "cuda", "mps") and not torch.accelerator.is_available():
            raise InputError(
                f"trainer.accelerator {config.trainer.accelerator!r} is not available; use "
                "--trainer.accelerator cpu --trainer.devices 1 --trainer.strategy auto"
            )
        asked = copy.deepcopy(config.model.init_args)
        if config.ckpt_path:
            start_bare(config.model.init_args)
        elif self.config.subcommand != "fit" and not starts_from_weights(config.model.init_args):
            best = Path(config.out, "best.ckpt")
            raise InputError(
                f"{best}: no such file, expected a checkpoint there, or one given by --ckpt_path or --model.initial"
            )
        super().instantiate_classes()  # of Lightning
        if self.config.subcommand == "fit":
            config.model.init_args = asked  # for config.yaml, which describes the whole run
        if config.ckpt_path and isinstance(self.model, Task):
            expect_training_checkpoint(config.ckpt_path, self.model.network)
        if self.config.subcommand != "fit":
            print(printable(f"weights: {self.weights}"))

    @property
    def weights(self) -> str:
        """What is evaluated."""
        config = self.config[self.config.subcommand]
        return str(config.ckpt_path or config.model.init_args.get("initial") or "the published ones")

    def instantiate_trainer(self, **kwargs):
        config = self.config[self.config.subcommand]
        if config.trainer.logger is None:
            kwargs["logger"] = loggers(config.out)
        given = self.config_init[self.config.subcommand].trainer
        kwargs["plugins"] = [*as_list(given.plugins), WholeCheckpointIO()]
        if given.sync_batchnorm:
            kwargs["plugins"].append(SynchronizedNorms())
        callbacks = as_list(given.callbacks)
        has_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
        if config.trainer.enable_progress_bar is not False and not has_bar:
            kwargs["callbacks"] = [*callbacks, RunProgress()]
        trainer = super().instantiate_trainer(**kwargs)
        if given.sync_batchnorm:
            expect_gpus(trainer)
        if (
            trainer.precision.startswith("bf16")
            and trainer.strategy.root_device.type == "cpu"
            and not computes_bfloat16()
        ):
            warn_of_emulation(f"trainer.precision {trainer.precision!r}", "use --trainer.precision 32-true")
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        with self._own_folder():
            self._run_in_folder(subcommand)

    def _run_in_folder(self, subcommand: str) -> None:
        """Run; after an interruption, print how to resume; remove the folder of a run that fails immediately."""
        try:
            with interrupts_kept():
                super()._run_subcommand(subcommand)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(*self._way_on()) from None
        except Exception as error:
            if self._workers_were_ended(error):
                raise KeyboardInterrupt(*self._way_on()) from None
            if subcommand == "fit" and self.is_new and self.trainer.is_global_zero:
                drop_empty_run(Path(self.trainer.default_root_dir))
            raise

    def _workers_were_ended(self, error: Exception) -> bool:
        """Whether a scheduler ended the workers together with this process, which PyTorch reports as their failure."""
        last = (callback for callback in self.trainer.callbacks if isinstance(callback, LastCheckpoint))
        asked = "killed by signal: Terminated" in str(error) or any(callback.stop_asked for callback in last)
        return asked and "DataLoader worker" in str(error)

    def _own_folder(self) -> AbstractContextManager[None]:
        """Lock the folder of a training run, in the first of several processes."""
        trains = self.config.subcommand == "fit" and self.trainer.is_global_zero
        return locked(Path(self.trainer.default_root_dir)) if trains else nullcontext()

    def _way_on(self) -> list[str]:
        """The hint of an interrupted run; empty if there is no checkpoint to resume from."""
        trained = self.config.subcommand == "fit" and self.trainer.global_step > 0
        return (
            ["continue with --resume"] if trained and Path(self.trainer.default_root_dir, "last.ckpt").is_file() else []
        )


def as_list(setting: Any) -> list[Any]:
    """A setting of Lightning's trainer that is None, a value or a list."""
    return setting if isinstance(setting, list) else [] if setting is None else [setting]


def use_fast_settings() -> None:
    """Faster settings (`benchmarks/training_step.py`); float32 products on a GPU are TF32, with 10 bits of mantissa."""
    keep_freed_memory()
    torch.set_float32_matmul_precision("high")


def run(arguments: list[str]) -> TrainingCLI:
    """Run `fit`, `validate` or `test` with their arguments."""
    arguments = list(with_recipes(arguments))
    check_recipes(arguments)
    with naming_recipes(arguments), products_kept(), quiet_lightning(logging.WARNING, messages=ADVICE, module=""):
        return _run(arguments)


def _run(arguments: list[str]) -> TrainingCLI:
    import_all()
    use_fast_settings()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        return TrainingCLI(
            LightningModule,
            LightningDataModule,
            args=expand_horizon(arguments),
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_defaults={"callbacks": EndTogether(), "enable_model_summary": False},
            seed_everything_default=0,
            save_config_callback=SaveConfigInRun,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"prog": "metamixer", **PARSING, arguments[0]: PARSING},
        )
    except ArgumentError as error:
        raise InputError(" ".join(str(error).split()) + f"; see metamixer {arguments[0]} --help") from None
    except MisconfigurationException as error:
        raise InputError(f"trainer: {' '.join(str(error).split())}") from None
    except ValueError as error:
        # jsonargparse wraps errors of constructors in a list of all attempts.
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, TypeError):  # an unknown keyword of the recipe's network
            raise InputError(str(error.__cause__)) from None
        raise
    except OSError as error:
        raise InputError(
            f"{error.filename or 'a file of the run'}: can't be read or written ({error.strerror or error})"
        ) from None
