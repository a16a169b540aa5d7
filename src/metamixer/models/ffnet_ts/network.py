"""FFNet-TS: a window of several series in, their next values out (paper, section 4.4 and table 5).

Each series is cut into patches; blocks then mix patches, dims and variables. Channels hold dims and variables, variable
by variable: x is (B, variables * dim, patches), so that the mixers are those of every other network.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from ...errors import InputError, at_least, expect_odd
from ...mixer import MixerBlock, Mixers, mixer_of_each, token_mixer
from ...ops import SERIES, ConvNorm
from ..ffnet.parts import Stage
from .mixers import SeriesFFN, variable_operators
from .parts import (
    ForecastHead,
    HalvePatches,
    LinearPerVariable,
    PerVariable,
    ReversibleNorm,
    check_window,
    moving_average,
    repeat_last,
)
from .published_names import convert_published

HEADS: dict[str, Callable[..., nn.Module]] = {
    "shared": lambda features, horizon, variables, **factory: nn.Linear(features, horizon, **factory),
    "individual": lambda features, horizon, variables, **factory: LinearPerVariable(
        features, horizon, variables=variables, **factory
    ),
}
"""The head's linear layer: one for all variables, or one for each."""


class FFNetTS(nn.Module):
    """The forecasting network; the defaults are the published ETTh1 network.

    Args:
        variables: number of series, forecast together.
        lookback, horizon: steps in and steps out.
        depths, dims, kernel_sizes, parallel_kernel_sizes: blocks, width of each variable, kernel size and kernel size
            of the parallel branch, for each stage; later stages halve the number of patches.
        mixers: token mixer of each stage, or one for all: a name of `metamixer.TOKEN_MIXERS` or a function
            (dim, kernel_size, operators), where dim is the width of one variable.
        expansion_ratio: of the channel mixer's feed-forward network.
        patch_size, patch_stride: steps in a patch and from one patch to the next.
        centre: reversible normalization subtracts each window's "mean" or its "last" value; None: no normalization.
        affine: learn a scale and a shift of each variable after it.
        head: "shared" by all variables or "individual".
        drop_rate: dropout of the channel mixer's hidden layer; head_drop_rate: of the forecast.
        mixing_drop_rates: dropouts of the token mixer's two layers and of the channel mixer's second one.
    """

    def __init__(
        self,
        variables: int = 7,
        lookback: int = 96,
        horizon: int = 96,
        *,
        depths: Sequence[int] = (1,),
        dims: Sequence[int] = (64,),
        kernel_sizes: Sequence[int] = (51,),
        parallel_kernel_sizes: Sequence[int] = (5,),
        mixers: Mixers = "ffnified",
        expansion_ratio: float = 2,
        patch_size: int = 4,
        patch_stride: int = 2,
        centre: str | None = "mean",
        affine: bool = False,
        head: str = "shared",
        drop_rate: float = 0.7,
        head_drop_rate: float = 0.0,
        mixing_drop_rates: Sequence[float] = (0.3, 0.15, 0.15),
        device=None,
        dtype=None,
    ):
        super().__init__()
        _expect_stages(depths, dims, kernel_sizes, parallel_kernel_sizes)
        _expect_steps(lookback, patch_size, patch_stride)
        if head not in HEADS:
            raise InputError(f"head {head!r}, expected one of {', '.join(HEADS)}")
        at_least("variables", variables, 1)
        at_least("horizon", horizon, 1)
        self.variables, self.lookback, self.horizon = variables, lookback, horizon
        self.patch_overlap = patch_size - patch_stride
        factory = {"device": device, "dtype": dtype}
        operators = SERIES.on(**factory)
        in_mixers = partial(variable_operators, variables, **factory)
        in_token_mixers = in_mixers(drop_rates=mixing_drop_rates[:2])
        mixers = mixer_of_each(mixers, len(depths))

        self.reversible_norm = ReversibleNorm(variables, centre=centre, affine=affine, **factory)
        patch = operators.conv(1, dims[0], patch_size, patch_stride, bias=False)
        self.stem = PerVariable(ConvNorm(patch, operators.norm(dims[0])), variables)
        self.stages = nn.Sequential()
        patches = lookback // patch_stride
        for i, (depth, dim, kernel_size, small) in enumerate(
            zip(depths, dims, kernel_sizes, parallel_kernel_sizes, strict=True)
        ):
            downsample = (
                HalvePatches(dims[i - 1], dim, variables=variables, operators=operators) if i else nn.Identity()
            )
            patches = (patches + 1) // 2 if i else patches
            in_channel_mixers = in_mixers(
                drop_rates=(drop_rate, mixing_drop_rates[2]), parallel_kernels=lambda _, small=small: (small,)
            )
            blocks = [
                MixerBlock(
                    token_mixer(mixers[i], dim, kernel_size=kernel_size, operators=in_token_mixers),
                    SeriesFFN(dim, kernel_size, in_channel_mixers, expansion_ratio=expansion_ratio),
                )
                for _ in range(depth)
            ]
            self.stages.append(Stage(downsample, blocks))
        linear = HEADS[head](dims[-1] * patches, horizon, variables, **factory)
        self.head = ForecastHead(linear, variables=variables, drop_rate=head_drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, lookback, variables) -> (B, horizon, variables)."""
        check_window(x, self.lookback, self.variables)
        x, statistics = self.reversible_norm(x)
        x = self.stem(repeat_last(x.transpose(1, 2), self.patch_overlap))
        x = self.head(self.stages(x)).transpose(1, 2)
        return self.reversible_norm.invert(x, statistics)

    def convert_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A published state dict under our names (`metamixer.load_published`)."""
        return convert_published(state, self.state_dict())


