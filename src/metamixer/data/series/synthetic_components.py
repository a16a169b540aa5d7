"""The components of synthetic series: noise, trends, seasons, level shifts."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .chance import Chance, Process, mixture, select, sometimes, standard

CALENDAR = {
    4: 10, 12: 22, 52: 8, 7: 14, 5: 4, 24: 22, 48: 7, 96: 9, 144: 9, 168: 3, 288: 5,
    60: 3, 6: 2, 13: 2, 26: 1, 30: 2, 10: 1, 18: 1
}  # fmt: skip
"""Calendar season lengths in steps -> their sampling weights."""

SUPERSEASON = {4: 4, 12: 5, 24: 7, 48: 7, 96: 7, 144: 7, 7: 4, 288: 7, 60: 24}
"""Season length -> number of seasons in the next longer one: days in a week, weeks in a month, hours in a day."""

PROFILE_BINS = 256
"""Number of samples of a season's shape."""


def periods(chance: Chance, context: int) -> tuple[Tensor, Tensor]:
    """Season length of each series, (B, 1), and the lengths known of it and a longer one, (B, 2), 0 if unknown."""
    fitting = {steps: weight for steps, weight in CALENDAR.items() if steps <= context}
    steps = torch.tensor(list(fitting), device=chance.device)[chance.choice(list(fitting.values()))].float()
    free = chance.log_uniform(3, context / 1.5)
    period = torch.where(chance.happens(0.2), free, steps)
    told = torch.where(chance.happens(0.6), period.round(), 0)
    longer = torch.where(chance.happens(0.7), told * longer_cycles(period), 0)
    return period, torch.cat([told, longer * (longer <= context)], 1).long()


def longer_cycles(period: Tensor) -> Tensor:
    """The number of seasons in the next longer one; (B, 1)."""
    count = torch.full_like(period, 7)
    for steps, number in SUPERSEASON.items():
        count = torch.where(period == steps, number, count)
    return count


