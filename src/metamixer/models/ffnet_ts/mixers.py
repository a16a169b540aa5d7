"""The mixers of the forecasting network: the equation on channels that hold variables and dims, variable by variable.

A pointwise convolution in as many groups as there are variables mixes the dims of each variable; one in as many groups as
there are dims, on channels whose two axes are swapped, mixes the variables of each dim.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor, nn

from ...mixer import MetaMixer
from ...ops import ConvNorm, Operators
from ...ops.series import Dropout, SwapAxes, by_windows

Norm = Callable[[int], nn.Module]
"""Makes a norm of `dim` channels that the variables share."""


class SeriesAttention(MetaMixer):
    """Token mixer: FFNified attention whose query mixes variables and dims; keys and values are long kernels over the patches."""

    def __init__(self, dim: int, kernel_size: int, *, variables: int, norm: Norm, drop_rates: Sequence[float], operators: Operators):
        channels = variables * dim
        depthwise = replace(operators, parallel_kernels=lambda _: ()).depthwise
        super().__init__(
            query=VariableFFN(dim, variables=variables, norm=norm, drop_rates=drop_rates, operators=operators),
            key=depthwise(channels, kernel_size),
            act=operators.act(),
            value=depthwise(channels, kernel_size),
        )


class VariableFFN(MetaMixer):
    """The token mixer's query, a feed-forward network: keys across the variables of each dim, values across the dims of each."""

    def __init__(
        self, dim: int, *, variables: int, expansion_ratio: int = 2, norm: Norm, drop_rates: Sequence[float], operators: Operators
    ):
        channels, hidden = variables * dim, variables * dim * expansion_ratio
        super().__init__(
            query=SwapAxes(variables),
            key=operators.conv(channels, hidden, 1, groups=dim),
            act=nn.Sequential(Dropout(drop_rates[0]), operators.act()),
            value=nn.Sequential(
                SwapAxes(dim),
                ConvNorm(operators.conv(hidden, channels, 1, groups=variables), norm(dim), drop=Dropout(drop_rates[1])),
            ),
        )


class SeriesFFN(MetaMixer):
    """Channel mixer: a long re-parameterised kernel asks; keys go across the dims of each variable, values across variables."""

    def __init__(
        self,
        dim: int,
        kernel_size: int,
        *,
        variables: int,
        expansion_ratio: int,
        norm: Norm,
        drop_rates: Sequence[float],
        operators: Operators,
    ):
        channels, hidden = variables * dim, variables * dim * expansion_ratio
        super().__init__(
            query=ConvNorm(operators.depthwise_norm(channels, channels, kernel_size), norm(dim)),
            key=operators.conv(channels, hidden, 1, groups=variables),
            act=nn.Sequential(Dropout(drop_rates[0]), operators.act()),
            value=nn.Sequential(
                SwapAxes(variables),
                operators.conv(hidden, channels, 1, groups=dim),
                SwapAxes(dim),
                Dropout(drop_rates[1]),
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, variables * dim, N) -> the same shape; the equation, with a hidden layer that may be too large for the whole batch."""
        return by_windows(lambda query: self.value(self.act(self.key(query))), self.query(x), hidden_channels=self.key.out_channels)
