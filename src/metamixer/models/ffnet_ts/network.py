"""FFNet-TS: a window of several series in, their next values out (paper, section 4.4 and table 5).

Each series is cut into patches of its own; blocks then mix patches, dims and variables. Channels hold both axes, variable by
variable: x is (B, variables * dim, patches), so that the mixers are those of every other network here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from ...errors import InputError
from ...mixer import MixerBlock
from ...ops import SERIES, ConvNorm
from ...ops.series import SharedNorm
from ..ffnet.parts import Stage
from .mixers import SeriesAttention, SeriesFFN
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
    "individual": lambda features, horizon, variables, **factory: LinearPerVariable(features, horizon, variables=variables, **factory),
}
"""The head's linear layer: one for all variables, or one for each."""


class FFNetTS(nn.Module):
    """The forecasting network; the defaults are the published ETTh1 network.

    Args:
        variables: number of series, which are forecast together.
        lookback, horizon: steps that the network sees and steps that it forecasts.
        depths, dims, kernel_sizes, parallel_kernel_sizes: blocks, width, kernel size and size of the re-parameterised small
            kernel beside it, for each stage; later stages halve the number of patches.
        expansion_ratio: of the channel mixer's feed-forward network.
        patch_size, patch_stride: steps in a patch and from one patch to the next.
        centre: what each window is measured from, "mean" or "last" for its last value; None: no reversible normalisation.
        affine: learn a scale and a shift of each variable after it.
        head: "shared" by all variables or "individual".
        drop_rate: dropout of the channel mixer's hidden layer; head_drop_rate: of the forecast.
        mixing_drop_rates: fixed dropouts of the token mixer's two layers and of the channel mixer's second one.
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
        expansion_ratio: int = 2,
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
        if not len(depths) == len(dims) == len(kernel_sizes) == len(parallel_kernel_sizes):
            raise InputError(
                f"depths {depths}, dims {dims}, kernel_sizes {kernel_sizes}, parallel_kernel_sizes {parallel_kernel_sizes}: "
                "expected one entry a stage in each"
            )
        if head not in HEADS:
            raise InputError(f"head {head!r}, expected one of {', '.join(HEADS)}")
        if lookback < patch_size or patch_size < patch_stride:
            raise InputError(f"lookback {lookback}, patch_size {patch_size}, patch_stride {patch_stride}: expected them in falling order")
        self.variables, self.lookback, self.horizon = variables, lookback, horizon
        self.patch_overlap = patch_size - patch_stride
        factory = {"device": device, "dtype": dtype}
        operators = SERIES.on(**factory)
        norm = partial(SharedNorm, variables=variables, **factory)

        self.reversible_norm = ReversibleNorm(variables, centre=centre, affine=affine, **factory)
        patch = operators.conv(1, dims[0], patch_size, patch_stride, bias=False)
        self.stem = PerVariable(ConvNorm(patch, operators.norm(dims[0])), variables)
        self.stages = nn.Sequential()
        patches = lookback // patch_stride
        for i, (depth, dim, kernel_size, small) in enumerate(zip(depths, dims, kernel_sizes, parallel_kernel_sizes, strict=True)):
            downsample = HalvePatches(dims[i - 1], dim, variables=variables, operators=operators) if i else nn.Identity()
            patches = (patches + 1) // 2 if i else patches
            blocks = []
            for _ in range(depth):
                token_mixer = SeriesAttention(
                    dim, kernel_size, variables=variables, norm=norm, drop_rates=mixing_drop_rates[:2], operators=operators
                )
                channel_mixer = SeriesFFN(
                    dim,
                    kernel_size,
                    variables=variables,
                    expansion_ratio=expansion_ratio,
                    norm=norm,
                    drop_rates=(drop_rate, mixing_drop_rates[2]),
                    operators=replace(operators, parallel_kernels=lambda _, small=small: (small,)),
                )
                blocks.append(MixerBlock(token_mixer, channel_mixer))
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


class Decomposition(nn.Module):
    """The sum of two networks: one sees the window's moving average over `width` steps, the other what is left."""

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
    """FFNet-TS with the keywords of `FFNetTS`; decomposition: steps of the moving average, None for one undivided network."""
    if decomposition is None:
        return FFNetTS(**network)
    return Decomposition(FFNetTS(**network), FFNetTS(**network), width=decomposition)
