"""Random tensors with a row for each series, and mixtures of random processes over the rows."""

import copy
import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Process = Callable[..., Tensor]
"""(chance, length, ...) -> (B, L)."""


class Chance:
    """Random tensors from one generator, on its device; `rows` is the batch size."""

    def __init__(self, seed: int, rows: int, device: torch.device | str = "cpu"):
        self.generator = torch.Generator(device).manual_seed(seed)
        self.rows, self.device = rows, torch.device(device)

    def uniform(self, low: float = 0.0, high: float = 1.0, *, columns: int = 1) -> Tensor:
        """(B, columns)."""
        return torch.rand(self.rows, columns, generator=self.generator, device=self.device) * (high - low) + low

    def log_uniform(self, low: float, high: float, *, columns: int = 1) -> Tensor:
        """(B, columns), log-uniform from low to high."""
        return self.uniform(math.log(low), math.log(high), columns=columns).exp()

    def normal(self, columns: int = 1) -> Tensor:
        """(B, columns)."""
        return torch.randn(self.rows, columns, generator=self.generator, device=self.device)

    def happens(self, probability: float | Tensor, *, columns: int = 1) -> Tensor:
        """(B, columns) of booleans, True with the given probability."""
        return self.uniform(columns=columns) < probability

    def choice(self, weights: list[float]) -> Tensor:
        """(B, 1) of indices, sampled by weight."""
        table = torch.tensor(weights, dtype=torch.float, device=self.device)
        return torch.multinomial(table, self.rows, replacement=True, generator=self.generator)[:, None]

    def poisson(self, rate: Tensor) -> Tensor:
        """Poisson counts, in the shape of `rate`."""
        return torch.poisson(rate, generator=self.generator)

    def of(self, rows: int) -> "Chance":
        """The same generator for another number of rows."""
        other = copy.copy(self)
        other.rows = rows
        return other

    def shuffle(self) -> Tensor:
        """(B,), a random permutation of the rows."""
        return torch.randperm(self.rows, generator=self.generator, device=self.device)


def select(index: Tensor, *options: Tensor) -> Tensor:
    """Select one of the options (B, L) for each row; index: (B, 1)."""
    result = options[0]
    for i, option in enumerate(options[1:], 1):
        result = torch.where(index == i, option, result)
    return result


def mixture(chance: Chance, length: int, options: Sequence[tuple[float, Process]], *row_tensors: Tensor) -> Tensor:
    """Rows of several processes, in fixed percentages and random order: (B, L).

    row_tensors: arguments of the processes by row, (B, ...).
    """
    places = chance.shuffle()
    ends = [round(chance.rows * end / 100) for end in itertools.accumulate(weight for weight, _ in options)]
    result = torch.empty(chance.rows, length, device=chance.device)
    for start, end, (_, process) in zip([0, *ends[:-1]], ends, options, strict=True):
        if end > start:
            rows = places[start:end]
            result[rows] = process(chance.of(end - start), length, *(tensor[rows] for tensor in row_tensors))
    return result


def sometimes(chance: Chance, length: int, percent: float, process: Process, *row_tensors: Tensor) -> Tensor:
    """The process in `percent` of the rows, zeros in the others; (B, L)."""
    return mixture(chance, length, [(percent, process), (100 - percent, nothing)], *row_tensors)


def nothing(chance: Chance, length: int, *_) -> Tensor:
    """Zeros (B, L)."""
    return torch.zeros(chance.rows, length, device=chance.device)


def standard(x: Tensor) -> Tensor:
    """Normalize each row to mean 0 and std 1; constant rows become zero."""
    x = x - x.mean(1, keepdim=True)
    return x / x.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6)
