"""Lightning's trainer inside a user's program: on one device, quiet, and interruptible."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException


def trainer_place(device: torch.device) -> dict[str, Any]:
    """The Trainer arguments for a device."""
    if device.type == "cpu":
        return {"accelerator": "cpu", "devices": 1}
    return {"accelerator": "auto", "devices": 1 if device.index is None else [device.index]}


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's hints on devices, loaders and folders."""
    loggers = [
        logging.getLogger(name)
        for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric")
    ]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def settings_kept() -> Iterator[None]:
    """Restore PyTorch's precision of matrix products, Lightning's log levels and the filters of warnings."""
    with ExitStack() as stack, warnings.catch_warnings():
        with suppress(RuntimeError):  # set by PyTorch's newer options, which have no such name
            stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.profilers"):
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
        yield


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Raise KeyboardInterrupt after an interrupt or SIGTERM, at which Lightning would exit the process."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop, SIGTERMException) and not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)  # Lightning makes the process ignore further interrupts
        raise KeyboardInterrupt from None
