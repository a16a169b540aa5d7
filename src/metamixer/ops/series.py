"""Layers for series (B, C, N), computed in the fastest form for their size and device.

Parameters, checkpoints and results are those of PyTorch's layers. Three things differ on a CPU: a depthwise convolution
is a banded Toeplitz matrix per channel, a pointwise one a matrix per group, and a dropout mask takes 16 random bits per
element. Results are then laid out channel by channel, (C, B, N), so that each of these is one batched product without a
copy (`benchmarks/forecasting_speed.py` compares the forms). A large hidden layer is computed for a
few windows at a time.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .operators import Operators

TOEPLITZ_GAIN = 512
"""Use a Toeplitz product if N * N is at most this times k; measured on two AVX-512 cores, N 24 to 384, k 5 to 51."""

HIDDEN_ELEMENTS = 2**24
"""Largest hidden layer computed at once: 64 MiB in float32 (`benchmarks/forecasting_speed.py --memory`)."""

KEPT_ELEMENTS = 2**27
"""Largest hidden layer kept for the backward pass: 512 MiB in float32; a larger one is recomputed."""


class Conv1d(nn.Conv1d):
    """nn.Conv1d in the fastest form for its input."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, N) -> (B, C', N')."""
        if runs_eagerly_on_cpu(x) and self.stride == (1,):
            if self.kernel_size == (1,) and self.padding == (0,) and self.groups > 1:
                return grouped_product(x, self.weight, self.bias)
            if self.is_depthwise() and x.shape[2] ** 2 <= TOEPLITZ_GAIN * self.kernel_size[0]:
                return toeplitz_product(x, self.weight, self.bias)
        return super().forward(x)

    def is_depthwise(self) -> bool:
        """Whether it has one filter of odd length per channel, zero padding, and keeps the length."""
        length = self.kernel_size[0]
        one_each = self.groups == self.in_channels == self.out_channels and self.dilation == (1,)
        return one_each and length % 2 == 1 and self.padding == (length // 2,) and self.padding_mode == "zeros"


class BatchNorm1d(nn.BatchNorm1d):
    """nn.BatchNorm1d that keeps the layout (C, B, N)."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, N) -> the same shape."""
        if not runs_eagerly_on_cpu(x):
            return super().forward(x)
        return from_channels(super().forward(by_channels(x)[None])[0], x)


SERIES = Operators(Conv1d, BatchNorm1d, nn.AvgPool1d, spatial_dims=1)


class SharedNorm(nn.BatchNorm1d):
    """One norm of `dim` channels, shared by all variables: channels are variables * dim, variable by variable."""

    def __init__(self, dim: int, *, variables: int, device=None, dtype=None):
        super().__init__(dim, device=device, dtype=dtype)
        self.variables = variables

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, variables * dim, N) -> the same shape."""
        by_variables = by_channels(x).unflatten(0, (self.variables, self.num_features))
        return from_channels(super().forward(by_variables).flatten(0, 1), x)


class Dropout(nn.Dropout):
    """nn.Dropout with a cheaper mask on a CPU; the probability is rounded to a multiple of 2**-16."""

    def forward(self, x: Tensor) -> Tensor:
        """x: any shape -> the same shape."""
        keep = 1 - self.p
        if not (self.training and 0 < round(keep * 2**16) < 2**16 and runs_eagerly_on_cpu(x)):
            return super().forward(x)
        return x * (random_mask(x, keep=keep).to(x.dtype) * (1 / keep))


class SwapAxes(nn.Module):
    """Channels (first, second) -> (second, first): a grouped convolution then mixes the other axis (ShuffleNet)."""

    def __init__(self, first: int):
        super().__init__()
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, first * second, N) -> (B, second * first, N)."""
        return x.transpose(0, 1).unflatten(0, (self.first, -1)).transpose(0, 1).flatten(0, 1).transpose(0, 1)

    def extra_repr(self) -> str:
        return f"first={self.first}"