def _expect_stages(
    depths: Sequence[int], dims: Sequence[int], kernel_sizes: Sequence[int], parallel_kernel_sizes: Sequence[int]
) -> None:
    """Raise InputError unless the stages have one entry in each, and odd kernels."""
    kernels = f"kernel_sizes {kernel_sizes}, parallel_kernel_sizes {parallel_kernel_sizes}"
    if not depths or not len(depths) == len(dims) == len(kernel_sizes) == len(parallel_kernel_sizes):
        raise InputError(f"depths {depths}, dims {dims}, {kernels}: expected one entry per stage in each")
    expect_odd("kernel_sizes", *kernel_sizes)
    expect_odd("parallel_kernel_sizes", *parallel_kernel_sizes)


def _expect_steps(lookback: int, patch_size: int, patch_stride: int) -> None:
    """Raise InputError unless a patch fits into the window, and its stride into a patch."""
    if not lookback >= patch_size >= patch_stride >= 1:
        raise InputError(
            f"lookback {lookback}, patch_size {patch_size}, patch_stride {patch_stride}: "
            "expected them in descending order, at least 1"
        )


class Decomposition(nn.Module):
    """The sum of two networks: one for the window's moving average over `width` steps, one for the residual."""

    def __init__(self, residual: FFNetTS, trend: FFNetTS, *, width: int):
        super().__init__()
        if width < 1 or width % 2 == 0:
            raise InputError(f"decomposition {width}, expected an odd number of steps")
        self.residual = residual
        self.trend = trend
        self.width = width
        self.variables, self.lookback, self.horizon = trend.variables, trend.lookback, trend.horizon

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, lookback, variables) -> (B, horizon, variables)."""
        check_window(x, self.lookback, self.variables)
        trend = moving_average(x, self.width)
        return self.residual(x - trend) + self.trend(trend)

    convert_published = FFNetTS.convert_published


def ffnet_ts(*, decomposition: int | None = None, **network) -> nn.Module:
    """Build FFNet-TS; decomposition: steps of the moving average, None for a single network."""
    if decomposition is None:
        return FFNetTS(**network)
    return Decomposition(FFNetTS(**network), FFNetTS(**network), width=decomposition)
