"""The mixers of the forecasting network: the equation on channels that hold variables and dims, variable by variable.

A pointwise convolution with one group per variable mixes the dims of each variable; one with one group per dim, on
channels whose two axes are swapped, mixes the variables of each dim.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...mixer import MetaMixer
from ...ops import SERIES, ConvNorm, KernelSize, Operators, Positions
from ...ops.series import Dropout, SharedNorm, SwapAxes, by_windows


@dataclass(frozen=True)
class VariableOperators(Operators):
    """Layers for several series at once, (B, variables * dim, N); a mixer's `dim` is that of one variable.

    Convolutions have weights for each variable; norms share theirs. The query of a token mixer is the published
    `VariableFFN`, the only place where a token mixer relates variables.

    Attributes:
        variables: number of series.
        channels: the layers of all channels at once, whatever variable they belong to.
        drop_rates: dropouts of the published mixers' first and second layer.
    """

    variables: int = 1
    channels: Operators = SERIES
    drop_rates: Sequence[float] = (0.0, 0.0)

    def on(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Operators:
        """The same layers, created on `device` as `dtype`."""
        return replace(super().on(device, dtype), channels=self.channels.on(device, dtype))

    def layer_scale(self, dim: int, init_value: float) -> nn.Module:
        """A learnable factor for each channel of each variable."""
        return super().layer_scale(self.variables * dim, init_value)

    def projection(self, dim: int) -> nn.Module:
        """A feed-forward network over variables, then dims."""
        return VariableFFN(dim, self)

    def depthwise(self, dim: int, kernel_size: KernelSize) -> nn.Module:
        """One filter per channel of each variable."""
        return self.channels.depthwise(self.variables * dim, kernel_size)

    def depthwise_norm(self, dim: int, out_dim: int, kernel_size: KernelSize, *, stride: int = 1) -> nn.Module:
        """One filter per channel of each variable, with its own norm, unlike the other norms."""
        dims = (self.variables * dim, self.variables * out_dim)
        return self.channels.depthwise_norm(*dims, kernel_size, stride=stride)

    def spatial_norm(self, dim: int, kernel_size: KernelSize) -> nn.Module:
        """A depthwise convolution with its norms, then a norm that the variables share."""
        return ConvNorm(self.depthwise_norm(dim, dim, kernel_size), self.norm(dim))


def variable_operators(
    variables: int,
    *,
    drop_rates: Sequence[float] = (0.0, 0.0),
    parallel_kernels: Callable[[KernelSize], tuple[KernelSize, ...]] = lambda _: (),
    device=None,
    dtype=None,
) -> VariableOperators:
    """The layers of `variables` series, created on `device` as `dtype`."""
    channels = replace(SERIES, parallel_kernels=parallel_kernels).on(device, dtype)

    def conv(dim, out_dim, kernel_size, stride=1, padding=0, *, groups=1, bias=True, **factory) -> nn.Module:
        dims = (variables * dim, variables * out_dim)
        return channels.conv(*dims, kernel_size, stride, padding, groups=variables * groups, bias=bias, **factory)

    return VariableOperators(
        conv,
        partial(SharedNorm, variables=variables, device=device, dtype=dtype),
        channels.pool,
        scale=channels.scale,
        tokens=partial(PatchesOfVariables, variables),
        spatial_dims=1,
        parallel_kernels=parallel_kernels,
        variables=variables,
        channels=channels,
        drop_rates=drop_rates,
    )


class PatchesOfVariables(Positions):
    """Tokens of attention: the patches of one variable, so that attention stays within it."""

    def __init__(self, variables: int):
        super().__init__()
        self.variables = variables

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """x: (B, variables * C, N) -> tokens (B * variables, N, C), and no mask."""
        return super().forward(x.unflatten(1, (self.variables, -1)).flatten(0, 1))


class VariableFFN(MetaMixer):
    """The query of the token mixer, a feed-forward network: keys go across variables, values across dims."""

    def __init__(self, dim: int, operators: VariableOperators, *, expansion_ratio: int = 2):
        variables, (drop_hidden, drop_output) = operators.variables, operators.drop_rates
        channels, hidden_dim = variables * dim, dim * expansion_ratio
        super().__init__(
            query=SwapAxes(variables),
            key=operators.channels.conv(channels, variables * hidden_dim, 1, groups=dim),
            act=nn.Sequential(Dropout(drop_hidden), operators.act()),
            value=nn.Sequential(
                SwapAxes(dim),
                ConvNorm(operators.conv(hidden_dim, dim, 1), operators.norm(dim), drop=Dropout(drop_output)),
            ),
        )


class SeriesFFN(MetaMixer):
    """Channel mixer: the query is a long convolution, keys go across dims, values across variables."""

    def __init__(self, dim: int, kernel_size: int, operators: VariableOperators, *, expansion_ratio: float):
        variables, (drop_hidden, drop_output) = operators.variables, operators.drop_rates
        if expansion_ratio < 1 or expansion_ratio % 1:
            raise InputError(
                f"expansion_ratio {expansion_ratio}, expected a whole number: a group of values has one dim"
            )
        channels, hidden_dim = variables * dim, dim * int(expansion_ratio)
        super().__init__(
            query=operators.spatial_norm(dim, kernel_size),
            key=operators.conv(dim, hidden_dim, 1),
            act=nn.Sequential(Dropout(drop_hidden), operators.act()),
            value=nn.Sequential(
                SwapAxes(variables),
                operators.channels.conv(variables * hidden_dim, channels, 1, groups=dim),
                SwapAxes(dim),
                Dropout(drop_output),
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, variables * dim, N) -> the same shape; the equation, for some windows at a time if x is large."""
        hidden_channels = self.key.out_channels
        return by_windows(
            lambda query: self.value(self.act(self.key(query))), self.query(x), hidden_channels=hidden_channels
        )
