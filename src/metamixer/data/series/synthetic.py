"""An endless stream of synthetic series for training a zero-shot forecaster, generated in batches on CPU or GPU.

Most series are a sum or product of random components: a trend, seasons with changing shape, amplitude and phase, a
Gaussian process with a random spectrum (mean reversion is fast, slow or absent), level shifts and switches. Other
families are compositions of Gaussian processes, intermittent demand, and pulses. Observation effects come last:
clipping, rounding, outliers, gaps. A batch depends only on (seed, step), so that training can resume.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .chance import Chance, Process, mixture, select, sometimes, standard
from .synthetic_components import noise, periods, season, shifts, spectral, superseason, trend


@dataclass(frozen=True)
class SeriesBatch:
    """context (B, T), NaN for missing values; future (B, H), complete; season (B, 2) in steps, 0 if unknown."""

    context: Tensor
    future: Tensor
    season: Tensor

    def rows(self, rows: slice) -> "SeriesBatch":
        """A slice of the series."""
        return SeriesBatch(self.context[rows], self.future[rows], self.season[rows])


def synthetic_batch(
    rows: int, context: int, horizon: int, *, seed: int, step: int, device: torch.device | str = "cpu"
) -> SeriesBatch:
    """Batch number `step` of the stream of `seed`: `rows` series of `context` steps and their next `horizon`."""
    chance = Chance(((seed * 1_000_003 + step) * 7919 + context) % 2**64, rows, device)
    length = context + horizon
    period, season = periods(chance, context)
    series = mixture(chance, length, FAMILIES, period)
    series = mixed(chance, series)
    series = observed(chance, series)
    return SeriesBatch(with_gaps(chance, series[:, :context]), series[:, context:], season)


def structural(chance: Chance, length: int, period: Tensor) -> Tensor:
    """Trend, seasons, noise and shifts in random proportions, combined by sums and products; (B, L)."""
    regular = sometimes(chance, length, 72, season, period)
    regular = regular * (1 + 0.6 * sometimes(chance, length, 20, superseason, period)).clamp_min(0)
    regular = regular + sometimes(chance, length, 20, superseason, period) * chance.log_uniform(0.1, 1.5)
    slow = sometimes(chance, length, 65, trend) * chance.log_uniform(0.05, 8)
    memory = sometimes(chance, length, 68, spectral) * chance.log_uniform(0.05, 2)
    loud = torch.where(chance.happens(0.25), regular.abs() + 0.2, sometimes(chance, length, 15, spectral).exp())
    rest = noise(chance, length) * loud * chance.log_uniform(0.01, 1.0)
    level = sometimes(chance, length, 12, shifts) * chance.log_uniform(0.1, 2)
    total = slow + regular + memory + rest + level
    strength = chance.log_uniform(0.05, 0.8)
    product = torch.exp((strength * total).clamp(-8, 8))
    growing = (1 + strength * regular) * torch.exp((0.5 * slow).clamp(-8, 8)) * (1 + 0.2 * (memory + rest))
    attenuated = regular * torch.sigmoid(1 + 2 * memory) + 0.05 * rest
    return select(chance.choice([60, 20, 12, 8]), total, product, growing, attenuated)


def composed(chance: Chance, length: int, period: Tensor) -> Tensor:
    """Three random processes, spectral, periodic or trends, added, multiplied or in succession; (B, L)."""
    time = torch.linspace(0, 1, length, device=chance.device)[None]
    result = spectral(chance, length, smooth=0.6)
    for factor in (1.0, 0.5):
        other = mixture(chance, length, PROCESSES, (period * factor).clamp_min(2))
        turn = torch.sigmoid((time - chance.uniform()) * chance.log_uniform(5, 300))
        after = result * (1 - turn) + other * turn
        result = select(
            chance.choice([50, 30, 10]), result + other * chance.log_uniform(0.1, 2), result * (1 + other), after
        )
    return result + noise(chance, length) * chance.log_uniform(0.003, 0.3)


def intermittent(chance: Chance, length: int, period: Tensor) -> Tensor:
    """Intermittent demand: counts or random sizes, often zero, whose rate has seasons and a slow trend; (B, L)."""
    course = (
        spectral(chance, length, smooth=0.8) * chance.log_uniform(0.05, 1) + sometimes(chance, length, 30, trend) * 0.5
    )
    course = course + sometimes(chance, length, 50, season, period) * chance.log_uniform(0.1, 1)
    rate = (chance.log_uniform(0.03, 30) * torch.exp(course.clamp(-5, 4))).clamp(1e-3, 1e4)
    burst = torch.exp(chance.normal(length) * chance.uniform(0.1, 1.2))
    counts = chance.poisson(torch.where(chance.happens(0.5), rate * burst, rate))
    sizes = torch.exp(chance.normal(length) * chance.uniform(0.1, 1.0))
    sold = chance.happens(rate.clamp_max(1) * 0.8, columns=length) * sizes
    return select(chance.choice([70, 30]), counts, sold)


def pulses(chance: Chance, length: int, period: Tensor) -> Tensor:
    """Regular or random events, each a decaying pulse, over a noisy level; (B, L)."""
    steps = 2 * length
    often = chance.log_uniform(0.004, 0.2)
    time = torch.arange(steps, device=chance.device)[None]
    jitter = chance.happens(0.5) * (chance.normal(steps) * 0.6).round()
    regular = torch.remainder((time + jitter + (chance.uniform() * period).floor()), period.round()) < 1
    events = torch.where(chance.happens(0.45), regular, chance.happens(often, columns=steps))
    size = torch.exp(chance.normal(steps) * chance.log_uniform(0.02, 1))
    decay = torch.exp(-time / chance.log_uniform(0.3, 40))
    decay = torch.where(chance.happens(0.3), (time < chance.log_uniform(1, 30)).float(), decay)
    response = torch.fft.irfft(torch.fft.rfft(events * size) * torch.fft.rfft(decay), n=steps)[:, length:]
    base = sometimes(chance, length, 70, spectral) * chance.log_uniform(0.02, 1)
    base = base + sometimes(chance, length, 30, season, period) * chance.log_uniform(0.1, 1)
    return standard(response) * chance.normal().sign() + base + noise(chance, length) * chance.log_uniform(0.003, 0.3)


FAMILIES: Sequence[tuple[float, Process]] = ((70, structural), (12, composed), (9, intermittent), (9, pulses))
"""Families and their percentages of the series."""

PROCESSES: Sequence[tuple[float, Process]] = (
    (40, season), (45, lambda chance, length, _: spectral(chance, length)),
    (15, lambda chance, length, _: trend(chance, length))
)  # fmt: skip
"""Processes of a composition and their percentages."""


def mixed(chance: Chance, series: Tensor) -> Tensor:
    """Add another series of the batch to some rows; (B, L)."""
    other = standard(series)[chance.shuffle()]
    mixture = standard(series) + other * chance.log_uniform(0.1, 1)
    return torch.where(chance.happens(0.1), mixture, series)


def observed(chance: Chance, series: Tensor) -> Tensor:
    """Observation effects in some rows: sign flips, clipping, rounding, outliers; (B, L)."""
    length = series.shape[1]
    shape = standard(series)
    low, high = torch.quantile(
        shape[:, :: max(length // 64, 1)], torch.tensor([0.15, 0.85], device=chance.device), dim=1
    )
    shape = torch.where(chance.happens(0.04), torch.maximum(shape, low[:, None]), shape)
    shape = torch.where(chance.happens(0.04), torch.minimum(shape, high[:, None]), shape)
    grain = chance.log_uniform(0.02, 0.7)
    shape = torch.where(chance.happens(0.1), (shape / grain).round() * grain, shape)
    shape = shape + sometimes(chance, length, 8, outliers)
    return torch.where(chance.happens(0.3), -shape, shape)


def outliers(chance: Chance, length: int) -> Tensor:
    """A few isolated, large measurement errors; (B, L)."""
    places = chance.happens(chance.log_uniform(0.3, 6) / length, columns=length)
    return places * noise(chance, length) * chance.log_uniform(1, 100)


def with_gaps(chance: Chance, context: Tensor) -> Tensor:
    """Missing values as NaN: late starts, random points, or stretches; the last step is kept; (B, T)."""
    length = context.shape[1]
    time = torch.arange(length, device=chance.device)[None]
    begin = torch.where(chance.happens(0.5), chance.uniform(0, 1) ** 0.7 * (length - 4), 0.0)
    scattered = chance.happens(chance.log_uniform(0.005, 0.4), columns=length) & chance.happens(0.08)
    start, extent = chance.uniform(0, length), chance.log_uniform(1, length / 4)
    stretch = (time >= start) & (time < start + extent) & chance.happens(0.06)
    missing = (time < begin) | ((scattered | stretch) & (time < length - 1))
    return context.masked_fill(missing, torch.nan)
