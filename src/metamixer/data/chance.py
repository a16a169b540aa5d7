"""Chances of a random change, by PyTorch's generator."""

from collections.abc import Sequence

import torch


def happens(probability: float) -> bool:
    """True with this probability, by PyTorch's generator."""
    return torch.rand(()).item() < probability


def uniform(low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, ()))


def choose(values: Sequence[int]) -> int:
    """One of the values."""
    return values[uniform(0, len(values) - 1)]
