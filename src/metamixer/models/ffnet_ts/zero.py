"""FFNet-TS Zero: one network, trained once, that forecasts any single series with quantiles.

    tokens   = stem(value, seasonal memory, its error)           patches of 16 steps, past and future
    tokens   = blocks(tokens)                                    1D FFNified attention and ConvNeXt-style FFN
    forecast = gates . seasonal memory + unit * quantiles        from the tokens of the future

The forecast is equivariant to shift, scale and sign of the series, which are normalized first and restored last.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError, expect_odd
from ...mixer import ConvNeXtFFN, MixerBlock, Mixers, mixer_of_each, token_mixer, with_mixers
from ...ops import Operators
from ...ops.series import SERIES, Conv1d, grouped_product, toeplitz_product
from .seasons import Periods, RobustScale, Scaled, SeasonalMemory, last_observed

QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

NAIVE_PERIOD = 1

KNOWN_SEASONS = 2
"""Number of calendar seasons given as input, such as a day and a week of hours."""

PERIODS = 1 + KNOWN_SEASONS + 2
"""The last value as a season of one step, the calendar's seasons, and the two detected."""

FLOOR = 0.04
"""The smallest unit of a forecast, in scales of the series."""

FAR = 30.0
"""Distance from the forecast, in units of the naive error, at which the loss of a series saturates."""