def runs_eagerly_on_cpu(x: Tensor) -> bool:
    """False while a graph is captured, which needs plain operators, and on accelerators, which have fast ones."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing()


def by_windows(function: Callable[[Tensor], Tensor], x: Tensor, *, hidden_channels: int) -> Tensor:
    """Apply `function` to x (B, C, N) for as many windows at a time as HIDDEN_ELEMENTS and `hidden_channels` allow.

    A large hidden layer is recomputed in the backward pass, so that memory doesn't grow with the batch.
    """
    windows = max(1, HIDDEN_ELEMENTS // (hidden_channels * x.shape[2]))
    if not runs_eagerly_on_cpu(x) or len(x) <= windows:
        return function(x)
    slices = (rows.transpose(0, 1) for rows in x.transpose(0, 1).split(windows, 1))
    again = torch.is_grad_enabled() and len(x) * hidden_channels * x.shape[2] > KEPT_ELEMENTS
    outputs = [checkpoint(function, part, use_reentrant=False) if again else function(part) for part in slices]
    return torch.cat([part.transpose(0, 1) for part in outputs], 1).transpose(0, 1)


def by_channels(x: Tensor) -> Tensor:
    """(B, C, N) -> (C, B * N); a view if x is laid out channel by channel."""
    return x.transpose(0, 1).flatten(1)


def from_channels(rows: Tensor, like: Tensor) -> Tensor:
    """(C, B * N) -> (B, C, N), with N from `like`."""
    return rows.unflatten(1, (-1, like.shape[2])).transpose(0, 1)


def grouped_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A pointwise convolution in groups as one batched product; weight: (C', C / groups, 1)."""
    groups = x.shape[1] // weight.shape[1]
    inputs, matrices = by_channels(x).unflatten(0, (groups, -1)), weight.unflatten(0, (groups, -1)).squeeze(3)
    outputs = torch.bmm(matrices, inputs) if bias is None else torch.baddbmm(bias.view(groups, -1, 1), matrices, inputs)
    return from_channels(outputs.flatten(0, 1), x)


def toeplitz_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A depthwise convolution that keeps the length, as a product with `toeplitz(weight, N)`; weight: (C, 1, k)."""
    inputs, matrices = x.transpose(0, 1), toeplitz(weight[:, 0], x.shape[2])
    outputs = torch.bmm(inputs, matrices) if bias is None else torch.baddbmm(bias.view(-1, 1, 1), inputs, matrices)
    return outputs.transpose(0, 1)


def toeplitz(kernels: Tensor, length: int) -> Tensor:
    """The matrices T of odd kernels with zero padding: T[c, i, o] = kernels[c, i - o + k // 2]; (C, k) -> (C, N, N)."""
    size = kernels.shape[1]
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        step = torch.arange(length, device=kernels.device)
        place = step[:, None] - step + size // 2
        return kernels[:, place.clamp(0, size - 1)] * ((place >= 0) & (place < size))  # of constants: computed once
    margin = length - 1 - size // 2
    band = F.pad(kernels, (margin, margin))
    return band.unfold(1, length, 1).flip(1).transpose(1, 2)


def random_mask(x: Tensor, *, keep: float) -> Tensor:
    """True with probability `keep`, in the layout of x, from 16 random bits each, seeded by PyTorch's generator.

    keep: rounded to a multiple of 2**-16, which is neither 0 nor 1.
    """
    generator = np.random.Generator(np.random.SFC64(torch.randint(2**62, ()).item()))
    numbers = generator.integers(0, 2**64, (x.numel() + 3) // 4, dtype=np.uint64).view(np.int16)
    mask = torch.from_numpy(numbers)[: x.numel()] < round(keep * 2**16) - 2**15
    order = sorted(range(x.ndim), key=x.stride, reverse=True)
    return mask.view([x.shape[i] for i in order]).permute([order.index(i) for i in range(x.ndim)])
