"""Prediction intervals: margins with the desired coverage on held-out rows (split conformal prediction)."""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import InputWarning


def interval_margins(errors: Tensor, levels: Sequence[float], names: Sequence[str]) -> dict[float, list]:
    """For each level in percent the margins (horizon, variables), NaN for a series without values.

    errors: (N, horizon, variables), absolute, NaN for missing values. Warns of series with too few values for a level.
    """
    if levels:
        warn_of_few(errors, max(levels), names)
    return {level: absolute_quantiles(errors, level / 100).tolist() for level in levels}


def absolute_quantiles(errors: Tensor, level: float) -> Tensor:
    """The margin that covers a fraction `level` of exchangeable new errors (split conformal prediction).

    errors: (N, horizon, variables), absolute, NaN for missing values -> (horizon, variables): the ceil((N + 1) *
    level)-th smallest of the N present, at most the largest; for a step without values, the largest margin of the
    variable's other steps; NaN for a variable without values.
    """
    count = (~errors.isnan()).sum(dim=0)
    rank = torch.minimum(((count + 1) * level).ceil().long(), count).clamp(min=1)
    margins = errors.sort(dim=0).values.gather(0, rank[None] - 1)[0]  # NaN comes last
    largest = margins.masked_fill(count == 0, -math.inf).amax(dim=0)
    return torch.where(count == 0, largest.masked_fill(largest == -math.inf, math.nan), margins)


def share_held(errors: Tensor, margins: Tensor) -> float:
    """The fraction of errors within the margins, without NaN; NaN if none are left.

    errors: (N, horizon, variables); margins: (horizon, variables).
    """
    counted = (~(errors - margins).isnan()).sum().item()
    return (errors <= margins).sum().item() / counted if counted else math.nan


def warn_of_few(errors: Tensor, level: float, names: Sequence[str]) -> None:
    """Warn of the first series without values for calibration, and of the one with the fewest if a level needs more."""
    count = (~errors.isnan()).sum(dim=0)
    empty = (count == 0).all(dim=0)
    if empty.any():
        warnings.warn(
            f"series {names[int(empty.int().argmax())]!r} ({int(empty.sum())} such series): no value in the "
            "calibration rows, expected some: the bounds of its intervals are left empty (NaN)",
            InputWarning,
            stacklevel=5,
        )
    needed = math.ceil(level / (100 - level))
    fewest = count.amin(dim=0).masked_fill(empty, needed)
    if fewest.min() < needed:
        warnings.warn(
            f"level {level:g}: {int(fewest.min())} values of series {names[int(fewest.argmin())]!r} for calibrating a "
            f"step, expected at least {needed}: the interval may be too narrow; a longer table has more",
            InputWarning,
            stacklevel=5,
        )