def spectral(chance: Chance, length: int, *, smooth: float = 0.0) -> Tensor:
    """A stationary Gaussian process with a random spectrum: white, autoregressive, Matérn or resonant; (B, L), std 1.

    Its correlation length is log-uniform from one step to several times the length, so mean reversion is fast, slow or
    out of view. smooth: minimum exponent of the spectrum.
    """
    steps = 2 * length
    frequency = 2 * math.pi * torch.arange(steps // 2 + 1, device=chance.device) / steps
    corner = 1 / chance.log_uniform(0.7, 3 * length)
    exponent = torch.where(chance.happens(0.5), 1.0, chance.uniform(max(smooth, 0.2), 3.0)).clamp_min(smooth)
    power = (4 * torch.sin(frequency / 2) ** 2 + corner**2) ** -exponent
    angle = 2 * math.pi / chance.log_uniform(3, length / 2)
    radius = torch.exp(-chance.log_uniform(0.003, 0.5))
    real = 1 - 2 * radius * angle.cos() * frequency.cos() + radius**2 * (2 * frequency).cos()
    imaginary = 2 * radius * angle.cos() * frequency.sin() - radius**2 * (2 * frequency).sin()
    power = torch.where(chance.happens(0.12), power / (real**2 + imaginary**2), power)
    waves = torch.fft.rfft(noise(chance, steps)) * power.sqrt()
    return standard(torch.fft.irfft(waves, n=steps)[:, :length])


def noise(chance: Chance, length: int) -> Tensor:
    """White noise, (B, L): Gaussian in most rows, else a one- or two-sided power law with random exponent."""
    return mixture(chance, length, [(76, gaussian), (18, power_law), (6, lambda *at: power_law(*at).abs() - 0.8)])


def gaussian(chance: Chance, length: int) -> Tensor:
    """(B, L), std 1."""
    return chance.normal(length)


def power_law(chance: Chance, length: int) -> Tensor:
    """Symmetric heavy-tailed noise; (B, L)."""
    return chance.normal(length) * chance.uniform(1e-3, 1.0, columns=length) ** (-1 / chance.uniform(2.0, 8.0))


def walk(chance: Chance, length: int) -> Tensor:
    """A random walk; its step sizes may vary slowly, its steps be rare or drift; (B, L), std 1."""
    steps = noise(chance, length) * sometimes(chance, length, 25, spectral).mul(0.7).exp()
    steps = torch.where(
        chance.happens(0.2), steps * chance.happens(chance.log_uniform(0.01, 0.5), columns=length), steps
    )
    drift = chance.normal() * chance.log_uniform(0.003, 1)
    return standard(torch.cumsum(steps + drift, 1))


def trend(chance: Chance, length: int) -> Tensor:
    """A line, a broken line, exponential or saturating growth, a walk or a smooth curve; (B, L), std 1."""
    return standard(mixture(chance, length, TRENDS))


def straight(chance: Chance, length: int) -> Tensor:
    """A straight line, up or down."""
    return torch.linspace(0, 1, length, device=chance.device) * chance.normal().sign()


def broken(chance: Chance, length: int) -> Tensor:
    """A line with random changes of slope."""
    breaks = chance.happens(chance.log_uniform(0.3, 6) / length, columns=length) * chance.normal(length)
    return torch.cumsum(chance.normal() * 0.5 + torch.cumsum(breaks, 1), 1)


def growth(chance: Chance, length: int) -> Tensor:
    """Exponential growth, fast or slow."""
    return torch.exp(chance.uniform(0.5, 4) * straight(chance, length)) * chance.normal().sign()


def saturating(chance: Chance, length: int) -> Tensor:
    """A transition from one level to another."""
    return (
        torch.tanh((straight(chance, length).abs() - chance.uniform(0, 0.9)) / chance.log_uniform(0.03, 0.5))
        * chance.normal().sign()
    )


def smooth(chance: Chance, length: int) -> Tensor:
    """A smooth curve."""
    return spectral(chance, length, smooth=2.0)


TRENDS: Sequence[tuple[float, Process]] = (
    (15, straight), (14, broken), (8, growth), (5, saturating), (43, walk), (15, smooth)
)  # fmt: skip
"""Kinds of trends and their percentages."""


def profile(chance: Chance) -> Tensor:
    """The shape of a season: waves of random smoothness, also turned into peaks, plateaus or half waves; (B, bins)."""
    waves = torch.fft.rfft(chance.normal(PROFILE_BINS))
    number = torch.arange(waves.shape[1], device=chance.device)
    smoothness = torch.where(chance.happens(0.2), chance.uniform(0.0, 0.5), chance.uniform(0.6, 2.5))
    waves = waves * number.clamp_min(1) ** -smoothness * (number > 0)
    shape = standard(torch.fft.irfft(waves, n=PROFILE_BINS))
    peaks = torch.exp(chance.uniform(0.5, 2.5) * shape)
    half = (shape - chance.uniform(-0.7, 0.7)).clamp_min(0)
    plateau = torch.sigmoid((shape - chance.uniform(-1, 1)) * chance.log_uniform(3, 100))
    return standard(select(chance.choice([55, 15, 18, 12]), shape, peaks, half, plateau))


def season(chance: Chance, length: int, period: Tensor) -> Tensor:
    """A season of `period` steps, (B, 1), with optional changes of amplitude and phase; (B, L)."""
    time = torch.arange(length, device=chance.device)[None] + chance.uniform() * 10 * period
    drift = torch.cumsum(sometimes(chance, length, 12, gaussian), 1) * chance.log_uniform(0.001, 0.03)
    phase = torch.remainder(time / period + drift, 1) * PROFILE_BINS
    index = phase.long().clamp_max(PROFILE_BINS - 1)
    table = profile(chance)
    low, high = table.gather(1, index), table.gather(1, (index + 1) % PROFILE_BINS)
    values = torch.lerp(low, high, phase - index)
    change = sometimes(chance, length, 50, smooth) * chance.log_uniform(0.02, 0.8)
    return values * change.exp()


def superseason(chance: Chance, length: int, period: Tensor) -> Tensor:
    """A longer season over a shorter one, often constant within the shorter one, like weekdays; (B, L), std 1."""
    count = longer_cycles(period)
    cycle = (torch.arange(length, device=chance.device)[None] + (chance.uniform() * 1000 * period).floor()) / period
    levels = chance.normal(max(SUPERSEASON.values()))
    weekend = torch.ones_like(levels)
    weekend[:, 5:7] = 0
    levels = torch.where(chance.happens(0.5), weekend + 0.2 * levels, levels)
    steps = levels.gather(1, torch.remainder(cycle.floor(), count).long())
    return standard(steps + sometimes(chance, length, 30, season, period * count))


def shifts(chance: Chance, length: int) -> Tensor:
    """Piecewise constant levels: rare jumps, or switches between two levels; (B, L), std 1."""
    jumps = torch.cumsum(chance.happens(chance.log_uniform(0.5, 8) / length, columns=length) * noise(chance, length), 1)
    flips = torch.cumsum(chance.happens(chance.log_uniform(1, 40) / length, columns=length).float(), 1)
    return standard(torch.where(chance.happens(0.5), jumps, torch.remainder(flips, 2)))
