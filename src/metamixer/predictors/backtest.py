"""Backtests: errors of a forecaster on held-out rows, compared with the seasonal-naive forecast."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.series.windows import Windows
from .intervals import share_held


@dataclass(frozen=True)
class Backtest:
    """Errors of a forecaster and of a naive forecast on the same windows, per variable, in units of its std.

    season: steps that the naive forecast repeats; windows: their number; errors: NaN for a variable without values;
    coverage: fraction of values inside each interval, by level in percent, NaN without values.
    """

    names: tuple[str, ...]
    season: int
    windows: int
    mae: tuple[float, ...]
    mse: tuple[float, ...]
    naive_mae: tuple[float, ...]
    naive_mse: tuple[float, ...]
    coverage: dict[float, float]

    @property
    def naive(self) -> str:
        """The name of the naive forecast."""
        return "last value" if self.season == 1 else "seasonal-naive"

    @property
    def skill(self) -> float:
        """1 - MAE / naive MAE over all variables with values: 0.2 is 20 % better, below 0 is worse; NaN without any."""
        measured = [errors for errors in zip(self.mae, self.naive_mae, strict=True) if not math.isnan(errors[0])]
        if not measured:
            return math.nan
        ours, naive = map(sum, zip(*measured, strict=True))
        return 1 - ours / naive if naive > 0 else 0.0

    @property
    def verdict(self) -> str:
        """The comparison in words."""
        if math.isnan(self.skill):
            return "no values to compare with"
        percent = round(100 * self.skill)
        if percent == 0:
            return f"no better than {self.naive}: use {self.naive}"
        return f"{percent}% better than {self.naive}" if percent > 0 else f"{-percent}% worse: use {self.naive}"

    def __str__(self) -> str:
        width = max(8, *map(len, self.names))
        steps = f" ({self.season} steps)" if self.season > 1 else ""
        lines = [
            f"backtest on {self.windows} windows; mean absolute error in units of each variable's std",
            f"{'variable':{width}s}  forecaster  {self.naive}{steps}",
        ]
        for name, ours, naive in zip(self.names, self.mae, self.naive_mae, strict=True):
            errors = f"{'no values':>10s}" if math.isnan(ours) else f"{ours:10.3f}  {naive:14.3f}"
            lines.append(f"{name:{width}s}  {errors}")
        for level, share in self.coverage.items():
            held = "weren't tested: no values" if math.isnan(share) else f"cover {share:.1%} of the values"
            lines.append(f"{level:g} % intervals {held}")
        return "\n".join([*lines, self.verdict])


def backtest(
    values: Tensor,
    forecast: Callable[[Tensor], Tensor],
    *,
    measured: Tensor,
    names: Sequence[str],
    start: int,
    lookback: int,
    horizon: int,
    season: int,
    quantiles: Mapping[float, list],
    max_windows: int,
) -> Backtest:
    """Evaluate forecasts of the rows from `start` on; values: (rows, variables) in units of std.

    measured: the same with NaN for filled values, which are left out. Without a full season before `start`, the naive
    forecast is the last value. forecast: (N, lookback, variables) -> (N, horizon, variables);
    quantiles:
    the intervals' margins by level.
    """
    season = season if start >= season else 1
    first = start - max(lookback, season)
    windows = Windows(values[first:], start - first, horizon, measured=measured[first:]).spread(max_windows)
    errors = (forecast(windows.past[:, -lookback:]) - windows.future).abs()
    naive_errors = (seasonal_naive(windows.past, season, horizon) - windows.future).abs()
    return Backtest(
        names=tuple(names),
        season=season,
        windows=len(windows),
        mae=_by_variable(errors),
        mse=_by_variable(errors.square()),
        naive_mae=_by_variable(naive_errors),
        naive_mse=_by_variable(naive_errors.square()),
        coverage={level: share_held(errors, torch.tensor(margin)) for level, margin in quantiles.items()},
    )


def seasonal_naive(past: Tensor, season: int, horizon: int) -> Tensor:
    """Repeat the last season; past: (N, rows, variables) -> (N, horizon, variables)."""
    repeated = past[:, -season:][:, :horizon]  # a season may be much longer than the horizon
    return repeated.repeat(1, math.ceil(horizon / season), 1)[:, :horizon]


def _by_variable(errors: Tensor) -> tuple[float, ...]:
    return tuple(errors.nanmean(dim=(0, 1)).tolist())
