"""Training and evaluation from YAML recipes, on Lightning's command line."""

import copy
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError, Namespace
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning_utilities.core.imports import RequirementCache

from .. import data, tasks  # noqa: F401  their classes can be named in a recipe without a path
from ..checkpoints.ours import expect_training_checkpoint
from ..errors import USAGE_ERROR, InputError, InputWarning, first_line
from ..system.allocator import keep_freed_memory
from ..system.machine import computes_bfloat16
from ..tasks.task import Task
from .embedded import interrupts_kept
from .run_folder import SaveConfigInRun, WholeCheckpointIO

SECONDS_TO_END = 5
"""A process that has failed takes to let Python end."""


class TrainingCLI(LightningCLI):
    """Lightning's command line with one folder for all that a run writes, and `--resume`."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--out", type=str, default="runs/latest", help="folder for checkpoints, logs and the configuration")
        parser.add_argument("--resume", type=bool, default=False, help="go on from the last checkpoint in --out")
        parser.add_argument("--horizon", type=int, help="steps to forecast; --out then ends in it")
        parser.add_argument("--at_horizon", type=dict[int, dict[str, Any]], default={}, help="what a recipe changes at a horizon")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(ModelCheckpoint, "last_checkpoint")
        parser.set_defaults(
            {
                "checkpoint.filename": "best",
                "checkpoint.monitor": "val/top1",
                "checkpoint.mode": "max",
                "checkpoint.enable_version_counter": False,
                # Lightning's save_last is written only when "best" is, which can be long before a run was stopped.
                "last_checkpoint.filename": "last",
                "last_checkpoint.save_on_train_epoch_end": True,
                "last_checkpoint.enable_version_counter": False,
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
        self.words = list(args)
        super().parse_arguments(parser, args)

    def _parse_ckpt_path(self) -> None:
        """Lightning looks into the checkpoint for settings before anything else does."""
        path = self.config[self.config.subcommand].get("ckpt_path")
        if path and Path(path).is_file():
            expect_training_checkpoint(path)
        super()._parse_ckpt_path()

    def before_instantiate_classes(self) -> None:
        config = self.config[self.config.subcommand]
        config.checkpoint.dirpath = config.last_checkpoint.dirpath = config.out
        config.trainer.default_root_dir = config.out
        last = Path(config.out, "last.ckpt")
        if self.config.subcommand != "fit":
            config.trainer.logger = False
            named = any(word.startswith(("--model.initial", "--model.init_args.initial")) for word in self.words)
            if not config.ckpt_path and not named and last.with_name("best.ckpt").is_file():
                config.ckpt_path = str(last.with_name("best.ckpt"))
        elif config.resume:
            if not last.is_file():
                raise InputError(f"{last}: no such file, expected the checkpoint to resume from")
            config.ckpt_path = str(last)
        if config.ckpt_path and not Path(config.ckpt_path).is_file():
            raise InputError(f"{config.ckpt_path}: no such file, expected a checkpoint")

    def instantiate_classes(self) -> None:
        config = self.config[self.config.subcommand]
        if config.trainer.accelerator in ("gpu", "cuda", "mps") and not torch.accelerator.is_available():
            raise InputError(
                f"trainer.accelerator {config.trainer.accelerator!r}: none is here, "
                "expected --trainer.accelerator cpu --trainer.devices 1 --trainer.strategy auto"
            )
        asked = copy.deepcopy(config.model.init_args)
        if config.ckpt_path:
            start_bare(config.model.init_args)
        elif self.config.subcommand != "fit" and not starts_from_weights(config.model.init_args):
            best = Path(config.out, "best.ckpt")
            raise InputError(f"{best}: no such file, expected a checkpoint there, or one that --ckpt_path or --model.initial names")
        super().instantiate_classes()
        if self.config.subcommand == "fit":
            config.model.init_args = asked  # for config.yaml, which tells the whole run
        if config.ckpt_path and isinstance(self.model, Task):
            expect_training_checkpoint(config.ckpt_path, self.model.network)
        if self.config.subcommand != "fit":
            print(f"weights: {config.ckpt_path or config.model.init_args.get('initial') or 'the published ones'}")

    def instantiate_trainer(self, **kwargs):
        config = self.config[self.config.subcommand]
        if config.trainer.logger is None:
            kwargs["logger"] = loggers(config.out)
        plugins = self.config_init[self.config.subcommand].trainer.plugins or []
        kwargs["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), WholeCheckpointIO()]
        trainer = super().instantiate_trainer(**kwargs)
        if trainer.precision.startswith("bf16") and trainer.strategy.root_device.type == "cpu" and not computes_bfloat16():
            warnings.warn(
                f"trainer.precision {trainer.precision!r}: this processor has no instructions for bfloat16 and emulates it, "
                "much slower than float32; --trainer.precision 32-true trains the same network",
                InputWarning,
                stacklevel=2,
            )
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        """An interrupted run says how it goes on."""
        try:
            with interrupts_kept():
                super()._run_subcommand(subcommand)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(*self._way_on()) from None

    def _way_on(self) -> list[str]:
        """What an interrupted run tells; nothing where it has left nothing to go on from."""
        trained = self.config.subcommand == "fit" and self.trainer.global_step > 0
        return ["go on with --resume true"] if trained and Path(self.trainer.default_root_dir, "last.ckpt").is_file() else []


class EndTogether(Callback):
    """Where one process of several fails, all end; they would wait for it without end.

    Raises InputError where this process fails only because one that it started has met with wrong input and said so.
    """

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        launcher = trainer.strategy.launcher
        if launcher is None or not isinstance(exception, Exception):  # of interrupts Lightning takes care
            return
        started = list(launcher.procs)
        launcher.procs.clear()  # or Lightning's observer, which finds them dead, kills this process before it has said why
        refused = not isinstance(exception, InputError) and any(ends_by_usage_error(process) for process in started)
        for process in started:
            process.kill()
        if refused:
            raise InputError("another process of this run ended by the error above") from None


def ends_by_usage_error(process: Popen) -> bool:
    """Does a process that may be at its end say of it that its input was wrong?"""
    try:
        return process.wait(SECONDS_TO_END) == USAGE_ERROR
    except TimeoutExpired:
        return False


def starts_from_weights(init_args: Mapping[str, Any]) -> bool:
    """Does all of a task's network begin with weights that somebody trained?"""
    if init_args.get("new_classifier") or init_args.get("initial_head") is False:
        return False
    return bool(init_args.get("initial") or (init_args.get("model_args") or {}).get("pretrained"))


