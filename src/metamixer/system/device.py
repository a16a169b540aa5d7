"""Where a network computes and in which type, by name."""

import torch

from ..errors import InputError
from .machine import computes_bfloat16, warn_of_emulation

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def find_precision(name: str) -> torch.dtype:
    """The type of a name; raises InputError for others."""
    if name not in PRECISIONS:
        raise InputError(f"precision {name!r}, expected one of {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


def computing_in(precision: torch.dtype, device: torch.device) -> torch.autocast:
    """Where convolutions and matrix products are of that type, and the rest as PyTorch holds to be exact enough."""
    if precision == torch.bfloat16 and device.type == "cpu" and not computes_bfloat16():
        warn_of_emulation("precision 'bf16'", "fp32 is faster and more exact")
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def find_device(name: str) -> torch.device:
    """A device by name, such as cpu or cuda:1; raises InputError for one that is not here."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    here = ["cpu", *([accelerator.type] if accelerator else [])]
    try:
        device = torch.device(name)
        if device.type in here:
            torch.empty(0, device=device)
            return device
    except RuntimeError:
        pass
    raise InputError(f"device {name!r}, expected one that is here: {', '.join(here)}")
