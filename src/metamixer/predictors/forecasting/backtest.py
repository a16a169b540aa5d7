"""Backtests: errors of a forecaster on held-out rows, compared with the seasonal-naive forecast."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...data.series.windows import Windows
from .intervals import share_held

LOOK_BACK = 512
"""Maximum rows before a window that a zero-shot forecast uses."""

MOST_ZERO_SHOT = 1792
"""Maximum series, over all windows, that a backtest forecasts zero-shot: about ten seconds on one core."""

NONE = "-"
"""What tables show for an error that there isn't."""


@dataclass(frozen=True)
class Backtest:
    """Errors of a forecaster and of a naive forecast on the same windows, per variable, in units of its std.

    season: steps that the naive forecast repeats; windows: their number; errors: NaN for a variable without values;
    coverage: fraction of values inside each interval, by level in percent, NaN without values;
    zero_shot_mae: of the packaged network without training; std: of each variable, in the table's units; step: the mean
    absolute change of each variable over a season on the earlier rows, in units of its std.
    """

    names: tuple[str, ...]
    season: int
    windows: int
    mae: tuple[float, ...]
    mse: tuple[float, ...]
    naive_mae: tuple[float, ...]
    naive_mse: tuple[float, ...]
    coverage: dict[float, float]
    zero_shot_mae: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    step: tuple[float, ...] | None = None

    @property
    def units_mae(self) -> tuple[float, ...] | None:
        """`mae` in the table's units; None if these are unknown."""
        return self.std and tuple(error * scale for error, scale in zip(self.mae, self.std, strict=True))

    @property
    def mase(self) -> tuple[float, ...] | None:
        """`mae` over the mean absolute error of the one-season-ahead naive forecast on the earlier rows."""
        return self.step and scaled_errors(self.mae, self.step)

    @property
    def errors(self) -> dict[str, tuple[float, ...]]:
        """The mean absolute errors by the name of the forecast: ours, zero-shot if compared, and naive."""
        naive = f"{self.naive} ({self.season} steps)" if self.season > 1 else self.naive
        found = {"forecaster": self.mae, "zero-shot": self.zero_shot_mae, naive: self.naive_mae}
        return {name: errors for name, errors in found.items() if errors is not None}

    @property
    def mean_mase(self) -> dict[str, float]:
        """MASE by the name of the forecast, the mean over all variables that have one; empty if it is unknown."""
        if self.step is None:
            return {}
        return {name: nanmean(scaled_errors(errors, self.step)) for name, errors in self.errors.items()}

    @property
    def naive(self) -> str:
        """The name of the naive forecast."""
        return "last value" if self.season == 1 else "seasonal-naive"

    @property
    def skill(self) -> float:
        """1 - MAE / naive MAE over all variables with both: 0.2 is 20 % better, below 0 is worse; NaN without any."""
        return self.skill_over(self.naive_mae)

    def skill_over(self, others: Sequence[float]) -> float:
        """`skill` over another forecast with these mean absolute errors."""
        measured = [errors for errors in zip(self.mae, others, strict=True) if not any(map(math.isnan, errors))]
        if not measured:
            return math.nan
        ours, theirs = map(sum, zip(*measured, strict=True))
        return 1 - ours / theirs if theirs > 0 else 0.0

    @property
    def verdict(self) -> str:
        """The comparison in words."""
        if math.isnan(self.skill):
            return "no values to compare with"
        percent = round(100 * self.skill)
        zero_shot = 100 * self.skill_over(self.zero_shot_mae) if self.zero_shot_mae else math.nan
        if percent == 0:
            return f"no better than {self.naive}: use {self.naive}"
        if percent < 0:
            return f"{-percent}% worse: use {self.naive}"
        worse = f", but {-zero_shot:.0f}% worse than zero-shot: use zero-shot" if zero_shot < -0.5 else ""
        return f"{percent}% better than {self.naive}{worse}"

    def __str__(self) -> str:
        units = "the table's units, and MASE" if self.std else "units of each variable's std"
        windows = "1 window" if self.windows == 1 else f"{self.windows} windows"
        rows = [["variable", *self.errors], *self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"backtest on {windows}; mean absolute error in {units}"]
        for name, *cells in rows:
            padded = [f"{cell:>{width}s}" for cell, width in zip(cells, widths[1:], strict=True)]
            lines.append("  ".join([f"{name:{widths[0]}s}", *padded]).rstrip())
        if any(cell.endswith(NONE) for row in rows for cell in row):
            lines.append(f"{NONE}: no error, or no MASE, as of a series that is exactly seasonal")
        for level, share in self.coverage.items():
            held = "weren't tested: no values" if math.isnan(share) else f"cover {share:.1%} of the values"
            lines.append(f"{level:g} % intervals {held}")
        return "\n".join([*lines, self.verdict])

    def _rows(self) -> Iterator[list[str]]:
        """The cells of each variable's line: its name, then the errors of each forecast."""
        for i, name in enumerate(self.names):
            if math.isnan(self.mae[i]):
                yield [name, "no values", *[""] * (len(self.errors) - 1)]
                continue
            yield [name, *(self._cell(errors, i) for errors in self.errors.values())]

    def _cell(self, errors: Sequence[float], i: int) -> str:
        """A variable's error in the table's units and its MASE, or the error in units of std."""
        mae = in_digits(errors[i] * (self.std[i] if self.std else 1), ".4g")
        mase = scaled_errors(errors, self.step)[i] if self.step else math.nan
        return mae if self.step is None or mae == NONE else f"{mae}, {in_digits(mase, '.3f')}"


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
    zero_shot: Callable[[Tensor], Tensor] | None = None,
    std: Sequence[float] | None = None,
) -> Backtest:
    """Evaluate forecasts of the rows from `start` on; values: (rows, variables) in units of std.

    measured: the same with NaN for filled values, which are left out. Without a full season before `start`, the naive
    forecast is the last value. forecast: (N, lookback, variables) -> (N, horizon, variables); quantiles: the intervals'
    margins by level; zero_shot: like `forecast`, but from all earlier rows, with NaN for missing values; std: of each
    variable in the table's units.
    """
    season = season if start >= season else 1
    first = start - min(max(lookback, season, LOOK_BACK if zero_shot else 0), start)
    if zero_shot:
        max_windows = min(max_windows, max(MOST_ZERO_SHOT // len(names), 1))
    windows = Windows(values[first:], start - first, horizon, measured=measured[first:]).spread(max_windows)
    errors = (forecast(windows.past[:, -lookback:]) - windows.future).abs()
    mae = _by_variable(errors)
    naive_errors = (seasonal_naive(windows.past, season, horizon) - windows.future).abs()
    return Backtest(
        names=tuple(names),
        season=season,
        windows=len(windows),
        mae=mae,
        mse=_by_variable(errors.square()),
        naive_mae=_by_variable(naive_errors),
        naive_mse=_by_variable(naive_errors.square()),
        coverage={level: share_held(errors, torch.tensor(margin)) for level, margin in quantiles.items()},
        zero_shot_mae=zero_shot and _by_variable((zero_shot(windows.past) - windows.future).abs()),
        std=std and tuple(std),
        step=std and tuple(season_steps(measured[:start], season)),
    )


def in_digits(error: float, form: str) -> str:
    """An error in a format such as .3f, or `NONE`."""
    return f"{error:{form}}" if math.isfinite(error) else NONE


def scaled_errors(errors: Sequence[float], steps: Sequence[float]) -> tuple[float, ...]:
    """MASE: errors over the naive forecast's, NaN for a series that is exactly seasonal."""
    return tuple(error / step if step else math.nan for error, step in zip(errors, steps, strict=True))


def nanmean(errors: Sequence[float]) -> float:
    """The mean of the errors that there are; NaN without any."""
    known = [error for error in errors if not math.isnan(error)]
    return sum(known) / len(known) if known else math.nan


def season_steps(measured: Tensor, season: int) -> list[float]:
    """The mean absolute change of each variable over a season, NaN without values; measured: (rows, variables)."""
    return (measured[season:] - measured[:-season]).abs().nanmean(dim=0).tolist()


def seasonal_naive(past: Tensor, season: int, horizon: int) -> Tensor:
    """Repeat the last season; past: (N, rows, variables) -> (N, horizon, variables)."""
    repeated = past[:, -season:][:, :horizon]  # a season may be much longer than the horizon
    return repeated.repeat(1, math.ceil(horizon / season), 1)[:, :horizon]


def _by_variable(errors: Tensor) -> tuple[float, ...]:
    return tuple(errors.nanmean(dim=(0, 1)).tolist())
