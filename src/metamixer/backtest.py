"""What a forecaster is worth: its errors on rows that it didn't learn from, beside those of repeating the last season."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .data.windows import Windows


@dataclass(frozen=True)
class Backtest:
    """Errors of a forecaster and of a seasonal-naive forecast on the same windows, a number a variable, in units of deviation.

    season: steps that the naive forecast repeats; windows: how many; coverage: the share of values inside each interval, by its
    level in percent.
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
    def skill(self) -> float:
        """By how much the mean absolute error over all variables is smaller than the naive one: 0.2 is a fifth, below 0 is worse."""
        return 1 - sum(self.mae) / sum(self.naive_mae) if sum(self.naive_mae) > 0 else 0.0

    def __str__(self) -> str:
        width = max(8, *map(len, self.names))
        lines = [
            f"backtest on {self.windows} windows; mean absolute error in units of each variable's deviation",
            f"{'variable':{width}s}  forecaster  seasonal-naive ({self.season} steps)",
        ]
        for name, ours, naive in zip(self.names, self.mae, self.naive_mae, strict=True):
            lines.append(f"{name:{width}s}  {ours:10.3f}  {naive:14.3f}")
        lines += [f"{level:g} % intervals held {share:.1%} of the values" for level, share in self.coverage.items()]
        verdict = f"{self.skill:.0%} better than seasonal-naive" if self.skill > 0 else f"{-self.skill:.0%} worse: use seasonal-naive"
        return "\n".join([*lines, verdict])


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
    """Forecast windows whose future lies behind row `start`; values: (rows, variables) in units of deviation.

    measured: (rows, variables), False for values that were missing and filled in, which count in no error.
    forecast: (N, lookback, variables) -> (N, horizon, variables); quantiles: the intervals' margins by level.
    """
    history = max(lookback, season)
    season = season if start >= history else 1
    history = history if start >= history else lookback
    windows, counts = (
        Windows(rows[start - history :], history, horizon).spread(max_windows).windows for rows in (values, measured.float())
    )
    past, future, counts = windows[:, :history], windows[:, history:], counts[:, history:]
    errors = (forecast(past[:, -lookback:]) - future).abs()
    naive_errors = (seasonal_naive(past, season, horizon) - future).abs()
    return Backtest(
        names=tuple(names),
        season=season,
        windows=len(windows),
        mae=_by_variable(errors, counts),
        mse=_by_variable(errors.square(), counts),
        naive_mae=_by_variable(naive_errors, counts),
        naive_mse=_by_variable(naive_errors.square(), counts),
        coverage={
            level: ((errors <= torch.tensor(margin)) * counts).sum().item() / max(counts.sum().item(), 1)
            for level, margin in quantiles.items()
        },
    )


def seasonal_naive(past: Tensor, season: int, horizon: int) -> Tensor:
    """The last season over and over; past: (N, rows, variables) -> (N, horizon, variables)."""
    return past[:, -season:].repeat(1, math.ceil(horizon / season), 1)[:, :horizon]


def absolute_quantiles(errors: Tensor, level: float, measured: Tensor | None = None) -> Tensor:
    """The margin that covers a share `level` of new errors if they are like these (split conformal prediction).

    errors: (N, horizon, variables), not negative -> (horizon, variables): the ceil((N + 1) * level)-th smallest, at most the largest, of
    the N that were measured (None: all); where a step has none, the largest margin of its variable's other steps.
    """
    measured = torch.ones_like(errors, dtype=torch.bool) if measured is None else measured
    count = measured.sum(dim=0)
    rank = torch.minimum(((count + 1) * level).ceil().long(), count).clamp(min=1)
    margins = errors.masked_fill(~measured, math.inf).sort(dim=0).values.gather(0, rank[None] - 1)[0]
    largest = margins.masked_fill(count == 0, 0).amax(dim=0)
    return torch.where(count == 0, largest, margins)


def _by_variable(errors: Tensor, counts: Tensor) -> tuple[float, ...]:
    return tuple(((errors * counts).sum(dim=(0, 1)) / counts.sum(dim=(0, 1)).clamp(min=1)).tolist())
