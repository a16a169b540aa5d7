"""An endless stream of synthetic series for training a zero-shot forecaster, generated in batches on CPU or GPU.

Most series are a sum or product of random components: a trend, seasons with changing shape, amplitude and phase, a
Gaussian process with a random spectrum (mean reversion is fast, slow or absent), level shifts and switches. Other
families are compositions of Gaussian processes, intermittent demand, and pulses. Observation effects come last:
clipping, rounding, outliers, gaps. A batch depends only on (seed, step), so that training can resume.
"""

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

CALENDAR = {
    4: 10, 12: 22, 52: 8, 7: 14, 5: 4, 24: 22, 48: 7, 96: 9, 144: 9, 168: 3, 288: 5,
    60: 3, 6: 2, 13: 2, 26: 1, 30: 2, 10: 1, 18: 1
}  # fmt: skip
"""Calendar season lengths in steps -> their sampling weights."""

SUPERSEASON = {4: 4, 12: 5, 24: 7, 48: 7, 96: 7, 144: 7, 7: 4, 288: 7, 60: 24}
"""Season length -> number of seasons in the next longer one: days in a week, weeks in a month, hours in a day."""

PROFILE_BINS = 256
"""Number of samples of a season's shape."""


@dataclass(frozen=True)
class SeriesBatch:
    """context (B, T), NaN for missing values; future (B, H), complete; season (B, 2) in steps, 0 if unknown."""

    context: Tensor
    future: Tensor
    season: Tensor

    def rows(self, rows: slice) -> "SeriesBatch":
        """A slice of the series."""
        return SeriesBatch(self.context[rows], self.future[rows], self.season[rows])


class Chance:
    """Random tensors from one generator, on its device; `rows` is the batch size."""

    def __init__(self, seed: int, rows: int, device: torch.device | str = "cpu"):
        self.generator = torch.Generator(device).manual_seed(seed)
        self.rows, self.device = rows, torch.device(device)

    def uniform(self, low: float = 0.0, high: float = 1.0, *, columns: int = 1) -> Tensor:
        """(B, columns)."""
        return torch.rand(self.rows, columns, generator=self.generator, device=self.device) * (high - low) + low

    def log_uniform(self, low: float, high: float, *, columns: int = 1) -> Tensor:
        """(B, columns), log-uniform from low to high."""
        return self.uniform(math.log(low), math.log(high), columns=columns).exp()

    def normal(self, columns: int = 1) -> Tensor:
        """(B, columns)."""
        return torch.randn(self.rows, columns, generator=self.generator, device=self.device)

    def happens(self, probability: float | Tensor, *, columns: int = 1) -> Tensor:
        """(B, columns) of booleans, True with the given probability."""
        return self.uniform(columns=columns) < probability

    def choice(self, weights: list[float]) -> Tensor:
        """(B, 1) of indices, sampled by weight."""
        table = torch.tensor(weights, dtype=torch.float, device=self.device)
        return torch.multinomial(table, self.rows, replacement=True, generator=self.generator)[:, None]

    def poisson(self, rate: Tensor) -> Tensor:
        """Poisson counts, in the shape of `rate`."""
        return torch.poisson(rate, generator=self.generator)

    def of(self, rows: int) -> "Chance":
        """The same generator for another number of rows."""
        other = copy.copy(self)
        other.rows = rows
        return other

    def shuffle(self) -> Tensor:
        """(B,), a random permutation of the rows."""
        return torch.randperm(self.rows, generator=self.generator, device=self.device)


Process = Callable[..., Tensor]
"""(chance, length, ...) -> (B, L)."""


def synthetic_batch(
    rows: int, context: int, horizon: int, *, seed: int, step: int, device: torch.device | str = "cpu"
) -> SeriesBatch:
    """Batch number `step` of the stream of `seed`: `rows` series of `context` steps and their next `horizon`."""
    chance = Chance((seed * 1_000_003 + step) * 7919 + context, rows, device)
    length = context + horizon
    period, season = periods(chance, context)
    series = mixture(chance, length, FAMILIES, period)
    series = mixed(chance, series)
    series = observed(chance, series)
    return SeriesBatch(with_gaps(chance, series[:, :context]), series[:, context:], season)


def select(index: Tensor, *options: Tensor) -> Tensor:
    """Select one of the options (B, L) for each row; index: (B, 1)."""
    result = options[0]
    for i, option in enumerate(options[1:], 1):
        result = torch.where(index == i, option, result)
    return result


def mixture(chance: Chance, length: int, options: Sequence[tuple[float, Process]], *row_tensors: Tensor) -> Tensor:
    """Rows of several processes, in fixed percentages and random order: (B, L).

    row_tensors: arguments of the processes by row, (B, ...).
    """
    places = chance.shuffle()
    ends = [round(chance.rows * end / 100) for end in itertools.accumulate(weight for weight, _ in options)]
    result = torch.empty(chance.rows, length, device=chance.device)
    for start, end, (_, process) in zip([0, *ends[:-1]], ends, options, strict=True):
        if end > start:
            rows = places[start:end]
            result[rows] = process(chance.of(end - start), length, *(tensor[rows] for tensor in row_tensors))
    return result


def sometimes(chance: Chance, length: int, percent: float, process: Process, *row_tensors: Tensor) -> Tensor:
    """The process in `percent` of the rows, zeros in the others; (B, L)."""
    return mixture(chance, length, [(percent, process), (100 - percent, nothing)], *row_tensors)


def nothing(chance: Chance, length: int, *_) -> Tensor:
    """Zeros (B, L)."""
    return torch.zeros(chance.rows, length, device=chance.device)


def standard(x: Tensor) -> Tensor:
    """Normalize each row to mean 0 and std 1; constant rows become zero."""
    x = x - x.mean(1, keepdim=True)
    return x / x.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6)


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

TRENDS: Sequence[tuple[float, Process]] = (
    (15, straight), (14, broken), (8, growth), (5, saturating), (43, walk), (15, smooth)
)  # fmt: skip
"""Kinds of trends and their percentages."""

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
