"""Devices and precisions by name."""

import torch

from ..errors import InputError
from .machine import computes_bfloat16, warn_of_emulation

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def find_precision(name: str) -> torch.dtype:
    """The dtype of a precision; raises InputError for unknown names."""
    if name not in PRECISIONS:
        raise InputError(f"precision {name!r}, expected one of {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


def computing_in(precision: torch.dtype, device: torch.device) -> torch.autocast:
    """Autocast to a precision, which PyTorch applies where it is accurate enough, e.g. to convolutions."""
    if precision == torch.bfloat16 and device.type == "cpu" and not computes_bfloat16():
        warn_of_emulation("precision 'bf16'", "fp32 is faster and more accurate")
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def find_device(name: str) -> torch.device:
    """Find a device by name, such as cpu or cuda:1; raises InputError if it isn't available."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    here = ["cpu", *([accelerator.type] if accelerator else [])]
    try:
        device = torch.device(name)
        if device.type in here:
            torch.empty(0, device=device)
            return device
    except RuntimeError:
        pass
    raise InputError(f"device {name!r} is not available; choose from: {', '.join(here)}")
