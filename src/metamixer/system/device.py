"""The type in which a network computes, by name."""

import torch

from ..errors import InputError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def find_precision(name: str) -> torch.dtype:
    """The type of a name; raises InputError for others."""
    if name not in PRECISIONS:
        raise InputError(f"precision {name!r}, expected one of {', '.join(PRECISIONS)}")
    return PRECISIONS[name]


def computing_in(precision: torch.dtype, device: torch.device) -> torch.autocast:
    """Where convolutions and matrix products are of that type, and the rest as PyTorch holds to be exact enough."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)
