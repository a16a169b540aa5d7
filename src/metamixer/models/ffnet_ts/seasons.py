"""The starting point of a zero-shot forecast: a robust scale, the periods of a series and the values one period ago.

All of it is computed from the series alone, without weights. NaN is a missing value.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...mixer import MetaMixer

CYCLES = 4
"""Cycles that the seasonal memory looks back."""

LEAST_STEPS = 16
"""Minimum number of steps over which growth is averaged."""

MOST_GROWTH = 3.0
"""Maximum growth over a horizon, in scales of the series; more would be extrapolated noise."""

TINY = 1e-30
"""Minimum magnitude of a series; below it, the series is constant."""

LEAST_SPREAD = 1e-6
"""Minimum spread of the usual values, relative to the largest distance from the last one."""


@dataclass(frozen=True)
class Scaled:
    """A normalized series: values (B, T), zero if missing; observed (B, T), 1 or 0; center and signed scale (B, 1)."""

    values: Tensor
    observed: Tensor
    center: Tensor
    scale: Tensor

    def invert(self, forecast: Tensor) -> Tensor:
        """forecast: (B, ..., H) -> the same shape in the units of the series."""
        shape = (-1, *[1] * (forecast.ndim - 1))
        return forecast * self.scale.view(shape) + self.center.view(shape)


class RobustScale(nn.Module):
    """Center and scale a series by its clipped mean and mean absolute deviation, and orient it by its skewness.

    Shifted, scaled and negated series have the same result: the scale of a series with negative skewness is negative.
    """

    clip = 5.0
    rounds = 3

    def forward(self, series: Tensor) -> Scaled:
        """series: (B, T), NaN if missing; a series without values becomes zeros."""
        observed = torch.isfinite(series).to(series.dtype)
        count = observed.sum(1, keepdim=True).clamp_min(1)
        values = torch.where(observed > 0, series, 0)
        origin = last_observed(values, observed)
        values = (values - origin) * observed  # a constant series is exactly zero from here on
        magnitude = values.abs().amax(1, keepdim=True).clamp_min(TINY)
        clipped = values / magnitude
        for _ in range(self.rounds):
            center = clipped.sum(1, keepdim=True) / count
            spread = ((clipped - center).abs() * observed).sum(1, keepdim=True) / count
            clipped = (
                torch.maximum(torch.minimum(clipped, center + self.clip * spread), center - self.clip * spread)
                * observed
            )
        skewness = (((clipped - center) / spread.clamp_min(LEAST_SPREAD)) ** 3 * observed).sum(1, keepdim=True)
        scale = 1.25 * spread.clamp_min(LEAST_SPREAD) * torch.where(skewness < 0, -1.0, 1.0)
        values = (values / magnitude - center) / scale * observed
        return Scaled(values, observed, origin + center * magnitude, scale * magnitude)


class Periods(nn.Module):
    """Two periods of a series: lags of the highest autocorrelation peak and of the highest shorter one; else 1."""

    threshold = 0.1
    shorter = 0.6
    clip = 4.0

    def forward(self, series: Scaled) -> Tensor:
        """series of T steps -> (B, 2) lags of at most T / 2, as integers."""
        correlation, overlap = autocorrelation(detrend(series, clip=self.clip), series.observed)
        lags = torch.arange(correlation.shape[1], device=correlation.device)
        inner = correlation[:, 1:-1]
        peak = (inner >= correlation[:, :-2]) & (inner > correlation[:, 2:]) & (lags[1:-1] >= 2)
        score = inner - overlap[:, 1:-1].clamp_min(1).rsqrt() - 0.1 * lags[1:-1] / series.values.shape[1]
        score = torch.where(peak & (overlap[:, 1:-1] >= 3), score, -1.0)
        longest = self._best(score)
        return torch.stack(
            [longest, self._best(torch.where(lags[1:-1] <= self.shorter * longest[:, None], score, -1.0))], 1
        )

    def _best(self, score: Tensor) -> Tensor:
        value, index = score.max(1)
        return torch.where(value > self.threshold, index + 1, 1)


class SeasonalMemory(MetaMixer):
    """A mixer whose query is a phase: keys are the steps of the same phase, values the observations there.

    It has three outputs per period: the latest value of the phase, that value plus the growth since, and the mean of
    the last `CYCLES`. Steps of the context look one cycle back, those of the future as many cycles as reach the
    context, so that both use only the past.
    """

    answers = 3
    growth = 1  # index of the output with growth

    def __init__(self):
        super().__init__(query=Phases(), key=SamePhase(), act=Recency(), value=WeightedValues())

    def forward(self, series: Scaled, periods: Tensor, horizon: int) -> Tensor:
        """series of T steps, periods (B, P) -> (B, answers * P, T + horizon)."""
        return super().forward((series, periods, horizon))


class Phases(nn.Module):
    """The latest past step of the same phase, for each step."""

    def forward(self, x: tuple[Scaled, Tensor, int]) -> tuple[Scaled, Tensor, Tensor]:
        """(series, periods, horizon) -> series, periods (B, P, 1), cycles back to these steps (B, P, T + horizon)."""
        series, periods, horizon = x
        length = series.values.shape[1]
        time = torch.arange(length + horizon, device=periods.device)
        periods = periods[:, :, None]
        cycles = torch.where(time < length, 1, torch.div(time - length, periods, rounding_mode="floor") + 1)
        return series, periods, cycles.expand(*periods.shape[:2], -1)


class SamePhase(nn.Module):
    """Values and observed flags at the last `CYCLES` steps of the phase, and the growth since the latest of them."""

    def forward(self, x: tuple[Scaled, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(series, periods, cycles) -> values and flags, each (B, P, CYCLES, T + horizon), growth (B, P, T +
        horizon).
        """
        series, periods, cycles = x
        time = torch.arange(cycles.shape[2], device=periods.device)
        back = torch.arange(CYCLES, device=periods.device)[:, None]
        steps = (time - cycles * periods)[:, :, None] - back * periods[:, :, None]
        index = steps.clamp_min(0).flatten(1)
        values = series.values.gather(1, index).view(steps.shape)
        flags = series.observed.gather(1, index).view(steps.shape) * (steps >= 0)
        return (
            values,
            flags,
            (cycles * growth(series, values[:, :, 0], flags[:, :, 0], periods)).clamp(-MOST_GROWTH, MOST_GROWTH),
        )


