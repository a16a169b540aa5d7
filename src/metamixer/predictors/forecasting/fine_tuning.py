"""Fine-tuning of the zero-shot forecaster on one table; the result is kept only if validation improves, and the network
that then forecasts is trained once more on every row."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import cos, pi

import numpy as np
import torch
from torch import Tensor, nn

from ...models.ffnet_ts.zero import KNOWN_SEASONS, QUANTILES, FFNetTSZero, quantile_loss
from .options import expect_training
from .rolling import WINDOWS, cut

CONTEXT = max(WINDOWS)
"""Steps of past in a window, as in the pretraining."""

SHORTEST = 32
"""Minimum steps of past in a window."""


@dataclass(frozen=True)
class FineTuning:
    """How the network is fine-tuned; the defaults take under a minute on two cores for a table of any length.

    steps: of AdamW, with a cosine schedule from `lr` to 0; checks: number of validations, of which the best weights are
    kept; max_windows: per validation; least_windows: minimum number of training windows for fine-tuning.
    """

    steps: int = 60
    batch_size: int = 32
    lr: float = 2e-4
    checks: int = 3
    max_windows: int = 192
    least_windows: int = 128

    def __post_init__(self):
        expect_training(self, "steps", "batch_size", "checks", "max_windows", "least_windows")


@dataclass(frozen=True)
class FineTuned:
    """The network to use, and the validation losses before and after, NaN with too little training data.

    network: the fine-tuned one if it is better, else the original; steps: of its training, 0 for the original.
    """

    network: FFNetTSZero
    before: float
    after: float
    steps: int = 0

    @property
    def kept(self) -> bool:
        """Whether fine-tuning helped."""
        return self.after < self.before

    def __str__(self) -> str:
        if np.isnan(self.before):
            return "fine-tuning: too few rows to train on; zero-shot weights kept"
        verdict = "fine-tuned weights kept" if self.kept else "no better; zero-shot weights kept"
        return f"fine-tuning: quantile loss on validation rows {self.before:.4f} -> {self.after:.4f}; {verdict}"


@dataclass(frozen=True)
class TableWindows:
    """Windows of single series, cut on demand, each described by its column and the first row of its future.

    values: (rows, variables), NaN for missing values.
    """

    values: np.ndarray
    horizon: int
    seasons: Tensor
    places: np.ndarray

    @classmethod
    def between(cls, values: np.ndarray, first: int, end: int, horizon: int, seasons: Sequence[int]) -> "TableWindows":
        """Every window with its future in rows `first` to `end`, and with values in both past and future."""
        starts = np.arange(max(first, SHORTEST), end - horizon + 1)
        known = np.concatenate([np.zeros((1, values.shape[1]), int), np.isfinite(values).cumsum(axis=0)])
        past = known[starts] - known[np.maximum(starts - CONTEXT, 0)]
        future = known[starts + horizon] - known[starts]
        rows, columns = np.nonzero((past >= 2) & (future >= 1))
        periods = torch.tensor([*seasons, *[0] * (KNOWN_SEASONS - len(seasons))])
        return cls(values, horizon, periods, np.stack([columns, starts[rows]], axis=1))

    def __len__(self) -> int:
        return len(self.places)

    def spread(self, count: int) -> "TableWindows":
        """At most `count` windows, evenly spread."""
        chosen = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(int)
        return TableWindows(self.values, self.horizon, self.seasons, self.places[chosen])

    def batch(self, chosen: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Pasts (B, context), seasons (B, 2) and futures (B, horizon), scaled by window."""
        places = self.places[chosen]
        pasts = [self.values[max(start - CONTEXT, 0) : start, column] for column, start in places]
        futures = np.stack([self.values[start : start + self.horizon, column] for column, start in places])
        windows, shift, scale = cut(pasts, CONTEXT)
        futures = torch.from_numpy((futures - shift[:, 0]) / scale[:, 0]).float()
        return windows.to(device), self.seasons.expand(len(places), -1).to(device), futures.to(device)


def fine_tune(
    network: FFNetTSZero,
    values: np.ndarray,
    horizon: int,
    *,
    borders: tuple[int, int],
    seasons: Sequence[int] = (),
    settings: FineTuning = FineTuning(),
    seed: int = 0,
    device: torch.device = torch.device("cpu"),
) -> FineTuned:
    """Train a copy of the network on the rows before `borders[0]`, and validate it on those up to `borders[1]`.

    values: (rows, variables), NaN for missing values; seasons: in steps. Longer horizons than the network's are trained
    at the network's own.
    """
    horizon = min(horizon, network.horizon, WINDOWS[CONTEXT])
    train = TableWindows.between(values, 0, borders[0], horizon, seasons)
    validation = TableWindows.between(values, borders[0], borders[1], horizon, seasons).spread(settings.max_windows)
    if len(train) < settings.least_windows or not len(validation):
        return FineTuned(network, float("nan"), float("nan"))
    tuned = copy.deepcopy(network).to(device)
    best, best_step = None, 0
    lowest = before = validation_loss(tuned, validation, settings.batch_size, device)
    every = max(settings.steps // settings.checks, 1)
    for step in training_steps(tuned, train, settings, seed, device):
        if step % every == 0 or step == settings.steps:
            loss = validation_loss(tuned, validation, settings.batch_size, device)
            if loss < lowest:
                best, best_step, lowest = copy.deepcopy(tuned.state_dict()), step, loss
    if best is None:
        return FineTuned(network, before, loss)
    tuned.load_state_dict(best)
    return FineTuned(tuned.eval(), before, lowest, best_step)


def tune_on_all_rows(
    network: FFNetTSZero,
    values: np.ndarray,
    horizon: int,
    *,
    steps: int,
    seasons: Sequence[int] = (),
    settings: FineTuning = FineTuning(),
    seed: int = 0,
    device: torch.device = torch.device("cpu"),
) -> FFNetTSZero:
    """Train a copy of the network on every row, as `fine_tune` does, for the number of steps that was best there."""
    horizon = min(horizon, network.horizon, WINDOWS[CONTEXT])
    tuned = copy.deepcopy(network).to(device)
    windows = TableWindows.between(values, 0, len(values), horizon, seasons)
    for _ in islice(training_steps(tuned, windows, settings, seed, device), steps):
        pass
    return tuned.eval()


def training_steps(
    network: FFNetTSZero, windows: TableWindows, settings: FineTuning, seed: int, device: torch.device
) -> Iterator[int]:
    """Train the network in place, and yield the number of each step after it."""
    random = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.0)
    for step in range(1, settings.steps + 1):
        optimizer.param_groups[0]["lr"] = settings.lr * (0.5 + 0.5 * cos(pi * step / (settings.steps + 1)))
        chosen = random.integers(len(windows), size=settings.batch_size)
        window_loss(network, windows.batch(chosen, device)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield step


def window_loss(network: FFNetTSZero, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The quantile loss of a batch, without missing values of the future."""
    past, season, future = batch
    forecast, unit = network.forecast(past, season, future.shape[1])
    median = forecast[:, len(QUANTILES) // 2].detach()
    return quantile_loss(forecast, torch.where(future.isnan(), median, future), unit)


@torch.no_grad()
def validation_loss(network: FFNetTSZero, windows: TableWindows, batch_size: int, device: torch.device) -> float:
    """The mean quantile loss over all windows."""
    parts = np.array_split(np.arange(len(windows)), -(-len(windows) // batch_size))
    return sum(window_loss(network, windows.batch(part, device)).item() * len(part) for part in parts) / len(windows)
