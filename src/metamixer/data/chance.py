"""Random decisions of augmentation, drawn from PyTorch's generator."""

from collections.abc import Sequence

import torch


def happens(probability: float) -> bool:
    """Return True with this probability."""
    return torch.rand(()).item() < probability


def uniform(low: int, high: int) -> int:
    """Draw an integer from low to high, both included."""
    return int(torch.randint(low, high + 1, ()))


def choose(values: Sequence[int]) -> int:
    """Draw one of the values."""
    return values[uniform(0, len(values) - 1)]
