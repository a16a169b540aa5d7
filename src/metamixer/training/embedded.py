"""Lightning's trainer inside a user's program: on one device, quiet, and interruptible."""

import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
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
def quiet_lightning(
    level: int = logging.ERROR, *, messages: Sequence[str] = ("",), module: str = "lightning"
) -> Iterator[None]:
    """Log Lightning's messages from this level on, and ignore warnings by their message (regex) and module."""
    levels = {"lightning.pytorch": level, "lightning.fabric": level}
    levels["lightning.pytorch.profilers"] = logging.INFO  # what --trainer.profiler asks for
    with ExitStack() as stack, warnings.catch_warnings():
        for name, new in levels.items():
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(new)
        for message in messages:
            warnings.filterwarnings("ignore", message=message, module=module)
        yield


@contextmanager
def products_kept() -> Iterator[None]:
    """Restore PyTorch's precision of matrix products."""
    with ExitStack() as stack:
        with suppress(RuntimeError):  # set by PyTorch's newer options, which have no such name
            stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
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