class Recency(nn.Module):
    """Two weightings: all weight on the latest observed value, and equal weights."""

    def forward(self, x: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(values, flags, growth) -> values, weights (B, P, 2, CYCLES, T + horizon), growth."""
        values, flags, growth = x
        earlier = flags.cumsum(2)
        latest = flags * (earlier <= 1)
        return values, torch.stack([latest, flags / earlier[:, :, -1:].clamp_min(1)], 2), growth


class WeightedValues(nn.Module):
    """The weighted sums of the values, and the latest plus growth; 0 (the series' center) without observations."""

    def forward(self, x: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """(values, weights, growth) -> (B, 3 * P, T + horizon)."""
        values, weights, growth = x
        latest, mean = (values[:, :, None] * weights).sum(3).unbind(2)
        return torch.stack([latest, latest + growth, mean], 2).flatten(1, 2)


def growth(series: Scaled, before: Tensor, known: Tensor, periods: Tensor) -> Tensor:
    """The growth of the series per cycle, averaged over the last cycle or `LEAST_STEPS`, from each step's past.

    before, known: values one cycle before each step, and whether they were observed, (B, P, T + H) -> the same shape.
    """
    length = series.values.shape[1]
    pairs = known[:, :, :length] * series.observed[:, None]
    gains = (series.values[:, None] - before[:, :, :length]) * pairs
    totals = F.pad(torch.stack([gains, pairs]).cumsum(3), (1, 0))
    end = torch.arange(before.shape[2], device=periods.device).clamp_max(length).expand(before.shape)
    start = (end - periods.clamp_min(LEAST_STEPS)).clamp_min(0)
    gain, count = (total.gather(2, end) - total.gather(2, start) for total in totals)
    return gain / count.clamp_min(1)


def last_observed(values: Tensor, observed: Tensor) -> Tensor:
    """values, observed: (B, T) -> (B, 1), 0 without observations."""
    time = torch.arange(values.shape[1], device=values.device)
    return values.gather(1, (observed * time).argmax(1, keepdim=True))


def detrend(series: Scaled, *, clip: float) -> Tensor:
    """The values with outliers clipped, minus their least-squares line; (B, T)."""
    observed = series.observed
    count = observed.sum(1, keepdim=True).clamp_min(1)
    values = series.values.clamp(-clip, clip)
    time = torch.linspace(-1, 1, values.shape[1], device=values.device) * observed
    time = (time - time.sum(1, keepdim=True) / count) * observed
    values = (values - values.sum(1, keepdim=True) / count) * observed
    slope = (time * values).sum(1, keepdim=True) / time.square().sum(1, keepdim=True).clamp_min(1e-6)
    return values - slope * time


def autocorrelation(values: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Autocorrelation over the pairs observed and their number, at lags 0 to T / 2; each (B, T // 2 + 1).

    Computed by products with Fourier matrices, which every runtime supports.
    """
    matrices = (
        fourier_matrices if torch.compiler.is_compiling() else cached_fourier_matrices
    )  # a traced tensor must not be kept
    forward, inverse = matrices(values.shape[1], values.device)
    covariance, overlap = (((x @ forward).square().unflatten(1, (2, -1)).sum(1)) @ inverse for x in (values, observed))
    overlap = overlap.round()
    correlation = covariance / overlap.clamp_min(1)
    return correlation / correlation[:, :1].clamp_min(1e-6), overlap


def fourier_matrices(length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(T, 2 * (T + 1)) of cosines and sines over 2 * T steps, and (T + 1, T // 2 + 1) from their squares to
    covariances.
    """
    angle = math.pi / length
    time, frequency = torch.arange(length), torch.arange(length + 1)
    forward = angle * torch.outer(time, frequency)
    weight = torch.full((length + 1,), 1 / length)
    weight[0] = weight[-1] = 0.5 / length
    inverse = weight[:, None] * torch.cos(angle * torch.outer(frequency, time[: length // 2 + 1]))
    return torch.cat([forward.cos(), forward.sin()], 1).to(device), inverse.to(device)


cached_fourier_matrices = lru_cache(maxsize=16)(fourier_matrices)