def start_bare(init_args: Namespace) -> None:
    """Weights that a checkpoint will take the place of are neither looked for nor fetched."""
    for name, value in {"initial": None, "new_classifier": False, "initial_head": True, "pretrained_backbone": False}.items():
        if name in init_args:
            init_args[name] = value
    (init_args.get("model_args") or {}).pop("pretrained", None)


def expand_horizon(arguments: list[str]) -> list[str]:
    """`--horizon N` as the settings that it stands for: of model, data and --out, and what the recipe changes at this horizon.

    They come right behind the recipe, so that whatever the command line says behind it still counts.
    """
    arguments = list(in_two_words(arguments))
    recipes = [argument for flag, argument in pairwise(arguments) if flag == "--config"]
    horizons = [argument for flag, argument in pairwise(arguments) if flag == "--horizon"]
    if not recipes or not horizons:
        return arguments
    recipe, horizon = read_yaml(Path(recipes[-1])), horizons[-1]
    if not isinstance(recipe, dict) or not horizon.isdigit():
        raise InputError(f"--horizon {horizon}, expected a number of steps and a recipe for forecasting")
    changes = recipe.get("at_horizon", {}).get(int(horizon), {})
    settings = {"out": f"{recipe.get('out', 'runs/latest')}_{horizon}", "model.horizon": horizon, "data.horizon": horizon, **changes}
    expanded = [f"--{key}={value}" for key, value in settings.items()]
    end = len(arguments) - arguments[::-1].index("--config") + 1
    return [*arguments[:end], *expanded, *arguments[end:]]


def in_two_words(arguments: Iterable[str]) -> Iterator[str]:
    """`--config=FILE`, `-c FILE` and `--horizon=N` as `--config FILE` and `--horizon N`; all else as it is."""
    for argument in arguments:
        name, assigned, value = argument.partition("=")
        name = "--config" if name == "-c" else name
        if name in ("--config", "--horizon"):
            yield name
            if assigned:
                yield value
        else:
            yield argument


def read_yaml(path: Path) -> Any:
    """The content of a YAML file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a recipe")
    try:
        return yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not readable as YAML ({first_line(error)})") from None


def loggers(folder: str) -> list[Logger]:
    """CSV always, TensorBoard where it is installed."""
    csv = CSVLogger(folder, name="logs")
    return [csv, TensorBoardLogger(folder, name="logs", version=csv.version)] if RequirementCache("tensorboard") else [csv]


def quieten_lightning() -> None:
    """Leave out what a user of ours can't act on: advertisements, and remarks on our own calls."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # what --trainer.profiler asks for
    for message in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*args parameter is intended to run from within Python.*",
        ".*using the WeightAveraging callback, but loading.*",  # our checkpoints hold the averaged weights
        ".*isinstance.treespec, LeafSpec.*",
        ".*overridden `on_before_batch_transfer`.*",
    ):
        warnings.filterwarnings("ignore", message=message)


def use_fast_settings() -> None:
    """What a process that trains can set without another result: see `benchmarks/training_step.py`."""
    keep_freed_memory()
    torch.set_float32_matmul_precision("high")


def run(arguments: list[str]) -> TrainingCLI:
    """`fit`, `validate` or `test` with their arguments."""
    use_fast_settings()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    quieten_lightning()
    try:
        return TrainingCLI(
            LightningModule,
            LightningDataModule,
            args=expand_horizon(arguments),
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_defaults={"callbacks": EndTogether()},
            seed_everything_default=0,
            save_config_callback=SaveConfigInRun,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={
                "prog": "metamixer",
                "exit_on_error": False,
                **{name: {"exit_on_error": False} for name in TrainingCLI.subcommands()},
            },
        )
    except ArgumentError as error:
        raise InputError(" ".join(str(error).split()) + f"; metamixer {arguments[0]} --help tells more") from None
    except MisconfigurationException as error:
        raise InputError(f"trainer: {' '.join(str(error).split())}") from None
    except ValueError as error:
        # jsonargparse wraps what a class said while it was built in a list of all that it tried.
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, TypeError):  # a keyword that the network named in the recipe doesn't have
            raise InputError(str(error.__cause__)) from None
        raise
    except OSError as error:
        raise InputError(f"{error.filename or 'a file of the run'}: can't be read or written ({error.strerror or error})") from None