class TokenConv(Conv1d):
    """A convolution over few tokens: pointwise or depthwise, matrix products on every device, and in a graph for all
    runtimes.

    ONNX Runtime computes a depthwise convolution window by window and channel by channel, which takes nine tenths of
    its time here (`benchmarks/zero_shot_speed.py`).
    """

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, N) -> (B, C', N)."""
        if self.kernel_size == self.stride == (1,) and self.padding == (0,):
            return grouped_product(x, self.weight, self.bias)
        if self.is_depthwise() and self.stride == (1,):
            return toeplitz_product(x, self.weight, self.bias)
        return super().forward(x)


class TokenNorm(nn.Module):
    """Root-mean-square norm over the channels of each token, so that results don't depend on the batch."""

    eps = 1e-3

    def __init__(self, dim: int, *, device=None, dtype=None):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, N) -> the same shape."""
        size = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32) / x.shape[1] ** 0.5
        return x * (self.weight[:, None] / (size + self.eps)).to(x.dtype)


TOKENS = replace(SERIES, conv=TokenConv, norm=TokenNorm, parallel_kernels=lambda _: ())
"""The 1D layers for tokens of separate series."""


class PatchStem(nn.Module):
    """From steps to tokens: a linear layer per patch, plus an embedding that marks tokens of the future."""

    def __init__(self, channels: int, dim: int, *, patch_size: int, future: int, operators: Operators):
        super().__init__()
        self.patch_size = patch_size
        self.linear = operators.conv(channels * patch_size, dim, 1)
        self.future = nn.Parameter(self.linear.weight.new_zeros(dim, future))

    def forward(self, x: Tensor, future: int) -> Tensor:
        """x: (B, channels, steps), the last `future` patches unknown -> (B, dim, steps / patch_size)."""
        patches = x.to(self.future.dtype).unflatten(2, (-1, self.patch_size)).permute(0, 1, 3, 2).flatten(1, 2)
        past = patches.shape[2] - future
        return self.linear(patches) + F.pad(self.future[:, :future], (past, 0))


class QuantileHead(nn.Module):
    """From tokens of the future to gates of the seasonal memory and quantiles around it.

    The gates are initialized to the mean of the latest values and the means, without growth.
    """

    def __init__(self, dim: int, bases: int, *, patch_size: int, operators: Operators):
        super().__init__()
        self.patch_size, self.bases = patch_size, bases
        self.linear = operators.norm_conv(dim, (bases + len(QUANTILES)) * patch_size)
        with torch.no_grad():
            self.linear.conv.weight.mul_(0.1)

    def forward(self, tokens: Tensor, bases: Tensor, unit: Tensor) -> Tensor:
        """tokens: (B, dim, N), bases: (B, bases, N * patch_size), unit: (B, 1) -> (B, quantiles, N * patch_size)."""
        out = self.linear(tokens).float().unflatten(1, (-1, self.patch_size)).transpose(2, 3).flatten(2)
        answer = torch.arange(self.bases, device=out.device)[:, None] % SeasonalMemory.answers
        gates = out[:, : self.bases] + (answer != SeasonalMemory.growth) / (2 * PERIODS)
        quantiles = out[:, self.bases :]
        return (gates * bases).sum(1, keepdim=True) + unit[:, :, None] * quantiles


class FFNetTSZero(nn.Module):
    """The zero-shot forecaster; the packaged network, which `create_model` builds, has depth 7 and dim 144.

    Args:
        context: maximum steps of input, a multiple of the patch size.
        horizon: maximum steps of one forecast, a multiple of the patch size.
        patch_size: steps in a token.
        depth, dim, expansion_ratio: number of blocks, width, and expansion of the channel mixer.
        kernel_size, channel_kernel_size: kernel sizes, in tokens, of the token mixer and the channel mixer's query.
        mixers: a name of `metamixer.TOKEN_MIXERS` or a function (dim, kernel_size, operators), for the only stage.
    """

    def __init__(
        self,
        context: int = 512,
        horizon: int = 128,
        *,
        patch_size: int = 16,
        depth: int = 6,
        dim: int = 128,
        expansion_ratio: float = 3,
        kernel_size: int = 33,
        channel_kernel_size: int = 7,
        mixers: Mixers = "ffnified",
        device=None,
        dtype=None,
    ):
        super().__init__()
        if context < patch_size or context % patch_size or horizon < patch_size or horizon % patch_size:
            raise InputError(f"context {context}, horizon {horizon}, expected multiples of patch_size {patch_size}")
        expect_odd("kernel_size", kernel_size)
        expect_odd("channel_kernel_size", channel_kernel_size)
        self.context, self.horizon, self.patch_size = context, horizon, patch_size
        self.settings = {
            "context": context,
            "horizon": horizon,
            "patch_size": patch_size,
            "depth": depth,
            "dim": dim,
            "expansion_ratio": expansion_ratio,
            "kernel_size": kernel_size,
            "channel_kernel_size": channel_kernel_size,
            "mixers": mixers,
        }
        (mixer,) = mixer_of_each(mixers, 1)
        operators = TOKENS.on(device, dtype)
        bases = SeasonalMemory.answers * PERIODS
        self.scale, self.periods, self.memory = RobustScale(), Periods(), SeasonalMemory()
        self.stem = PatchStem(
            3 + 2 * bases, dim, patch_size=patch_size, future=horizon // patch_size, operators=operators
        )
        self.blocks = nn.Sequential(
            *(
                MixerBlock(
                    token_mixer(mixer, dim, kernel_size=kernel_size, operators=operators),
                    ConvNeXtFFN(dim, channel_kernel_size, operators, expansion_ratio=expansion_ratio),
                )
                for _ in range(depth)
            )
        )
        self.head = QuantileHead(dim, bases, patch_size=patch_size, operators=operators)

    def forward(self, series: Tensor, season: Tensor | None = None, horizon: int | None = None) -> Tensor:
        """The quantiles of the next steps, in ascending order.

        series: (B, T), T a multiple of the patch size, NaN for missing values and before the start; season: (B, 2)
        calendar seasons in steps, 0 or None: unknown; horizon: steps, None: all -> (B, quantiles, horizon).
        """
        return self.forecast(series, season, horizon)[0]

    def forecast(
        self, series: Tensor, season: Tensor | None = None, horizon: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The forecast, and the error of a naive forecast in the context, (B, 1), as the unit of errors."""
        horizon = self.horizon if horizon is None else horizon
        future = self.future_tokens(horizon)
        with torch.no_grad():
            scaled, features, bases, unit = self.prepare(series, season, future * self.patch_size)
        tokens = self.blocks(self.stem(features, future))[:, :, -future:]
        quantiles = self.head(tokens, bases[:, :, -future * self.patch_size :], unit)[:, :, :horizon]
        return scaled.invert(quantiles).sort(1).values, (unit * scaled.scale).abs()

    def future_tokens(self, horizon: int) -> int:
        """Tokens for a horizon: 1, 2, 4 and so on, as the network was trained."""
        if not 1 <= horizon <= self.horizon:
            raise InputError(f"horizon {horizon}, expected 1 to {self.horizon} steps at once")
        return min(1 << (-(-horizon // self.patch_size) - 1).bit_length(), self.horizon // self.patch_size)

    def prepare(self, series: Tensor, season: Tensor | None, horizon: int) -> tuple[Scaled, Tensor, Tensor, Tensor]:
        """The scaled series, features (B, channels, T + horizon), bases (B, bases, T + horizon) and unit (B, 1)."""
        if series.ndim != 2 or series.shape[1] % self.patch_size:
            raise InputError(
                f"series of shape {list(series.shape)}, expected (batch, a multiple of {self.patch_size} steps)"
            )
        scaled = self.scale(series)
        found = self.periods(scaled)
        known = torch.zeros_like(found[:, :KNOWN_SEASONS]) if season is None else season
        known = torch.where((known >= 1) & (known <= series.shape[1]), known, NAIVE_PERIOD)
        naive = torch.full_like(known[:, :1], NAIVE_PERIOD)
        bases = self.memory(scaled, torch.cat([naive, known, found], 1), horizon)
        values, observed = F.pad(scaled.values, (0, horizon)), F.pad(scaled.observed, (0, horizon))
        missed = (values[:, None] - bases) * observed[:, None]
        errors = missed[:, :: SeasonalMemory.answers].abs().clamp_max(10).sum(2) / observed.sum(
            1, keepdim=True
        ).clamp_min(1)
        unit = errors.amin(1, keepdim=True).clamp_min(FLOOR)
        last = last_observed(scaled.values, scaled.observed)
        local = (values - last) / unit * observed
        features = torch.cat([values[:, None], local[:, None], bases, missed / unit[:, :, None]], 1)
        features = features.sign() * features.abs().log1p()
        return scaled, torch.cat([features, observed[:, None]], 1), bases, unit


def ffnet_ts_zero(**network) -> FFNetTSZero:
    """FFNet-TS Zero with the keywords of `FFNetTSZero`. Earlier files have `mixer` for `mixers`."""
    return FFNetTSZero(**with_mixers(network))


def quantile_loss(forecast: Tensor, future: Tensor, unit: Tensor) -> Tensor:
    """The mean pinball loss in units of the naive error; forecast: (B, quantiles, H), future: (B, H), unit: (B, 1).

    A series whose future is further than `FAR` units, such as a constant that jumps, counts as one at that distance.
    """
    levels = torch.tensor(QUANTILES, device=forecast.device)[:, None]
    distance = (future - forecast[:, len(QUANTILES) // 2].detach()).abs().mean(1, keepdim=True)
    unit = torch.maximum(unit, distance / FAR).clamp_min(1e-9)
    error = (future[:, None] - forecast) / unit[:, :, None]
    return 2 * torch.maximum(levels * error, (levels - 1) * error).mean()
