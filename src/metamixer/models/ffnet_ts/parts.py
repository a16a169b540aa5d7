"""The layers before, between and after the blocks of the forecasting network."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from ...ops import NormConv, Operators

Statistics = tuple[Tensor, Tensor]


class ReversibleNorm(nn.Module):
    """Normalize each window by its own center and std, and invert it (RevIN, Kim et al., ICLR 2022).

    centre: "mean", "last" or None for no normalization; affine: a learnable scale and shift of each variable.
    """

    eps = 1e-5

    def __init__(self, variables: int, *, centre: str | None = "mean", affine: bool = False, device=None, dtype=None):
        super().__init__()
        if centre not in ("mean", "last", None):
            raise InputError(f"centre {centre!r}, expected 'mean', 'last' or None")
        factory = {"device": device, "dtype": dtype}
        self.centre = centre
        self.weight = nn.Parameter(torch.ones(variables, **factory)) if affine else None
        self.bias = nn.Parameter(torch.zeros(variables, **factory)) if affine else None

    def forward(self, x: Tensor) -> tuple[Tensor, Statistics]:
        """x: (B, lookback, variables) -> the same shape, and the statistics for `invert`."""
        if self.centre is None:
            return x, (x.new_zeros(1), x.new_ones(1))
        variance, mean = torch.var_mean(x.detach(), dim=1, keepdim=True, correction=0)
        centre, std = (x[:, -1:] if self.centre == "last" else mean), (variance + self.eps).sqrt()
        x = (x - centre) / std
        if self.weight is not None:
            x = x * self.weight + self.bias
        return x, (centre, std)

    def invert(self, x: Tensor, statistics: Statistics) -> Tensor:
        """x: (B, horizon, variables) -> the same shape in the window's units."""
        centre, std = statistics
        if self.weight is not None:
            x = (x - self.bias) / (self.weight + self.eps**2)
        return x * std + centre


class PerVariable(nn.Module):
    """One layer, shared by the variables, on the channels of each."""

    def __init__(self, layer: nn.Module, variables: int):
        super().__init__()
        self.layer = layer
        self.variables = variables

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, variables * dim, N) -> (B, variables * dim', N')."""
        x = x.unflatten(1, (self.variables, -1)).transpose(0, 1)
        return self.layer(x.flatten(0, 1)).unflatten(0, x.shape[:2]).permute(0, 2, 1, 3).flatten(0, 1).transpose(0, 1)


class HalvePatches(nn.Module):
    """Merge pairs of patches between stages; an odd last one is repeated."""

    def __init__(self, dim: int, out_dim: int, *, variables: int, operators: Operators):
        super().__init__()
        self.conv = PerVariable(NormConv(operators.norm(dim), operators.conv(dim, out_dim, 2, 2)), variables)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, variables * dim, N) -> (B, variables * out_dim, ceil(N / 2))."""
        return self.conv(repeat_last(x, x.shape[2] % 2))


class ForecastHead(nn.Module):
    """From all patches of a variable to its forecast, by a linear layer shared by the variables or one for each."""

    def __init__(self, linear: nn.Module, *, variables: int, drop_rate: float = 0.0):
        super().__init__()
        self.linear = linear
        self.drop = nn.Dropout(drop_rate)
        self.variables = variables

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, variables * dim, N) -> (B, variables, horizon)."""
        return self.drop(self.linear(x.unflatten(1, (self.variables, -1)).flatten(2)))


class LinearPerVariable(nn.Module):
    """A linear layer for each variable, initialized as nn.Linear."""

    def __init__(self, in_features: int, out_features: int, *, variables: int, device=None, dtype=None):
        super().__init__()
        factory = {"device": device, "dtype": dtype}
        bound = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(variables, in_features, out_features, **factory).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(variables, out_features, **factory).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, variables, in_features) -> (B, variables, out_features)."""
        return torch.bmm(x.transpose(0, 1), self.weight).transpose(0, 1) + self.bias


def moving_average(x: Tensor, width: int) -> Tensor:
    """The mean of `width` values around each, ends replicated; x: (B, N, variables) -> the same shape."""
    x = F.pad(x.transpose(1, 2), ((width - 1) // 2, (width - 1) // 2), mode="replicate")
    return F.avg_pool1d(x, width, stride=1).transpose(1, 2)


def repeat_last(x: Tensor, count: int) -> Tensor:
    """x: (B, C, N) -> (B, C, N + count)."""
    return F.pad(x, (0, count), mode="replicate") if count else x


def check_window(x: Tensor, lookback: int, variables: int) -> None:
    """Raise InputError for a batch of the wrong shape."""
    if x.ndim != 3 or x.shape[1] != lookback or x.shape[2] != variables:
        raise InputError(
            f"series batch of shape {list(x.shape)}, expected (batch, {lookback} steps, {variables} variables)"
        )
